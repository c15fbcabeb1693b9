//! Detections: every vehicle of a file is found again, counted and watched for, whatever happens to the service.

use crate::client::{Answer, Call, Client};
use crate::data;
use crate::foods::{newest, send_all};
use crate::server::{Server, in_time};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// How many requests are under way at the same time.
const CONCURRENCY: usize = 64;
/// How many lines the real file has, and how many of them are of the category that is watched for.
pub(crate) const REAL_FILE: (usize, usize) = (9_581, 2_136);
/// How many of the first commands are sent again.
const REPEATED: usize = 200;

/// A detection as producers send it.
pub(crate) fn example() -> Value {
    json!({"Year": 2011, "Make": "Toyota", "Model": "Land Cruiser", "Category": "SUV"})
}

fn detect(client: &Client, detection: &Value) -> Call {
    client.post("/detections", detection)
}

/// Each detection as a command with a key of its own.
pub(crate) fn commands(client: &Client, detections: &[Value]) -> Vec<Call> {
    let command = |(number, detection)| detect(client, detection).key(format!("detection {number}"));
    detections.iter().enumerate().map(command).collect()
}

/// A detection as the service shows it, worked out by the names of the file.
fn shown(sent: &Value) -> Value {
    json!({"year": sent["Year"], "make": sent["Make"], "model": sent["Model"], "category": sent["Category"]})
}

/// That everything that is answered about detections is what was sent, no more and no less.
pub(crate) async fn all_are_there(client: &Client, sent: &[Value]) {
    let mut counts = BTreeMap::<&str, u64>::new();
    for detection in sent {
        *counts.entry(detection["Make"].as_str().unwrap()).or_default() += 1;
    }
    let mut makes: Vec<_> = counts.into_iter().collect();
    makes.sort_by_key(|&(make, count)| (Reverse(count), make));
    let makes: Vec<_> =
        makes.into_iter().map(|(make, count)| json!({"make": make, "count": count})).collect();
    let stats = client.get("/stats").send().await.is(200).json();
    assert_eq!(stats, json!({"data": makes, "size": makes.len()}));

    let listed = pages(client, "/detections?limit=1000").await;
    let time = |one: &Value| one["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let times: Vec<_> = listed.iter().map(time).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "the newest comes first");
    assert_eq!(by_skipping(client).await, listed);
    assert_same(listed.iter().map(without_place), sent.iter().map(shown));

    let suspicious = pages(client, "/views/suspicious_vehicles?limit=1000").await;
    let watched: Vec<_> = sent.iter().filter(|one| one["Category"] == "SUV").map(shown).collect();
    if sent.len() == REAL_FILE.0 {
        assert_eq!(watched.len(), REAL_FILE.1, "what is expected is wrong");
    }
    assert_same(suspicious.iter().map(|row| row["data"].clone()), watched.into_iter());
}

/// Every item, page after page by cursor.
async fn pages(client: &Client, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(page) = next {
        let page = client.get(page).send().await.is(200).json();
        found.extend(page["data"].as_array().unwrap().iter().cloned());
        next = page["next"].as_str().map(|cursor| format!("{path}&cursor={cursor}"));
    }
    found
}

/// Every detection, page after page by their number.
async fn by_skipping(client: &Client) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let page = client.get(format!("/detections?limit=1000&skip={}", found.len())).send().await;
        let page = page.is(200).json();
        let data = page["data"].as_array().unwrap();
        assert_eq!((&page["size"], &page["skip"]), (&json!(data.len()), &json!(found.len())));
        if data.is_empty() {
            return found;
        }
        found.extend(data.iter().cloned());
    }
}

fn without_place(listed: &Value) -> Value {
    let mut one = listed.as_object().unwrap().clone();
    one.retain(|name, _| !["id", "timestamp"].contains(&name.as_str()));
    Value::Object(one)
}

/// That both have the same items, in whatever order, each as often.
#[track_caller]
pub(crate) fn assert_same(found: impl Iterator<Item = Value>, expected: impl Iterator<Item = Value>) {
    let tally = |items: &mut dyn Iterator<Item = Value>| {
        let mut tally = BTreeMap::<String, i64>::new();
        items.for_each(|item| *tally.entry(item.to_string()).or_default() += 1);
        tally
    };
    let (mut found, mut expected) = (found, expected);
    assert_eq!(tally(&mut found), tally(&mut expected));
}

/// Sends all, and kills the service when half of them are answered; each is repeated with its key until it is.
async fn send_through_a_kill(server: &mut Server, commands: &[Call]) -> Vec<Answer> {
    let answered = watch::Sender::new(0);
    let sent = commands.iter().map(async |command| {
        let answer = command.insist().await;
        answered.send_modify(|count| *count += 1);
        answer
    });
    let mut count = answered.subscribe();
    let kill = async {
        in_time("half done", count.wait_for(|count| *count >= commands.len() / 2)).await.unwrap();
        server.kill().await;
        server.up().await;
    };
    let all = stream::iter(sent).buffered(CONCURRENCY).collect();
    tokio::join!(all, kill).0
}

#[tokio::test]
async fn a_file_of_detections_is_there_whatever_happens() {
    let mut server = Server::start().await;
    let client = server.client();
    let sent = data::detections();
    let commands = commands(&client, &sent);

    let answers = send_through_a_kill(&mut server, &commands).await;

    for (answer, sent) in answers.iter().zip(&sent) {
        assert_eq!((answer.status, without_place(&answer.json())), (201, shown(sent)));
    }
    client.get("/stats").after(newest(&answers)).send().await.is(200);
    all_are_there(&client, &sent).await;
    let again = send_all(&commands[..commands.len().min(REPEATED)]).await;
    for (first, again) in answers.iter().zip(&again) {
        assert_eq!((again.status, again.receipt(), &again.text), (201, first.receipt(), &first.text));
    }
    server.kill().await;
    server.remove_store().await;
    server.up().await;
    all_are_there(&client, &sent).await;
}

#[tokio::test]
async fn what_is_detected_is_listed() {
    let server = Server::start().await;
    let client = server.client();

    let first = detect(&client, &example()).send().await.is(201);
    let lower = json!({"year": 2020, "make": "Škoda", "model": "Yeti", "category": "SUV, Wagon"});
    let second = client.post("/detections/", &lower).after(first.receipt()).send().await.is(201);

    let made = json!({"id": format!("{}.0", first.receipt()), "year": 2011, "make": "Toyota", "model": "Land Cruiser", "category": "SUV"});
    assert_eq!(first.json(), made);
    let receipts = format!("{}, {}", first.receipt(), second.receipt());
    let listed = client.get("/detections/").after(&receipts).send().await.is(200);
    let mut page = listed.json();
    for row in page["data"].as_array_mut().unwrap() {
        assert!(row.as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
    }
    let expected = json!({"data": [second.json(), made], "size": 2, "skip": 0, "limit": 100, "next": null});
    assert_eq!(page, expected);
    assert!(listed.header("Refold-Position").contains(':'));
    let stats = client.get("/stats/?limit=1").send().await.is(200);
    assert_eq!(stats.json(), json!({"data": [{"make": "Toyota", "count": 1}], "size": 1}));
    assert_eq!(stats.header("Link"), "</views/vehicles_per_make>; rel=\"collection\"");
    assert_eq!(stats.header("Refold-Position"), listed.header("Refold-Position"));
    // Only what is exactly the category that is watched for.
    let watched = client.get("/views/suspicious_vehicles").send().await.is(200).json();
    assert_eq!(watched["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_one_detection_in_either_spelling() {
    let server = Server::start().await;
    let client = server.client();
    let lower = shown(&example());

    let first = detect(&client, &example()).key("k").send().await.is(201);
    let again = detect(&client, &lower).key("k").send().await.is(201);

    assert_eq!((again.receipt(), &again.text), (first.receipt(), &first.text));
    let mut other = lower;
    other["year"] = json!(2012);
    detect(&client, &other).key("k").send().await.problem(422, "key-reused");
    let stats = client.get("/stats").after(first.receipt()).send().await.is(200).json();
    assert_eq!(stats["data"], json!([{"make": "Toyota", "count": 1}]));
}

#[tokio::test]
async fn skipping_and_going_on_are_the_same_way() {
    let server = Server::start().await;
    let client = server.client();
    let sent: Vec<_> =
        (2000..2025).map(|year| json!({"year": year, "make": "a", "model": "b", "category": "c"})).collect();
    let receipts = newest(&send_all(&commands(&client, &sent)).await);
    let all = client.get("/detections").after(&receipts).send().await.is(200).json()["data"].clone();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), sent.len());

    for (skip, limit) in [(0, 25), (0, 24), (3, 7), (24, 1), (24, 1000), (25, 1), (10_000, 1000)] {
        let page = client.get(format!("/detections?skip={skip}&limit={limit}")).send().await.is(200).json();
        let expected: Vec<_> = all.iter().skip(skip).take(limit).collect();
        assert_eq!(page["data"], json!(expected), "{skip} {limit}");
        assert_eq!(page["next"].is_null(), skip + limit >= all.len(), "{skip} {limit}");
        // A cursor goes on where its page ended, however it began; what is skipped then comes after it.
        if let Some(cursor) = page["next"].as_str() {
            let path = format!("/detections?limit=2&skip=1&cursor={cursor}");
            let page = client.get(path).send().await.is(200).json();
            let expected: Vec<_> = all.iter().skip(skip + limit + 1).take(2).collect();
            assert_eq!(page["data"], json!(expected), "{skip} {limit}");
        }
    }
}
