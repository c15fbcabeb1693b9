//! Answers that are given again while nothing has changed, and never after that.

use crate::client::Client;
use crate::foods::observe;
use crate::operations::total;
use crate::server::Server;
use futures::future::join_all;
use refold_domain::metric;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

async fn again(client: &Client) -> f64 {
    total(&client.get("/metrics").send().await.is(200).text, metric::HTTP_ANSWERS_AGAIN)
}

#[tokio::test]
async fn an_answer_is_given_again_until_something_changes() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/aggregated", "/stats", "/detections?limit=10", "/pictures/stats", "/views/food_counts"] {
        let before = again(&client).await;
        let first = client.get(path).send().await.is(200);
        let second = client.get(path).send().await.is(200);
        assert_eq!(again(&client).await, before + 1.0, "{path}");
        assert_eq!(first.text, second.text);
        for header in ["Content-Type", "Refold-Position"] {
            assert_eq!(first.header(header), second.header(header), "{path}");
        }
    }
    for count in 1..=20 {
        let receipt = observe(&client, "pie").send().await.is(201).receipt();
        let expected = json!([{"food": "pie", "count": count}]);
        assert_eq!(client.get("/aggregated").after(&receipt).send().await.is(200).json(), expected);
        // Whoever brings no receipt sees no less than somebody else has seen.
        for _ in 0..2 {
            assert_eq!(client.get("/aggregated").send().await.is(200).json(), expected);
        }
    }
    assert_eq!(client.get("/aggregated?limit=10").send().await.is(200).json()[0]["count"], 20);
}

#[tokio::test]
async fn nobody_is_shown_less_than_before() {
    const WRITERS: usize = 16;
    const FOODS: usize = 150;
    let server = Server::start().await;
    let client = server.client();
    let eat = async |writer: usize| {
        for number in 0..FOODS {
            observe(&client, "pie").key(format!("{writer} {number}")).send().await.is(201);
        }
    };
    let written = AtomicBool::new(false);
    let write = async {
        join_all((0..WRITERS).map(eat)).await;
        written.store(true, Ordering::Relaxed);
    };
    let read = async |paths: [&str; 2]| {
        let mut seen = 0;
        while !written.load(Ordering::Relaxed) {
            for path in paths {
                let answer = client.get(path).send().await.is(200).json();
                let counts = if answer.is_array() { &answer } else { &answer["data"] };
                let count = counts[0]["count"].as_u64().unwrap_or(0);
                assert!(count >= seen, "{path} has {count} after {seen}");
                seen = count;
            }
        }
    };
    let two = ["/aggregated", "/views/food_counts"];
    tokio::join!(write, read(two), read(["/aggregated"; 2]), read(two));
}

#[tokio::test]
async fn what_depends_on_more_than_the_store_is_asked_each_time() {
    let server = Server::start().await;
    let client = server.client();
    let before = again(&client).await;
    let shop = "/purchases/00000000-0000-0000-0000-000000000001";
    for path in [shop, "/projections", "/views", "/events", "/introductions"] {
        for _ in 0..2 {
            client.get(path).send().await.is(200);
        }
    }
    for _ in 0..2 {
        client.get("/aggregated?limit=none").send().await.problem(400, "parameter");
        client.get("/views/none").send().await.problem(404, "not-found");
    }
    assert_eq!(again(&client).await, before);
}

#[tokio::test]
async fn nothing_old_is_answered_by_a_store_that_was_emptied() {
    let mut server = Server::start().await;
    let client = server.client();
    let receipt = observe(&client, "pie").send().await.is(201).receipt();
    let seen = client.get("/aggregated").after(receipt).send().await.is(200).text;
    server.stop().await;
    server.remove_store().await;
    server.up().await;
    assert_eq!(client.get("/aggregated").send().await.is(200).text, seen);
}
