//! A full disk: commands are refused, nothing acknowledged is lost, and it goes on when there is room.

use crate::client::{Answer, Call, Client};
use crate::foods::{aggregated, newest, observe, send_all};
use crate::introductions::saying;
use crate::server::Server;
use futures::future::join_all;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tokio::process::Command;

/// How many commands are more than the small disk holds.
const COMMANDS_MAX: usize = 2_000;
/// How many commands are sent to a disk that is full.
const KNOCKS: usize = 300;
/// How many warnings may tell of it: each of 8 partitions says a few times that its state has changed.
const WARNINGS_MAX: usize = 60;
/// Mounts a disk of 6 MiB on the directory that is its first argument, and starts the rest there.
const ON_SMALL_DISK: &str = "mkdir -p \"$0\" && mount -t tmpfs -o size=6m tmpfs \"$0\" && exec \"$@\"";
/// Lets files grow to 2 MiB (4,096 blocks of 512 bytes) and no further; a signal that says so is ignored.
const WITH_SMALL_FILES: &str = "trap '' XFSZ; ulimit -S -f 4096; exec \"$@\"";

#[tokio::test]
async fn a_full_disk_refuses_commands_and_loses_none() {
    if !can_mount().await {
        // The next test shows the same by another way, on every machine.
        eprintln!("NOT TESTED: a full disk: this machine does not let `unshare -rm` mount one");
        return;
    }
    let mut server = impatient(Server::new());
    let data = server.data();
    server =
        server.under(&["unshare", "-rm", "sh", "-c", ON_SMALL_DISK, data.to_str().unwrap()]).ready().await;
    // The process sees a disk that nobody else does.
    let seen = PathBuf::from(format!("/proc/{}/root", server.pid())).join(data.strip_prefix("/").unwrap());
    let ballast = seen.join("ballast");
    let client = server.client();
    let before = eat(&client, 0..50, 201).await;
    fs::write(&ballast, vec![0; 6 << 20]).expect_err("the disk is smaller than that");
    let said = fill(&client).await;
    knock(&client).await;
    assert!(said.iter().any(|slug| slug == "not-recorded"), "{said:?}");
    fs::remove_file(&ballast).unwrap();
    // Without a command, for one that is not ready gets none.
    server.until_ready().await;
    let lines = server.said().lines().filter(|line| line.contains("WARN")).count();
    assert!(lines <= WARNINGS_MAX, "{lines} warnings: {}", server.said());
    all_is_well(&client, before).await;
    assert!(
        server.said().contains("the disk is full") && server.said().contains("no longer refused"),
        "{}",
        server.said()
    );
}

#[tokio::test]
async fn files_that_cannot_grow_refuse_commands_and_lose_none() {
    let server = impatient(Server::new()).under(&["sh", "-c", WITH_SMALL_FILES, "sh"]);
    let server = server.ready().await;
    let client = server.client();
    let before = eat(&client, 0..50, 201).await;
    fill(&client).await;
    let limit =
        Command::new("prlimit").args([&format!("--pid={}", server.pid()), "--fsize=unlimited"]).status();
    assert!(limit.await.unwrap().success());
    all_is_well(&client, before).await;
}

async fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).status().await;
    tried.is_ok_and(|status| status.success())
}

/// With short waits, for here many commands wait in vain.
fn impatient(server: Server) -> Server {
    server.with("WRITER__APPEND_WAIT_MS", "500").with("DECIDE__WAIT_MS", "1000")
}

fn eaten(client: &Client, number: usize) -> Call {
    observe(client, "pie").key(format!("pie {number}"))
}

async fn eat(client: &Client, numbers: std::ops::Range<usize>, status: u16) -> Vec<Answer> {
    let calls: Vec<_> = numbers.map(|number| eaten(client, number)).collect();
    let answers = send_all(&calls).await;
    assert!(answers.iter().all(|answer| answer.status == status));
    answers
}

/// Has many commands refused at the same time, which are no news each.
async fn knock(client: &Client) {
    let long = saying(&"x".repeat(9_900));
    let call = client.post("/introductions", &long);
    join_all((0..KNOCKS).map(|_| call.send())).await;
}

/// Sends commands until there is no room for another, and returns how the refused ones were answered.
async fn fill(client: &Client) -> Vec<String> {
    let mut refused = Vec::new();
    for number in 0..COMMANDS_MAX {
        let long = saying(&"x".repeat(9_900));
        let answer = client.post("/introductions", &long).key(format!("long {number}")).send().await;
        if answer.status == 201 {
            assert!(refused.len() < 10, "it goes back and forth: {refused:?}");
            continue;
        }
        let slug = answer.json()["type"].as_str().unwrap().replace("urn:refold:problem:", "");
        answer.problem(503, &slug);
        assert!(["not-recorded", "outcome-unknown", "behind", "store"].contains(&slug.as_str()), "{slug}");
        refused.push(slug);
        if refused.len() == 10 {
            client.get("/healthz").send().await.is(200);
            return refused;
        }
    }
    panic!("the disk is never full");
}

/// There is room again: without a restart everything goes on, and what is repeated counts once.
async fn all_is_well(client: &Client, before: Vec<Answer>) {
    let mut answers = eat(client, 0..200, 201).await;
    for (first, again) in before.iter().zip(&answers) {
        assert_eq!((first.receipt(), &first.text), (again.receipt(), &again.text));
    }
    answers.extend(before);
    let found = aggregated(client, &newest(&answers)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 200}]));
    introductions_are_exact(client).await;
    client.get("/readyz").insist().await.is(200);
}

/// Repeats every long introduction with its key; each must be there once.
async fn introductions_are_exact(client: &Client) {
    let long = saying(&"x".repeat(9_900));
    let mut made = Vec::new();
    for number in 0..20 {
        made.push(client.post("/introductions", &long).key(format!("long {number}")).insist().await.is(201));
    }
    for one in &made {
        let history = format!("{}/history", one.header("Location"));
        let happened = client.get(history).after(one.receipt()).send().await.is(200).json();
        assert_eq!(happened.as_array().unwrap().len(), 1);
    }
}
