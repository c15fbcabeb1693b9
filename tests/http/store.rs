//! The store may be emptied, rolled back or replaced at any moment; the log may not, and that is noticed.

use crate::client::Client;
use crate::data;
use crate::foods::{aggregated, commands, newest, observe, send_all};
use crate::server::Server;
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

/// Copies the files of a directory whose names start with `prefix`.
fn copy(from: &Path, to: &Path, prefix: &str) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_str().unwrap().starts_with(prefix) {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

async fn eat(client: &Client, food: &str, times: usize) {
    let answers = send_all(&vec![observe(client, food); times]).await;
    aggregated(client, &newest(&answers)).await;
}

#[tokio::test]
async fn a_deleted_store_is_folded_again() {
    let mut server = Server::start().await;
    let client = server.client();
    let answers = send_all(&commands(&client, &data::observations())).await;
    let expected = data::aggregated(&data::foods());
    for emptied_by in ["hand", "refold"] {
        server.stop().await;
        if emptied_by == "hand" {
            server.remove_store().await;
        } else {
            let (status, said) = server.run(&["store", "empty", "--yes"]).await;
            assert!(status.success(), "{said}");
        }
        server.up().await;
        assert_eq!(aggregated(&client, &newest(&answers)).await, expected, "emptied by {emptied_by}");
    }
}

#[tokio::test]
async fn a_store_that_was_rolled_back_catches_up() {
    let mut server = Server::start().await;
    let client = server.client();
    eat(&client, "pie", 30).await;
    server.stop().await;
    let backup = server.home().join("backup");
    copy(&server.data(), &backup, "store.");
    server.up().await;
    eat(&client, "cake", 20).await;
    server.stop().await;
    server.remove_store().await;
    copy(&backup, &server.data(), "store.");
    server.up().await;
    let found = client.get("/aggregated").send().await;
    // A rolled back store is no new fold: what came since is folded while it answers.
    let partial = found.is(200).json();
    assert_eq!(partial[0], json!({"food": "pie", "count": 30}));
    eat(&client, "cake", 1).await;
    eat(&client, "cake", 100).await;
    let found = client.get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "cake", "count": 121}, {"food": "pie", "count": 30}]));
}

#[tokio::test]
async fn the_store_of_another_log_is_refused() {
    let (mut one, mut other) = (Server::start().await, Server::start().await);
    eat(&one.client(), "pie", 3).await;
    eat(&other.client(), "cake", 2).await;
    one.stop().await;
    other.stop().await;
    one.remove_store().await;
    copy(&other.data(), &one.data(), "store.");

    let said = one.refused().await;

    assert!(said.contains("the store belongs to the log"), "{said}");
    assert!(said.contains("refold store empty"), "{said}");
    assert!(one.run(&["store", "empty", "--yes"]).await.0.success());
    one.up().await;
    let found = one.client().get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 3}]));
}

#[tokio::test]
async fn a_store_whose_log_is_gone_is_refused() {
    let mut server = Server::start().await;
    eat(&server.client(), "pie", 3).await;
    server.stop().await;
    let backup = server.home().join("backup");
    copy(&server.data(), &backup, "log.");
    server.remove_files("log.");

    for _ in 0..2 {
        let said = server.refused().await;
        assert!(said.contains("put the store's log back"), "{said}");
    }

    server.remove_files("log.");
    copy(&backup, &server.data(), "log.");
    server.up().await;
    let found = server.client().get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 3}]));
}

#[tokio::test]
async fn a_log_that_lost_its_tail_stops_its_partitions() {
    let mut server = Server::start().await;
    let client = server.client();
    eat(&client, "pie", 40).await;
    server.stop().await;
    let backup = server.home().join("backup");
    copy(&server.data(), &backup, "log.");
    server.up().await;
    eat(&client, "cake", 400).await;
    server.stop().await;
    server.remove_files("log.");
    copy(&backup, &server.data(), "log.");

    server.launch().await;
    server.line("stopped: ").await;

    let unready = client.get("/readyz").send().await.is(503).json();
    let problems: Vec<_> =
        unready["dependencies"].as_array().unwrap().iter().filter(|one| one["up"] == false).collect();
    assert!(!problems.is_empty());
    for one in problems {
        assert!(one["name"].as_str().unwrap().starts_with("partition "), "{one}");
        let problem = one["problem"].as_str().unwrap();
        assert!(problem.contains("lost its tail") && problem.contains("refold store empty"), "{one}");
    }
    let detail = client.get("/aggregated").send().await.problem(503, "broken");
    assert!(detail.contains("refold store empty"), "{detail}");
    server.stop().await;
    assert!(server.run(&["store", "empty", "--yes"]).await.0.success());
    server.up().await;
    let found = client.get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 40}]));
}

#[tokio::test]
async fn a_second_process_is_refused_by_name() {
    let mut server = Server::start().await;
    let name = format!("process {}", server.pid());
    let (status, said) = server.run(&["serve"]).await;
    assert!(status.code() == Some(1) && said.contains(&name), "{said}");
    let (status, said) = server.run(&["store", "empty", "--yes"]).await;
    assert!(status.code() == Some(1) && said.contains(&name), "{said}");
    // The file that names the holder is not what keeps others out.
    fs::remove_file(server.data().join("lock")).unwrap();
    let (status, said) = server.run(&["serve"]).await;
    assert!(status.code() == Some(1) && said.contains("in use by another process"), "{said}");
    server.client().get("/aggregated").send().await.is(200);
    server.stop().await;
    server.up().await;
}

/// Whoever removes it under the service wants it anew; so does one who puts another in its place.
#[tokio::test]
async fn a_store_that_is_removed_while_it_is_open_is_folded_again() {
    let mut server = Server::start().await;
    let client = server.client();
    eat(&client, "pie", 30).await;
    for (round, files) in ["store.", "store.v2.sqlite-wal", "store.v2.sqlite-shm"].into_iter().enumerate() {
        for entry in fs::read_dir(server.data()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with(files) {
                fs::remove_file(path).unwrap();
            }
        }
        // It notices by itself, and is ready only with all that was folded.
        server.line_times("folding it anew", round + 1).await;
        server.until_ready().await;
        let found = client.get("/aggregated").send().await.is(200).json();
        assert_eq!(found, json!([{"food": "pie", "count": 30 + round}]), "{files}");
        eat(&client, "pie", 1).await;
    }
    server.stop().await;
    server.up().await;
    assert!(!server.said().contains("folding from the start"), "it had another catalogue: {}", server.said());
    let found = client.get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 33}]));
}

/// Overwrites every value that the store has.
fn spoil(server: &Server) {
    let store = Connection::open(server.data().join("store.v2.sqlite")).unwrap();
    store.execute("UPDATE entries SET value = x'ff00'", []).unwrap();
}

#[tokio::test]
async fn a_store_whose_values_are_damaged_is_told_with_the_remedy() {
    let mut server = Server::start().await;
    let client = server.client();
    eat(&client, "pie", 30).await;
    spoil(&server);
    let detail = client.get("/aggregated").send().await.problem(503, "store");
    assert!(detail.contains("run `refold store empty`"), "{detail}");
    let ready = client.get("/readyz").send().await.is(503).json();
    let store = &ready["dependencies"][1];
    assert!(store["name"] == "store" && store["up"] == false, "{ready}");
    assert!(store["problem"].as_str().unwrap().contains("run `refold store empty`"), "{ready}");
    server.stop().await;
    assert!(server.run(&["store", "empty", "--yes"]).await.0.success());
    server.up().await;
    let found = client.get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 30}]));
}

/// An operator must find the line, and what else happened.
#[tokio::test]
async fn queries_that_all_fail_are_not_told_each() {
    const QUERIES: usize = 100;
    let mut server = Server::start().await;
    let client = server.client();
    eat(&client, "pie", 30).await;
    spoil(&server);

    let began = Instant::now();
    for _ in 0..QUERIES {
        client.get("/aggregated").send().await.problem(503, "store");
    }
    let seconds = began.elapsed().as_secs();

    server.terminate().await;
    server.line("stopping").await;
    let said = server.said();
    let told = u64::try_from(said.matches("ERROR").count()).unwrap();
    // The query, and that the store is damaged; then again once in a while.
    assert!((1..=2 + seconds / 10).contains(&told), "{told} in {seconds} s: {said}");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let mut server = Server::start().await;
    server.stop().await;
    for partitions in ["4", "16"] {
        server.set("LOG__PARTITIONS", partitions);
        let said = server.refused().await;
        assert!(
            said.contains(&format!("not {partitions}")) || said.contains(&format!("says {partitions}")),
            "{said}"
        );
        assert!(said.contains("8 partitions"), "{said}");
    }
}

#[tokio::test]
async fn one_partition_is_as_right_as_many() {
    for partitions in ["1", "3"] {
        let server = Server::new().with("LOG__PARTITIONS", partitions).ready().await;
        let client = server.client();
        let answers = send_all(&commands(&client, &data::observations()[..50])).await;
        let found = aggregated(&client, &newest(&answers)).await;
        let counted: u64 = found.as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
        assert_eq!(counted, 50);
    }
}

#[tokio::test]
async fn what_is_written_is_for_nobody_elses_eyes() {
    let server = Server::start().await;
    eat(&server.client(), "pie", 1).await;
    let files = fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path());
    for path in files.chain([server.data()]) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}
