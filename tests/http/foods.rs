//! Foods: every observation is counted, once, however often and however fast it is sent.

use crate::client::{Answer, Call, Client};
use crate::data;
use crate::server::Server;
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many requests are under way at the same time.
const CONCURRENCY: usize = 64;

pub(crate) fn observe(client: &Client, food: &str) -> Call {
    client.post("/foods", &json!({"food": food}))
}

/// Each observation as a command with a key of its own.
pub(crate) fn commands(client: &Client, observations: &[String]) -> Vec<Call> {
    let command = |(number, food): (usize, &String)| observe(client, food).key(format!("food {number}"));
    observations.iter().enumerate().map(command).collect()
}

/// Sends all, many at a time, and returns the answers in the order of the commands.
pub(crate) async fn send_all(commands: &[Call]) -> Vec<Answer> {
    let sent = commands.iter().map(async |command| command.insist().await);
    stream::iter(sent).buffered(CONCURRENCY).collect().await
}

/// The newest receipt of each writer: who waits for them has waited for all.
pub(crate) fn newest(answers: &[Answer]) -> String {
    let mut newest: BTreeMap<(String, String), (u64, String)> = BTreeMap::new();
    let receipts: Vec<_> = answers.iter().map(Answer::receipt).collect();
    for receipt in receipts.iter().flat_map(|receipts| receipts.split(',')).map(str::to_owned) {
        let parts: Vec<&str> = receipt.split('.').collect();
        let writer = (parts[0].to_owned(), parts[1].to_owned());
        let seq = parts[2].parse().unwrap();
        let known = newest.entry(writer).or_default();
        if seq >= known.0 {
            *known = (seq, receipt);
        }
    }
    newest.into_values().map(|(_, receipt)| receipt).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn aggregated(client: &Client, receipts: &str) -> Value {
    client.get("/aggregated").after(receipts).send().await.is(200).json()
}

#[tokio::test]
async fn a_replayed_file_gives_exactly_its_counts() {
    let server = Server::start().await;
    let client = server.client();
    let commands = commands(&client, &data::observations());

    let answers = send_all(&commands).await;

    assert!(answers.iter().all(|answer| answer.status == 201));
    let receipts = newest(&answers);
    let expected = data::aggregated(&data::foods());
    assert_eq!(aggregated(&client, &receipts).await, expected);
    let again = send_all(&commands[..commands.len().min(200)]).await;
    for (first, again) in answers.iter().zip(&again) {
        assert_eq!((again.status, again.receipt(), &again.text), (201, first.receipt(), &first.text));
    }
    assert_eq!(aggregated(&client, &newest(&again)).await, expected);
}

#[tokio::test]
async fn what_is_written_is_read() {
    let server = Server::start().await;
    let client = server.client();

    let pie = observe(&client, "pie").send().await.is(201);
    let slash = client.post("/foods/", &json!({"food": "寿司"})).send().await.is(201);

    assert_eq!(pie.json()["food"], "pie");
    assert_eq!(pie.json()["id"], format!("{}.0", pie.receipt()));
    let receipts = format!("{}, {}", pie.receipt(), slash.receipt());
    let expected = json!([{"food": "pie", "count": 1}, {"food": "寿司", "count": 1}]);
    assert_eq!(aggregated(&client, &receipts).await, expected);
    let answer = client.get("/aggregated/").send().await.is(200);
    assert_eq!(answer.json(), expected);
    assert!(answer.header("Refold-Position").contains(':'));
    let view = client.get("/views/food_counts?food=pie").send().await.is(200).json();
    assert_eq!((&view["kind"], &view["data"]), (&json!("counts"), &json!([{"food": "pie", "count": 1}])));
    assert_eq!(view["position"], answer.header("Refold-Position"));
}

#[tokio::test]
async fn without_a_key_every_request_counts() {
    let server = Server::start().await;
    let client = server.client();
    let answers = send_all(&vec![observe(&client, "pie"); 50]).await;
    let counted = aggregated(&client, &newest(&answers)).await;
    assert_eq!(counted, json!([{"food": "pie", "count": 50}]));
}

#[tokio::test]
async fn a_key_is_one_command_however_many_send_it_at_once() {
    let server = Server::start().await;
    let client = server.client();

    let answers = send_all(&vec![observe(&client, "pie").key("k"); 50]).await;

    let receipt = answers[0].receipt();
    for answer in &answers {
        assert_eq!((answer.status, answer.receipt(), &answer.text), (201, receipt.clone(), &answers[0].text));
    }
    observe(&client, "cake").key("k").send().await.problem(422, "key-reused");
    // A key is somebody's name for a request to one route.
    let purchase = crate::purchases::example();
    client.post("/purchases", &purchase).key("k").send().await.is(201);
    assert_eq!(aggregated(&client, &receipt).await, json!([{"food": "pie", "count": 1}]));
}

#[tokio::test]
async fn only_the_most_frequent_are_answered_where_fewer_are_asked_for() {
    let server = Server::start().await;
    let client = server.client();
    let foods = ["pie", "cake", "soup", "pie", "cake", "pie", "apple"].map(str::to_owned);
    let receipts = newest(&send_all(&commands(&client, &foods)).await);

    let two = client.get("/aggregated?limit=2").after(&receipts).send().await.is(200);
    let three = client.get("/aggregated?limit=3").send().await.is(200);
    let all = client.get("/aggregated?limit=4").send().await.is(200);

    let expected = [("pie", 3), ("cake", 2), ("apple", 1), ("soup", 1)];
    let expected = expected.map(|(food, count)| json!({"food": food, "count": count}));
    for (answer, wanted) in [(&two, &expected[..2]), (&three, &expected[..3]), (&all, &expected[..])] {
        assert_eq!(answer.json(), json!(wanted));
    }
    assert_eq!(two.header("Link"), "</views/food_counts>; rel=\"collection\"");
    assert!(three.headers.contains_key("Link") && !all.headers.contains_key("Link"));
}

/// One food more than are read from the store at a time.
const MANY: usize = 10_001;

#[tokio::test]
async fn there_may_be_more_foods_than_are_read_at_once() {
    let server = Server::start().await;
    let client = server.client();
    let foods: Vec<_> = (0..MANY).map(|number| format!("food {number:05}")).collect();
    let mut eaten = foods.clone();
    // The last one in the order of reading is the first of the answer.
    eaten.push(foods[MANY - 1].clone());
    let receipts = newest(&send_all(&commands(&client, &eaten)).await);

    let counted = aggregated(&client, &receipts).await;

    let count = |food: &String, count: u64| json!({"food": food, "count": count});
    let mut expected = vec![count(&foods[MANY - 1], 2)];
    expected.extend(foods[..MANY - 1].iter().map(|food| count(food, 1)));
    assert_eq!(counted, json!(expected));
    let first = client.get("/aggregated?limit=1").send().await.is(200).json();
    assert_eq!(first, json!(expected[..1]));
}
