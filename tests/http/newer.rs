//! Events that this binary cannot read: of a newer one, which stop a partition, and damaged ones, which are listed.

use crate::server::Server;
use futures::StreamExt;
use refold_adapters::embedded::EmbeddedLog;
use refold_domain::log::EventLog;
use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;

const PARTITIONS: u32 = 8;
const PARTITION: u32 = 3;

/// Appends an event to the log of a service that does not run.
async fn append(data: &Path, kind: &str, event: Value) {
    let log = EmbeddedLog::open(data, PARTITIONS).unwrap();
    let (_, genesis) = log.read(PARTITION, 0).await.unwrap().next().await.unwrap().unwrap();
    let genesis: Value = serde_json::from_slice(&genesis).unwrap();
    let commit = json!({
        "v": 1, "log": genesis["log"], "writer": Uuid::now_v7(), "seq": 1, "time": "2026-01-01T00:00:00Z",
        "commands": [{ "events": [{ "type": kind, "data": event }] }],
    });
    log.append(PARTITION, commit.to_string().into()).await.unwrap();
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_skipped_and_listed() {
    let mut server = Server::start().await;
    server.stop().await;
    append(&server.data(), "food.observed", json!({ "food": 7 })).await;
    server.up().await;
    let ready = server.client().get("/readyz").send().await.is(200).json().to_string();
    assert!(ready.contains("1 events cannot be read"), "{ready}");
    server.stop().await;
    let (status, said) = server.run(&["check"]).await;
    assert!(status.success() && said.contains("cannot be read and was skipped: invalid type"), "{said}");
}

#[tokio::test]
async fn an_event_of_a_newer_binary_stops_its_partition_only() {
    let mut server = Server::start().await;
    let client = server.client();
    server.stop().await;
    append(&server.data(), "food.digested", json!({})).await;
    server.launch().await;
    server.line("food.digested").await;
    let ready = client.get("/readyz").send().await.is(503);
    let ready = ready.json();
    let dependencies = ready["dependencies"].as_array().unwrap();
    let down: Vec<_> = dependencies.iter().filter(|it| it["up"] == false).collect();
    let [partition] = down[..] else { panic!("{ready}") };
    assert_eq!(partition["name"], "partition 3");
    assert!(partition["problem"].as_str().unwrap().contains("start a newer refold"), "{partition}");
    client.get("/aggregated").send().await.problem(503, "broken");
}
