//! Stopping by SIGTERM: what is held is answered, nothing acknowledged is lost, and it ends well.

use crate::connections::{MANY, MANY_TIMES, until_held_up};
use crate::foods::{aggregated, newest, observe};
use crate::operations::until_total;
use crate::raw::{Raw, status};
use crate::server::{Server, in_time};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;

const BODY: &str = r#"{"food": "pie"}"#;

#[tokio::test]
async fn a_request_in_flight_is_answered() {
    let mut server = Server::start().await;
    let client = server.client();
    let mut connection = Raw::connect(&client).await;
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue";
    connection.send(format!("{head}\r\nContent-Length: {}\r\n\r\n", BODY.len())).await;
    // Now it reads the body: the request is in flight.
    connection.until("100 Continue\r\n\r\n").await;

    server.terminate().await;
    server.line("stopping").await;
    connection.send(BODY).await;
    let answer = connection.rest().await;
    let ended = server.ended().await;

    assert_eq!((status(&answer), ended.code()), (Some(201), Some(0)), "{answer}");
    server.up().await;
    let found = server.client().get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 1}]));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let mut server = Server::start().await;
    let client = server.client();
    let count = watch::Sender::new(0);
    let send = async |_| {
        let mut acknowledged = Vec::new();
        while let Ok(answer) = observe(&client, "pie").attempt().await {
            acknowledged.push(answer.is(201));
            count.send_modify(|count| *count += 1);
        }
        acknowledged
    };
    let stop = async {
        count.subscribe().wait_for(|count| *count >= 100).await.unwrap();
        server.terminate().await;
    };

    let (acknowledged, ()) = tokio::join!(join_all((0..8).map(send)), stop);

    assert!(server.ended().await.success());
    server.up().await;
    let acknowledged = acknowledged.concat();
    let found = aggregated(&server.client(), &newest(&acknowledged)).await;
    assert_eq!(found, json!([{"food": "pie", "count": acknowledged.len()}]));
}

/// Nothing of it was taken, and its client may never send the rest.
#[tokio::test]
async fn a_body_that_is_half_sent_does_not_hold_it_up() {
    let mut server = Server::start().await;
    let mut connection = Raw::connect(&server.client()).await;
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue";
    connection.send(format!("{head}\r\nContent-Length: {}\r\n\r\n", BODY.len())).await;
    connection.until("100 Continue\r\n\r\n").await;
    connection.send(&BODY[..5]).await;

    server.stop().await;

    let answer = connection.rest().await;
    assert!(status(&answer) == Some(503) && answer.contains("urn:refold:problem:not-recorded"), "{answer}");
    server.up().await;
    assert_eq!(server.client().get("/aggregated").send().await.is(200).json(), json!([]));
}

#[tokio::test]
async fn a_second_request_that_is_half_sent_does_not_hold_it_up() {
    let mut server = Server::new().with("HTTP__HEAD_TIMEOUT_MS", "600000").ready().await;
    let mut connection = Raw::connect(&server.client()).await;
    connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    connection.until("\"ok\"").await;
    connection.send("GET /healthz HTTP/1.1\r\nHo").await;
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_it_up() {
    let mut server = Server::start().await;
    let client = server.client();
    let _silent = Raw::connect(&client).await;
    let mut half = Raw::connect(&client).await;
    half.send("GET /healthz HTTP/1.1\r\nHo").await;
    client.get("/healthz").send().await.is(200);
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_take_an_answer_does_not_hold_it_up() {
    let mut server = Server::start().await;
    let client = server.client();
    let mut connection = Raw::narrow(&client).await;
    connection.send(MANY.repeat(MANY_TIMES)).await;
    in_time("held up", until_held_up(&client)).await;

    server.stop().await;
}

#[tokio::test]
async fn who_takes_a_few_bytes_now_and_then_does_not_hold_it_up() {
    let mut server = Server::new().with("HTTP__STOP_TIMEOUT_MS", "600000").ready().await;
    let client = server.client();
    let mut connection = Raw::narrow(&client).await;
    connection.send(MANY.repeat(MANY_TIMES)).await;
    in_time("held up", until_held_up(&client)).await;

    server.terminate().await;
    tokio::select! {
        _ = server.line("GET /openapi.json was not finished") => {}
        never = connection.sip(Duration::from_millis(50)) => match never {},
    }
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn what_was_not_finished_is_told() {
    let mut server = Server::new().with("HTTP__STOP_TIMEOUT_MS", "100").ready().await;
    let mut connection = Raw::connect(&server.client()).await;
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue";
    connection.send(format!("{head}\r\nContent-Length: {}\r\n\r\n", BODY.len())).await;
    connection.until("100 Continue\r\n\r\n").await;

    server.terminate().await;
    server.line("POST /foods was not answered in time").await;
    server.line("requests still not answered after 100ms: 1").await;

    assert_eq!((connection.rest().await.as_str(), server.ended().await.code()), ("", Some(1)));
}

/// What it waits for will not come any more.
#[tokio::test]
async fn a_query_that_waits_for_a_receipt_is_answered_at_once() {
    let mut server = Server::start().await;
    let client = server.client();
    let mut connection = Raw::connect(&client).await;
    let receipt = "0.0198a6c2-7a10-7000-8000-000000000001.1.0";
    let head = format!("Host: x\r\nRefold-Receipt: {receipt}\r\nPrefer: wait=30\r\n\r\n");
    connection.send(format!("GET /aggregated HTTP/1.1\r\n{head}")).await;
    // Nobody else holds a place, and it does as long as it waits.
    until_total(&client, "refold_http_requests_held", 1.0).await;

    server.stop().await;

    let answer = connection.rest().await;
    assert!(status(&answer) == Some(503) && answer.contains("urn:refold:problem:not-folded"), "{answer}");
    assert!(answer.contains("the service is stopping"), "{answer}");
}
