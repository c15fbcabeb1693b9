//! What happened: every accepted event once, in pages and live, whoever is cut off, killed or slow.

use crate::client::{Answer, Call, Client};
use crate::data;
use crate::foods::{newest, observe, send_all};
use crate::introductions::saying;
use crate::operations::{total, until_total};
use crate::purchases::purchase;
use crate::raw::Raw;
use crate::server::{Server, in_time};
use crate::sse::Stream;
use crate::tokens;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// How many clients follow at the same time.
const CLIENTS: usize = 100;
/// How many foods are recorded.
const FOODS: usize = 400;
/// How many purchases are asked for under how many ids.
const PURCHASES: (usize, usize) = (200, 20);
/// How often the service is killed meanwhile.
const KILLS: usize = 2;
/// The events of a commit that follow each other under one id.
type Seen = BTreeMap<String, Value>;

/// Commands of all kinds, many of which come to nothing: repeats, and purchases under an id that is taken.
fn commands(client: &Client) -> Vec<Call> {
    let foods = data::observations().into_iter().cycle().take(FOODS).enumerate();
    let mut calls: Vec<_> =
        foods.map(|(number, food)| observe(client, &food).key(format!("food {}", number / 2 * 2))).collect();
    // Half of the foods have the key of the one before, and are other foods or repeats.
    calls.extend((0..PURCHASES.0).map(|number| {
        let id = Uuid::from_u128((number % PURCHASES.1) as u128).to_string();
        client.post("/purchases", &purchase(&id, &format!("2021-12-{:02}T12:00:00Z", number % 28 + 1)))
    }));
    calls.extend((0..50).map(|number| client.post("/introductions", &saying(&format!("number {number}")))));
    calls
}

/// Every event, page by page.
pub(crate) async fn pages(client: &Client, query: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut path = format!("/events?{query}");
    loop {
        let page = client.get(&path).send().await.is(200);
        let position = page.header("Refold-Position").to_owned();
        let page = page.json();
        assert_eq!(page["position"], position);
        events.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            return events;
        };
        path = format!("/events?{query}&cursor={next}");
    }
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// By id, each of which must be there once, those of a writer in its order.
fn once(events: &[Value]) -> Seen {
    let seen: Seen = events.iter().map(|event| (id(event), event.clone())).collect();
    assert_eq!(seen.len(), events.len(), "an event came twice");
    let mut newest: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in events {
        let id = id(event);
        let parts: Vec<&str> = id.splitn(3, '.').collect();
        let place: Vec<u64> = parts[2].split('.').map(|part| part.parse().unwrap()).collect();
        let before = newest.insert(format!("{}.{}", parts[0], parts[1]), place.clone());
        assert!(before.is_none_or(|before| before < place), "{id} came too late");
    }
    seen
}

/// The receipts under which the answers say that something was recorded.
fn receipts(answers: &[Answer]) -> BTreeSet<String> {
    answers.iter().filter(|answer| answer.status < 300).map(Answer::receipt).collect()
}

fn receipt(id: &str) -> String {
    id.rsplit_once('.').unwrap().0.to_owned()
}

#[tokio::test]
async fn every_event_is_on_the_pages_once() {
    let server = Server::new().with("LOG__PARTITIONS", "8").ready().await;
    let client = server.client();
    let answers = send_all(&commands(&client)).await;
    let metrics = client.get("/metrics").send().await.text;
    assert!(total(&metrics, "refold_gate_commands_void_total") > 0.0, "no command was void");
    let recorded = receipts(&answers);
    client.get("/events?limit=1").after(newest_of(&answers)).send().await.is(200);

    let all = pages(&client, "limit=7").await;

    let found: BTreeSet<_> = once(&all).keys().map(|id| receipt(id)).collect();
    assert_eq!(found, recorded);
    assert_eq!(once(&pages(&client, "limit=1000").await), once(&all));
    let foods = once(&pages(&client, "limit=5&type=food.observed").await);
    let others = once(&pages(&client, "type=introduction.introduced,purchase.recorded").await);
    assert_eq!(others.len(), 50 + PURCHASES.1);
    assert_eq!(foods.len() + others.len(), all.len());
    let by_partition: Vec<_> =
        (0..8).map(async |partition| pages(&client, &format!("partition={partition}")).await).collect();
    let by_partition = join_all(by_partition).await;
    for (partition, events) in by_partition.iter().enumerate() {
        assert!(events.iter().all(|event| id(event).starts_with(&format!("{partition}."))));
    }
    assert_eq!(once(&by_partition.concat()), once(&all));
    let event = foods.values().next().unwrap();
    let log = event["source"].as_str().unwrap().strip_prefix("urn:uuid:").unwrap();
    let position = client.get("/events?from=now").send().await.is(200);
    assert_eq!(position.json()["data"], json!([]));
    let position = position.header("Refold-Position").to_owned();
    assert!(position.starts_with(&log[log.len() - 8..]));
    let pie = observe(&client, "pie").send().await.is(201).receipt();
    let since = client.get(format!("/events?from={position}")).after(&pie).send().await.is(200).json();
    let expected = json!({
        "specversion": "1.0", "id": format!("{pie}.0"), "source": event["source"], "type": "food.observed",
        "time": since["data"][0]["time"], "datacontenttype": "application/json", "data": {"food": "pie"},
    });
    assert_eq!(since["data"], json!([expected]));
    assert_eq!(
        others
            .values()
            .find(|event| event["type"] == "purchase.recorded")
            .map(|event| event["subject"].is_string()),
        Some(true)
    );
}

fn newest_of(answers: &[Answer]) -> String {
    let recorded: Vec<_> = answers.iter().filter(|answer| answer.status < 300).cloned().collect();
    newest(&recorded)
}

/// Reads until `done` says how many events there are and all were seen; goes away and comes back all the time.
async fn follow(
    client: Client,
    seed: u64,
    mut done: watch::Receiver<Option<usize>>,
    path: &str,
) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut seen, mut last): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let call = client.get(path);
        let call = last.iter().fold(call, |call, id| call.header("Last-Event-ID", id));
        let Ok(mut stream) = Stream::attempt(&call).await else {
            tokio::task::yield_now().await;
            continue;
        };
        for _ in 0..random.random_range(1..200) {
            let is_done = |done: &Option<usize>| done.is_some_and(|count| seen.len() >= count);
            let message = tokio::select! {
                message = stream.next() => message,
                all = done.wait_for(is_done) => {
                    all.unwrap();
                    return seen;
                }
            };
            let Some(message) = message else {
                break;
            };
            last = message.id.clone().or(last);
            if message.data.is_some() && message.event.is_none() {
                seen.push(message.json());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_cut_off_get_every_event_once_across_kills_and_an_emptied_store() {
    let mut server = Server::start().await;
    let client = server.client();
    let (done, is_done) = watch::channel(None);
    let (_foods, foods) = watch::channel(Some(FOODS / 2));
    let followers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            // Every tenth asks for some of it only.
            let path = if number % 10 == 9 {
                "/events/live?from=start&type=food.observed"
            } else {
                "/events/live?from=start"
            };
            let done = if number % 10 == 9 { foods.clone() } else { is_done.clone() };
            tokio::spawn(follow(client.clone(), number as u64, done, path))
        })
        .collect();
    let calls = commands(&client);
    let mut answers = Vec::new();
    for (number, part) in calls.chunks(calls.len() / (KILLS + 1) + 1).enumerate() {
        if number > 0 {
            server.kill().await;
            if number == KILLS {
                server.remove_store().await;
            }
            server.up().await;
        }
        answers.extend(send_all(part).await);
    }
    client.get("/events?limit=1").after(newest_of(&answers)).send().await.is(200);
    let truth = once(&pages(&client, "limit=1000").await);
    assert!(receipts(&answers).is_subset(&truth.keys().map(|id| receipt(id)).collect()));

    done.send_replace(Some(truth.len()));
    let seen = in_time("followed", join_all(followers)).await;

    for (number, seen) in seen.into_iter().enumerate() {
        let seen = once(&seen.unwrap());
        if number % 10 == 9 {
            let foods = truth.iter().filter(|(_, event)| event["type"] == "food.observed");
            assert_eq!(
                seen,
                foods.map(|(id, event)| (id.clone(), event.clone())).collect(),
                "client {number}"
            );
        } else {
            assert_eq!(seen, truth, "client {number}");
        }
    }
    drop(done);
}

#[tokio::test]
async fn who_follows_from_now_on_gets_what_comes_and_nothing_older() {
    let server = Server::start().await;
    let client = server.client();
    let before = observe(&client, "before").send().await.is(201).receipt();
    client.get("/events").after(&before).send().await.is(200);
    let mut all = Stream::open(&client.get("/events/live")).await;
    let mut cakes = Stream::open(&client.get("/events/live?type=purchase.recorded")).await;
    for stream in [&mut all, &mut cakes] {
        assert!(in_time("greeted", stream.next()).await.unwrap().id.is_some());
    }
    let pie = observe(&client, "pie").send().await.is(201).receipt();
    let bought = client.post("/purchases", &crate::purchases::example()).send().await.is(201).receipt();
    let found = [all.data().await.json(), all.data().await.json()].map(|event| id(&event));
    assert_eq!(BTreeSet::from(found), BTreeSet::from([format!("{pie}.0"), format!("{bought}.0")]));
    assert_eq!(id(&cakes.data().await.json()), format!("{bought}.0"));
}

/// Somebody who asks and then reads nothing, with a small window.
async fn asks_and_does_not_read(client: &Client, path: &str) -> Raw {
    let mut deaf = Raw::narrow(client).await;
    let token = tokens::admin();
    deaf.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    deaf
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_dropped_and_commands_go_on() {
    let server = Server::new().with("HTTP__STREAM_TIMEOUT_MS", "500").ready().await;
    let client = server.client();
    let mut reader = Stream::open(&client.get("/events/live?from=start")).await;
    let deaf = asks_and_does_not_read(&client, "/events/live?from=start").await;
    let text = "寿".repeat(10_000);
    let (count, read) = watch::channel(0);
    let message = text.clone();
    let reading = tokio::spawn(async move {
        loop {
            assert_eq!(reader.data().await.json()["data"]["message"], message);
            count.send_modify(|count| *count += 1);
        }
    });
    let mut recorded = 0;
    while !server.said().contains("a stream was dropped") {
        client.post("/introductions", &saying(&text)).send().await.is(201);
        recorded += 1;
        assert!(recorded < 5_000, "nobody was dropped");
    }
    in_time("read", read.clone().wait_for(|count| *count == recorded)).await.unwrap();
    until_total(&client, "refold_http_streams", 1.0).await;
    let metrics = client.get("/metrics").send().await.text;
    assert_eq!(total(&metrics, "refold_http_streams_dropped_total"), 1.0);
    reading.abort();
    drop(deaf);
    // So much does not fit on one page, however many events are asked for.
    let page = client.get("/events?limit=1000").send().await.is(200).json();
    let is_whole = page["data"].as_array().unwrap().len() == recorded;
    assert_eq!(page["next"].is_null(), is_whole);
    assert!(!is_whole || recorded * text.len() < 4 << 20);
    assert_eq!(once(&pages(&client, "limit=1000").await).len(), recorded);
}

#[tokio::test]
async fn streams_have_places_of_their_own() {
    let server = Server::new().with("HTTP__STREAMS_MAX", "2").with("HTTP__REQUESTS_MAX", "1").ready().await;
    let client = server.client();
    let one = Stream::open(&client.get("/events/live")).await;
    let _other = Stream::open(&client.get("/views/food_counts/live")).await;
    for path in ["/events/live", "/alerts"] {
        let refused = client.get(path).send().await;
        assert!(refused.problem(503, "overloaded").contains("http.streams_max"));
    }
    // Whoever has read an answer may be faster than the service, which has yet to give its place back.
    client.get("/aggregated").insist().await.is(200);
    until_total(&client, "refold_http_streams", 2.0).await;
    drop(one);
    until_total(&client, "refold_http_streams", 1.0).await;
    Stream::open(&client.get("/events/live")).await;
}

#[tokio::test]
async fn streams_do_not_hold_up_a_service_that_stops() {
    let mut server = Server::new().with("HTTP__STOP_TIMEOUT_MS", "600000").ready().await;
    let client = server.client();
    let mut streams = Vec::new();
    for path in ["/events/live", "/events/live?from=start", "/alerts", "/views/food_counts/live"] {
        streams.push(Stream::open(&client.get(path)).await);
    }
    let _deaf = asks_and_does_not_read(&client, "/events/live").await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    for stream in &mut streams {
        while in_time("ended", stream.next()).await.is_some() {}
    }
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive() {
    let server = Server::new().with("HTTP__STREAM_TIMEOUT_MS", "200").ready().await;
    let client = server.client();
    for path in ["/events/live", "/alerts", "/views/food_counts/live"] {
        let mut quiet = asks_and_does_not_read(&client, path).await;
        quiet.until("\n:\n").await;
    }
}

#[tokio::test]
async fn a_place_that_is_none_of_this_log_is_refused() {
    let server = Server::new().with("LOG__PARTITIONS", "8").ready().await;
    let client = server.client();
    let receipt = observe(&client, "pie").send().await.is(201).receipt();
    let position = client.get("/events").after(receipt).send().await.header("Refold-Position").to_owned();
    let (log, offsets) = position.split_once(':').unwrap();
    let other = format!("00000000:{offsets}");
    let beyond = format!("{log}:{}", ["9999"; 8].join(","));
    for (place, path) in [
        (&other, "/events/live"),
        (&other, "/alerts"),
        (&other, "/views/food_counts/live"),
        (&beyond, "/events/live"),
        (&beyond, "/alerts"),
    ] {
        client.get(path).header("Last-Event-ID", place).send().await.problem(410, "other-log");
    }
    for place in [&other, &beyond] {
        client.get(format!("/events?from={place}")).send().await.problem(410, "other-log");
        client.get(format!("/events/live?from={place}")).send().await.problem(410, "other-log");
    }
    let short = format!("{log}:1,2");
    for bad in ["soon", "1a2b3c4d", &short] {
        client.get(format!("/events?from={bad}")).send().await.problem(400, "parameter");
        for path in ["/events/live", "/alerts"] {
            client.get(path).header("Last-Event-ID", bad).send().await.problem(400, "parameter");
        }
    }
    let unknown = client.get("/events?type=food.observd").send().await.problem(400, "parameter");
    assert!(unknown.contains("food.observed"), "{unknown}");
    client.get("/events?partition=8").send().await.problem(400, "parameter");
    client.get("/views/food_count/live").send().await.problem(404, "not-found");
    client.get("/views/food_counts/live?flavour=x").send().await.problem(400, "parameter");
    for food in ["cake", "soup"] {
        observe(&client, food).send().await.is(201);
    }
    let page =
        client.get("/events?limit=1").after(observe(&client, "tea").send().await.receipt()).send().await;
    let next = page.json()["next"].as_str().unwrap().to_owned();
    client.get(format!("/events?cursor={next}")).send().await.is(200);
    for other in ["type=food.observed&", "partition=1&", "from=now&"] {
        client.get(format!("/events?{other}cursor={next}")).send().await.problem(400, "parameter");
    }
}
