//! Headers that cannot be read: hosts, keys, receipts, places in streams, and what is no text in any of them.

use super::{Target, assert_problem, commands};
use crate::purchases::SHOP;
use crate::raw::{exchange, status};

/// Those in front of the service may have understood another request.
#[tokio::test]
async fn requests_without_one_host() {
    let target = Target::start().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET /aggregated HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = exchange(&target.client, request).await;
        assert!(status(&answer) == Some(400) && answer.contains("urn:refold:problem:parameter"), "{answer}");
    }
    let older = exchange(&target.client, "GET /aggregated HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&older), Some(200), "{older}");
    target.unharmed().await;
}

#[tokio::test]
async fn idempotency_keys_that_cannot_be_read() {
    let target = Target::start().await;
    let mut calls = commands(&target).await;
    calls.push(target.client.delete(target.ada().await).if_match("\"1\""));
    for call in calls {
        for key in
            [b"".as_slice(), &[b'x'; 256], &[b'x'; 3_000], b"\xff", "schl\u{fc}ssel".as_bytes(), b"a\tb"]
        {
            let answer = call.clone().key(key).send().await;
            assert_problem(&answer, &String::from_utf8_lossy(key));
            answer.problem(400, "parameter");
        }
        call.key("a").key("b").send().await.problem(400, "parameter");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn receipts_that_are_none() {
    let target = Target::start().await;
    let writer = "0198a6c2-7a10-7000-8000-000000000001";
    let receipts = [
        String::new(),
        "1".into(),
        "a,b".into(),
        format!("8.{writer}.1.0"),
        format!("4294967296.{writer}.1.0"),
        format!("0.{writer}.1"),
        format!("0.{writer}.1.0.0"),
        format!("0.{writer}.-1.0"),
        format!("0.{writer}.18446744073709551616.0"),
        format!("0.{writer}.1.0,"),
        format!("{},0.{writer}.1.0", format!("0.{writer}.1.0,").repeat(1_100).trim_end_matches(',')),
        "\u{e4}".into(),
    ];
    let paths = [
        "/aggregated",
        "/introductions",
        "/introductions/x",
        "/introductions/x/history",
        "/views/food_counts",
        "/views",
        "/projections",
        "/detections",
        "/stats",
    ];
    for path in paths.into_iter().chain([format!("/purchases/{SHOP}").as_str()]) {
        for receipt in &receipts {
            let answer = target.client.get(path).header("Refold-Receipt", receipt).send().await;
            assert_eq!(answer.status, 400, "{path} {receipt:.80}: {answer:?}");
            answer.problem(400, "parameter");
        }
    }
    // One that is well-formed may still come: it is waited for, as long as the client likes.
    let unknown = target.client.get("/aggregated").header("Refold-Receipt", format!("0.{writer}.1.0"));
    unknown.clone().header("Prefer", "wait=0").send().await.problem(503, "not-folded");
    for odd in
        ["wait", "wait=", "wait=x", "wait=-1", "wait=1e9", "", "wait=99999999999999999999", "foo, wait=0"]
    {
        target.client.get("/aggregated").header("Prefer", odd).send().await.is(200);
    }
    target.unharmed().await;
}

/// What is no text was meant to say something: taken as nothing, a stream would begin elsewhere than its client believes.
#[tokio::test]
async fn headers_that_are_no_text() {
    let target = Target::start().await;
    let client = &target.client;
    let ada = target.ada().await;
    let views = "/views/food_counts/live";
    let mut asked = vec![("If-Match", client.put(&ada, &crate::introductions::ada()))];
    asked.push(("If-Match", client.delete(&ada)));
    asked.extend(["/events/live", "/alerts", views].map(|path| ("Last-Event-ID", client.get(path))));
    for path in ["/aggregated", "/introductions", "/stats", "/users", "/projections"] {
        // Not from an answer that is kept either.
        client.get(path).send().await.is(200);
        asked.extend(["Prefer", "Refold-Receipt"].map(|name| (name, client.get(path))));
    }
    for call in commands(&target).await {
        asked.extend(["Idempotency-Key", "Prefer"].map(|name| (name, call.clone())));
    }
    asked.push(("Prefer", client.get(views)));
    for (name, call) in asked {
        for bytes in [b"\xff".as_slice(), "\u{e4}".as_bytes(), b"wait=0, \xc3\x28"] {
            let answer = call.clone().header(name, bytes).send().await;
            assert!(answer.problem(400, "parameter").starts_with(name), "{name}: {answer:?}");
            assert_eq!(answer.json()["errors"][0]["field"], name);
        }
    }
    target.unharmed().await;
}

/// Which of the two places is meant, nobody knows.
#[tokio::test]
async fn places_in_a_stream_that_are_given_twice() {
    let target = Target::start().await;
    for path in ["/events/live", "/alerts", "/views/food_counts/live", "/projections/live"] {
        for [one, other] in [["", ""], ["a", "a"], ["a", "b"]] {
            let call = target.client.get(path).header("Last-Event-ID", one).header("Last-Event-ID", other);
            let told = call.send().await.problem(400, "parameter");
            assert_eq!(told, "Last-Event-ID: must be given once", "{path}");
        }
    }
    target.unharmed().await;
}
