//! A log whose file is taken away under the running service: nothing is acknowledged into nowhere.

use crate::client::Client;
use crate::foods::{aggregated, newest, observe};
use crate::server::Server;
use serde_json::{Value, json};
use std::fs;

/// What `/readyz` says about the log.
async fn log(client: &Client, status: u16) -> Value {
    let ready = client.get("/readyz").send().await.is(status).json();
    assert_eq!(ready["dependencies"][0]["name"], "log");
    ready["dependencies"][0].clone()
}

#[tokio::test]
async fn commands_are_refused_until_the_file_is_back() {
    let mut server = Server::start().await;
    let client = server.client();
    let mut acknowledged = vec![observe(&client, "pie").send().await.is(201)];
    let (path, hidden) = (server.data().join("log.sqlite"), server.home().join("hidden.sqlite"));

    fs::rename(&path, &hidden).unwrap();
    observe(&client, "lost pie").send().await.problem(503, "not-recorded");
    let down = log(&client, 503).await;
    assert_eq!(down["up"], false);
    assert!(down["problem"].as_str().unwrap().contains("log.sqlite was moved or removed"), "{down}");
    // What can be read is still read.
    let found = aggregated(&client, &newest(&acknowledged)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 1}]));
    assert!(!path.exists());

    // Who is not ready gets no commands, and must find out without them.
    fs::rename(&hidden, &path).unwrap();
    server.until_ready().await;
    assert!(log(&client, 200).await["problem"].is_null());
    acknowledged.push(observe(&client, "pie").send().await.is(201));
    server.kill().await;
    server.up().await;
    let found = aggregated(&server.client(), &newest(&acknowledged)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 2}]));
}

/// The database alone lacks what was acknowledged last, until whoever has the rest open writes it back.
#[tokio::test]
async fn a_write_ahead_log_that_was_removed_is_written_back_by_stopping_in_order() {
    let mut server = Server::start().await;
    let client = server.client();
    let acknowledged = observe(&client, "pie").send().await.is(201);
    fs::remove_file(server.data().join("log.sqlite-wal")).unwrap();
    observe(&client, "lost pie").send().await.problem(503, "not-recorded");
    let down = log(&client, 503).await;
    assert!(down["problem"].as_str().unwrap().contains("SIGTERM"), "{down}");
    server.stop().await;
    server.up().await;
    let found = aggregated(&server.client(), &acknowledged.receipt()).await;
    assert_eq!(found, json!([{"food": "pie", "count": 1}]));
}
