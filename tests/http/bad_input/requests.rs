//! What is no request to this service at all: other paths and methods, other bytes, and those that never end.

use super::{Target, assert_problem};
use crate::raw::{Raw, exchange, status};
use crate::server::Server;
use reqwest::Method;
use std::time::{Duration, Instant};

#[tokio::test]
async fn paths_and_methods_that_are_none() {
    let target = Target::start().await;
    for path in [
        "/food",
        "/foods/1",
        "/introductions/x/y",
        "/introductions//history",
        "/%00",
        "/%FF",
        "/..%2f..%2fetc/passwd",
        "/aggregated/x",
        "/views/x/y",
        "/%",
        "/introductions/%FF",
    ] {
        let answer = target.client.get(path).send().await;
        // What cannot be decoded is no path at all.
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
        assert_problem(&answer, path);
    }
    let methods = [
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
        Method::from_bytes(b"BREW").unwrap(),
    ];
    for path in [
        "/foods",
        "/purchases",
        "/introductions",
        "/detections",
        "/pictures",
        "/stats",
        "/aggregated",
        "/healthz",
        "/metrics",
    ] {
        for method in &methods[..4] {
            let answer = target.client.call(method.clone(), path).send().await;
            answer.problem(405, "method");
            assert!(!answer.header("Allow").is_empty());
        }
        let odd =
            exchange(&target.client, format!("BREW {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
        assert_eq!(status(&odd), Some(405), "{odd}");
    }
    target.client.get("/foods").send().await.problem(405, "method");
    for file in ["/", "/openapi.json", "/docs", "/page/app.js"] {
        let answer = target.client.call(Method::DELETE, file).send().await;
        answer.problem(405, "method");
        assert_eq!(answer.header("Allow"), "GET", "{file}");
    }
    target.client.call(Method::POST, "/aggregated").send().await.problem(405, "method");
    target.unharmed().await;
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let target = Target::start().await;
    let long = "x".repeat(100_000);
    for path in [
        format!("/aggregated?{long}"),
        format!("/views/food_counts?food={long}"),
        format!("/introductions/{long}"),
    ] {
        let answer =
            exchange(&target.client, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
        assert!([Some(414), Some(431), Some(400)].contains(&status(&answer)), "{answer:.200}");
    }
    let header = format!("X: {}\r\n", "x".repeat(1_000_000));
    let many = "X: y\r\n".repeat(10_000);
    for headers in [header, many] {
        let answer =
            exchange(&target.client, format!("GET /aggregated HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        // The service may hang up before it was told everything.
        assert!(answer.is_empty() || [Some(400), Some(431)].contains(&status(&answer)), "{answer:.200}");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn bytes_that_are_no_http() {
    let target = Target::start().await;
    let requests: [&[u8]; 11] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n{}",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ];
    for request in requests {
        let answer = exchange(&target.client, request).await;
        let shown = String::from_utf8_lossy(request).into_owned();
        assert!(
            answer.is_empty() || status(&answer).is_some_and(|status| (400..500).contains(&status)),
            "{shown}: {answer}"
        );
    }
    target.unharmed().await;
}

#[tokio::test]
async fn garbage_after_a_request_harms_nobody() {
    let target = Target::start().await;
    let answer =
        exchange(&target.client, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02 garbage\r\n\r\n").await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (Some(200), 2), "{answer}");
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
    let old = exchange(&target.client, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(status(&old) == Some(200) && old.ends_with("\"ok\""), "{old}");
    target.unharmed().await;
}

#[tokio::test]
async fn requests_that_are_half_sent() {
    let server = Server::new().with("HTTP__HEAD_TIMEOUT_MS", "300").with("HTTP__BODY_TIMEOUT_MS", "300");
    let target = Target::of(server).await;
    let began = Instant::now();
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n";
    for part in ["", "G", "POST /foods HT", &head[..40], head] {
        let mut connection = Raw::connect(&target.client).await;
        connection.send(part).await;
        let answer = connection.rest().await;
        assert!(answer.is_empty() || [Some(400), Some(408)].contains(&status(&answer)), "{part:?}: {answer}");
    }
    let mut connection = Raw::connect(&target.client).await;
    connection.send(format!("{head}\r\n{{\"food\"")).await;
    let answer = connection.until("\r\n\r\n{").await;
    assert!(status(&answer) == Some(408) && answer.contains("urn:refold:problem:too-slow"), "{answer}");
    assert!(connection.rest().await.len() < 1_000);
    for part in ["{\"food\"", ""] {
        let mut connection = Raw::connect(&target.client).await;
        connection.send(format!("{head}\r\n{part}")).await;
        connection.finish().await;
        let answer = connection.rest().await;
        assert!(answer.is_empty() || status(&answer) == Some(400), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "each is closed after its time");
    target.unharmed().await;
}
