//! Connections: so many and no more, and none that a client can hold by sending slowly.

use crate::client::Client;
use crate::raw::{Raw, exchange, status};
use crate::server::{Server, in_time};
use std::time::{Duration, Instant};
use tokio::time::interval;

const PING: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const CONNECTIONS_MAX: usize = 4;
/// A request whose answers, so often, are more than sockets hold.
pub(crate) const MANY: &str = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
pub(crate) const MANY_TIMES: usize = 1_000;
/// How many are tried that are too many.
const TRIED: usize = 100;

#[tokio::test]
async fn too_few_descriptors_are_told() {
    let mut server = Server::new().under(&["prlimit", "--nofile=128:256"]).ready().await;
    let said = server.line("may open 256 descriptors").await;
    assert!(
        said.contains("http.connections_max = 10000 needs 10200") && said.contains("ulimit -n"),
        "{said}"
    );
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().filter(|word| *word == "256").count(), 2, "{files}");

    server.stop().await;
    let checked = server.command(&["check"]).output().await.unwrap();
    let report = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && report.contains("may open 256 descriptors"), "{report}");
}

#[tokio::test]
async fn one_connection_too_many_is_refused_at_once() {
    let server = Server::new()
        .with("HTTP__CONNECTIONS_MAX", &CONNECTIONS_MAX.to_string())
        .with("HTTP__HEAD_TIMEOUT_MS", "600000");
    let mut server = server.ready().await;
    let client = server.client();
    let mut held = Vec::new();
    let take_all = async {
        while held.len() < CONNECTIONS_MAX {
            let mut connection = Raw::connect(&client).await;
            connection.send(PING).await;
            // Who asked whether it is ready may not have hung up yet.
            if status(&connection.until("\r\n\r\n").await) == Some(200) {
                held.push(connection);
            }
        }
    };
    in_time("taken", Box::pin(take_all)).await;
    for _ in 0..TRIED {
        let answer = exchange(&client, "").await;
        assert_eq!(status(&answer), Some(503), "{answer}");
        assert!(answer.contains("Retry-After: 1\r\n") && answer.contains("Connection: close"), "{answer}");
    }
    // Those that are open are served as before.
    for connection in &mut held {
        connection.send(PING).await;
        assert_eq!(status(&connection.until("\r\n\r\n").await), Some(200));
    }
    let warnings = |said: &str| said.matches("all connections are taken").count();
    server.line("all connections are taken").await;
    assert!(warnings(&server.said()) <= 1 + CONNECTIONS_MAX, "not one for each: {}", server.said());

    drop(held);
    client.get("/healthz").insist().await.is(200);
    server.stop().await;
}

/// It would hold its answer and its place among the connections for ever.
#[tokio::test]
async fn who_does_not_take_an_answer_is_cut_off() {
    let server = Server::new()
        .with("HTTP__CONNECTIONS_MAX", "1")
        .with("HTTP__HEAD_TIMEOUT_MS", "200")
        .with("HTTP__ANSWER_TIMEOUT_MS", "500");
    let server = server.ready().await;
    let client = server.client();
    let take = async {
        loop {
            let mut connection = Raw::narrow(&client).await;
            connection.send(PING).await;
            // Who asked whether it is ready may not have hung up yet.
            if status(&connection.until("\r\n\r\n").await) == Some(200) {
                break connection;
            }
        }
    };
    let mut connection = in_time("taken", Box::pin(take)).await;
    connection.send(MANY.repeat(MANY_TIMES)).await;
    // Its place is the only one: it is free when the connection is cut off.
    client.get("/healthz").insist().await.is(200);
}

/// The answers that slow clients have not taken are held in memory: no more of them than requests.
#[tokio::test]
async fn a_request_counts_until_its_answer_is_taken() {
    let server = Server::new().with("HTTP__REQUESTS_MAX", "1").ready().await;
    let client = server.client();
    let mut connection = Raw::narrow(&client).await;
    connection.send(MANY.repeat(MANY_TIMES)).await;
    in_time("held up", until_held_up(&client)).await;

    client.get("/aggregated").send().await.problem(503, "overloaded");
    client.get("/readyz").send().await.is(200);

    drop(connection);
    client.get("/aggregated").insist().await.is(200);
}

/// Waits until nothing is answered any more but who asks here.
pub(crate) async fn until_held_up(client: &Client) {
    let mut ticks = interval(Duration::from_millis(200));
    let mut before = None;
    loop {
        ticks.tick().await;
        let metrics = client.get("/metrics").send().await.is(200).text;
        let is_answered = |line: &&str| line.contains("method=\"GET\"") && line.contains("status=\"2xx\"");
        let answered = metrics.lines().find(is_answered).and_then(|line| line.split(' ').next_back());
        let answered: u64 = answered.unwrap().parse().unwrap();
        if before.is_some_and(|before| answered == before + 1) {
            return;
        }
        before = Some(answered);
    }
}

/// A byte now and then is no reason to wait longer: the time is that of the whole body.
#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let server = Server::new().with("HTTP__BODY_TIMEOUT_MS", "500").ready().await;
    let mut connection = Raw::connect(&server.client()).await;
    let head =
        "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    connection.send(head).await;
    let began = Instant::now();
    let answer = connection.drip(Duration::from_millis(20)).await;
    assert!(status(&answer) == Some(408) && answer.contains("urn:refold:problem:too-slow"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
