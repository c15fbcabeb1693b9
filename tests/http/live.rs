//! Views as they change: the last state soon, not too often, and nothing while nothing changes.

use crate::foods::{aggregated, observe, send_all};
use crate::server::{Server, in_time};
use crate::sse::Stream;
use serde_json::json;
use std::time::{Duration, Instant};

const PIES: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_state_is_seen_soon_and_not_too_often() {
    let server = Server::start().await;
    let client = server.client();
    let (pies, cakes) = ("/views/food_counts/live?food=pie", "/views/food_counts/live?food=cake");
    let mut streams = [Stream::open(&client.get(pies)).await, Stream::open(&client.get(pies)).await];
    let mut cakes = Stream::open(&client.get(cakes)).await;
    for stream in streams.iter_mut().chain([&mut cakes]) {
        let first = stream.data().await;
        let page = first.json();
        assert_eq!((&page["data"], &page["name"]), (&json!([]), &json!("food_counts")));
        assert_eq!(first.id.as_deref(), page["position"].as_str());
    }
    let began = Instant::now();
    let record = async {
        send_all(&vec![observe(&client, "pie"); PIES]).await;
        Instant::now()
    };
    let watch = async |stream: &mut Stream| {
        let mut messages = 0;
        loop {
            let message = stream.data().await;
            messages += 1;
            if message.json()["data"][0]["count"] == PIES {
                return (messages, Instant::now(), message.id);
            }
        }
    };
    let [one, other] = &mut streams;
    let (recorded, one, other) = tokio::join!(record, Box::pin(watch(one)), Box::pin(watch(other)));
    for (messages, seen, _) in [&one, &other] {
        let late = seen.saturating_duration_since(recorded);
        assert!(late < Duration::from_secs(1), "seen {late:?} after it was recorded");
        let most = (*seen - began).as_secs_f64() * 5.0 + 2.0;
        assert!(f64::from(*messages) <= most, "{messages} messages in {:?}", *seen - began);
    }
    // Who comes back knows this already, and is told what is new; who asked for cakes was told nothing meanwhile.
    let again = client.get(pies).header("Last-Event-ID", one.2.unwrap());
    let mut again = Stream::open(&again).await;
    let answers = send_all(&[observe(&client, "pie"), observe(&client, "cake")]).await;
    aggregated(&client, &crate::foods::newest(&answers)).await;
    assert_eq!(again.data().await.json()["data"], json!([{"food": "pie", "count": PIES + 1}]));
    assert_eq!(cakes.data().await.json()["data"], json!([{"food": "cake", "count": 1}]));
}

#[tokio::test]
async fn a_view_that_is_being_folded_is_waited_for() {
    let mut server = Server::start().await;
    let client = server.client();
    let answers = send_all(&vec![observe(&client, "pie"); PIES]).await;
    aggregated(&client, &crate::foods::newest(&answers)).await;
    server.kill().await;
    server.remove_store().await;
    server.launch().await;
    let mut stream = Stream::open(&client.get("/views/food_counts/live")).await;
    let page = async {
        loop {
            let message = stream.data().await;
            match message.event.as_deref() {
                None => return message.json(),
                Some(event) => {
                    let problem = message.json();
                    assert_eq!((event, &problem["type"]), ("waiting", &json!("urn:refold:problem:folding")));
                }
            }
        }
    };
    let page = in_time("folded", Box::pin(page)).await;
    assert_eq!(page["data"], json!([{"food": "pie", "count": PIES}]));
}
