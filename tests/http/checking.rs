//! `refold check` on data that came to harm: it tells, and changes nothing.

use crate::foods::{aggregated, newest, observe, send_all};
use crate::ndjson::foods;
use crate::server::Server;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A service that has folded what it recorded, in one partition.
async fn fed() -> Server {
    let server = Server::new().with("LOG__PARTITIONS", "1").ready().await;
    let client = server.client();
    let answers = send_all(&vec![observe(&client, "pie"); 50]).await;
    aggregated(&client, &newest(&answers)).await;
    server
}

fn log(server: &Server) -> Connection {
    Connection::open(server.data().join("log.sqlite")).unwrap()
}

/// Every file, but for the index of a write-ahead log, which SQLite makes anew whenever it wants to.
pub(crate) fn contents(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| !path.to_str().unwrap().ends_with("-shm"));
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What it says of a service that does not run.
async fn check(server: &Server, status: i32) -> String {
    let before = contents(&server.data());
    let (ended, said) = server.run(&["check"]).await;
    assert_eq!(ended.code(), Some(status), "{said}");
    assert!(contents(&server.data()) == before, "it changed something: {said}");
    said
}

async fn fails_as_serving_does(server: &mut Server, because: &str) {
    let said = check(server, 1).await;
    assert!(said.contains(because), "{said}");
    assert!(said.contains("put the store's log back") && said.contains("keep a copy"), "{said}");
    let refused = server.refused().await;
    assert!(refused.contains(because), "{refused}");
}

#[tokio::test]
async fn a_log_whose_write_ahead_log_is_lost_fails() {
    for harm in ["removed", "cut", "garbled"] {
        let mut server = fed().await;
        let ahead = server.data().join("log.sqlite-wal");
        if harm == "removed" {
            fs::remove_file(&ahead).unwrap();
        }
        server.kill().await;
        match harm {
            "cut" => drop(File::create(&ahead).unwrap()),
            "garbled" => fs::write(&ahead, vec![0xaa; 50_000]).unwrap(),
            _ => {}
        }
        fails_as_serving_does(&mut server, "but there is none here").await;
    }
}

#[tokio::test]
async fn a_log_that_was_emptied_fails() {
    let mut server = fed().await;
    server.stop().await;
    File::create(server.data().join("log.sqlite")).unwrap();
    fails_as_serving_does(&mut server, "but there is none here").await;
}

#[tokio::test]
async fn what_a_killed_service_left_is_in_order() {
    let mut server = fed().await;
    server.kill().await;
    let said = check(&server, 0).await;
    assert!(said.contains("6 checked: 6 ok"), "{said}");
    server.up().await;
    server.stop().await;
    check(&server, 0).await;
}

#[tokio::test]
async fn a_record_that_was_overwritten_is_told() {
    let mut server = fed().await;
    server.stop().await;
    let last = "UPDATE records SET record = x'ffff' WHERE offset = (SELECT max(offset) FROM records)";
    assert_eq!(log(&server).execute(last, []).unwrap(), 1);
    server.remove_store().await;
    server.up().await;
    server.line("a record is none of this log").await;
    let ready = server.client().get("/readyz").send().await.is(200).json().to_string();
    assert!(ready.contains("1 records are none of this log"), "{ready}");
    server.stop().await;
    let said = check(&server, 0).await;
    assert!(said.contains("partition 0: 1 records are none of this log"), "{said}");
}

#[tokio::test]
async fn commits_that_were_lost_are_told() {
    let server = fed().await;
    let client = server.client();
    // One after the other, so that there are commits before and behind the one that is lost.
    for _ in 0..3 {
        observe(&client, "cake").send().await.is(201);
    }
    let mut server = server;
    server.stop().await;
    let last_but_one =
        "UPDATE records SET record = x'ffff' WHERE offset = (SELECT max(offset) - 1 FROM records)";
    assert_eq!(log(&server).execute(last_but_one, []).unwrap(), 1);
    server.remove_store().await;
    server.up().await;
    server.stop().await;
    let said = check(&server, 0).await;
    assert!(said.contains("partition 0: acknowledged commits are missing 1 times"), "{said}");
}

#[tokio::test]
async fn a_record_that_is_too_new_fails_with_how_far_the_log_goes_on() {
    let mut server = fed().await;
    let client = server.client();
    observe(&client, "cake").send().await.is(201);
    server.stop().await;
    let newer = "UPDATE records SET record = CAST(replace(CAST(record AS TEXT), 'food.observed', 'food.digested') AS BLOB)
                 WHERE offset = (SELECT max(offset) - 1 FROM records)";
    assert_eq!(log(&server).execute(newer, []).unwrap(), 1);
    server.remove_store().await;
    server.launch().await;
    server.line("food.digested").await;
    server.stop().await;
    let end: i64 = log(&server).query_row("SELECT max(offset) FROM records", [], |row| row.get(0)).unwrap();
    let said = check(&server, 1).await;
    assert!(said.contains(&format!("folded up to offsets {} of {end}", end - 2)), "{said}");
    assert!(said.contains("food.digested") && said.contains("start a newer refold"), "{said}");
}

#[tokio::test]
async fn a_store_that_is_damaged_is_named_with_its_remedy() {
    let mut server = fed().await;
    server.stop().await;
    let path = server.data().join("store.v2.sqlite");
    // Whatever is in the write-ahead log would be read from there.
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4_096..].fill(0xaa);
    fs::write(&path, bytes).unwrap();
    for said in [check(&server, 1).await, server.refused().await] {
        assert!(said.contains("store.v2.sqlite") && said.contains("run `refold store empty`"), "{said}");
    }
    server.remove_store().await;
    fs::create_dir(&path).unwrap();
    let (status, said) = server.run(&["store", "empty", "--yes"]).await;
    assert!(status.code() == Some(1) && said.contains("move it away"), "{said}");
}

#[tokio::test]
async fn a_store_that_is_damaged_in_one_place_is_told() {
    let mut server = Server::new().ready().await;
    let client = server.client();
    let many: Vec<_> = (0..2_000).map(|number| format!("food {number}")).collect();
    let receipts = client.post_lines("/foods", foods(&many)).send().await.is(201).receipt();
    aggregated(&client, &receipts).await;
    server.stop().await;
    check(&server, 0).await;
    let path = server.data().join("store.v2.sqlite");
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4_096;
    bytes[last..].fill(0xaa);
    fs::write(&path, bytes).unwrap();
    let said = check(&server, 1).await;
    assert!(said.contains("store") && said.contains("run `refold store empty`"), "{said}");
}

#[tokio::test]
async fn a_data_directory_that_is_a_file_is_refused() {
    let mut server = Server::new();
    fs::write(server.data(), "mine").unwrap();
    let (ended, checked) = server.run(&["check"]).await;
    assert_eq!(ended.code(), Some(1), "{checked}");
    for said in [checked, server.refused().await] {
        assert!(said.contains("is no directory") && said.contains("data_dir"), "{said}");
    }
    assert_eq!(fs::read_to_string(server.data()).unwrap(), "mine");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_told() {
    let tried = tokio::process::Command::new("unshare").args(["-rm", "true"]).status().await;
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: a read-only disk: this machine does not let `unshare -rm` mount one");
        return;
    }
    let mut server = fed().await;
    server.stop().await;
    let read_only = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let data = server.data();
    let server = server.under(&["unshare", "-rm", "sh", "-c", read_only, data.to_str().unwrap()]);
    let said = check(&server, 1).await;
    assert!(said.contains("cannot write") && said.contains("not mounted read-only"), "{said}");
}
