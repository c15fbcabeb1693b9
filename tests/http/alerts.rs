//! Alerts: everybody who listens gets each of them once, whoever is cut off, killed or slow, and nobody gets another.

use crate::client::{Call, Client};
use crate::data;
use crate::definitions::define;
use crate::detections::{REAL_FILE, assert_same, example};
use crate::events::pages;
use crate::foods::{newest, send_all};
use crate::kills::number;
use crate::ndjson;
use crate::operations::{total, until_total};
use crate::raw::Raw;
use crate::server::{Server, in_time};
use crate::sse::{Message, Stream};
use crate::tokens;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;

/// How many clients listen at the same time.
const CLIENTS: usize = 100;
/// How many alerts are raised, unless `REFOLD_ALERTS` says.
const ALERTS: usize = 500;
/// After how many messages at most a client that comes and goes is cut off.
const MESSAGES_MAX: usize = 60;
/// How many detections are sent one by one, before so many more are sent in one body.
const SINGLES: usize = 10;
const LINES: usize = 20;

/// So many detections that raise an alert, each another one, and some between them that raise none.
fn detections(alerts: usize) -> Vec<Value> {
    let vehicle = |number: usize, category: &str| {
        let (year, make) = (1990 + number % 50, format!("make {}", number % 7));
        json!({"Year": year, "Make": make, "Model": number.to_string(), "Category": category})
    };
    let others = ["SUV, Wagon", "suv", "Coupe"];
    let of_number = |number: usize| {
        let other = number.is_multiple_of(4).then(|| vehicle(number, others[number % others.len()]));
        other.into_iter().chain([vehicle(number, "SUV")])
    };
    (0..alerts).flat_map(of_number).collect()
}

/// The same as commands, each with a key: some of one detection, some of many.
fn commands(client: &Client, detections: &[Value]) -> Vec<Call> {
    let mut calls = Vec::new();
    for part in detections.chunks(SINGLES + LINES) {
        let (singles, lines) = part.split_at(part.len().min(SINGLES));
        calls.extend(singles.iter().map(|one| client.post("/detections", one)));
        if !lines.is_empty() {
            calls.push(client.post_lines("/detections", ndjson::lines(lines)));
        }
    }
    calls.into_iter().enumerate().map(|(number, call)| call.key(format!("call {number}"))).collect()
}

/// Somebody who listens.
struct Listener {
    client: Client,
    random: StdRng,
    /// Whether it goes away and comes back all the time, or only when the service does.
    is_restless: bool,
    stream: Option<Stream>,
    /// The id of the last message.
    last: String,
    heard: Vec<Value>,
}

impl Listener {
    /// Listens from now on.
    async fn open(client: &Client, seed: u64, number: usize) -> Self {
        let mut stream = Stream::open(&client.get("/alerts")).await;
        let last = in_time("greeted", begun(&mut stream)).await;
        let random = StdRng::seed_from_u64(seed + number as u64);
        let client = client.clone();
        Self { client, random, is_restless: number % 2 == 1, stream: Some(stream), last, heard: Vec::new() }
    }

    /// Listens until `done` says how many alerts there are and all were heard.
    async fn listen(mut self, mut done: watch::Receiver<Option<usize>>) -> Vec<Value> {
        loop {
            let Some(mut stream) = self.connection().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let messages =
                if self.is_restless { self.random.random_range(1..MESSAGES_MAX) } else { usize::MAX };
            for _ in 0..messages {
                let is_done = |done: &Option<usize>| done.is_some_and(|count| self.heard.len() >= count);
                let message = tokio::select! {
                    message = stream.next() => message,
                    all = done.wait_for(is_done) => {
                        all.unwrap();
                        return self.heard;
                    }
                };
                let Some(message) = message else {
                    break;
                };
                self.note(message);
            }
        }
    }

    async fn connection(&mut self) -> Option<Stream> {
        if let Some(stream) = self.stream.take() {
            return Some(stream);
        }
        Stream::attempt(&self.client.get("/alerts").header("Last-Event-ID", &self.last)).await.ok()
    }

    fn note(&mut self, message: Message) {
        if message.data.is_some() {
            assert_eq!(message.event.as_deref(), Some("alert"));
            self.heard.push(message.json());
        }
        self.last = message.id.unwrap_or_else(|| self.last.clone());
    }
}

/// The id with which a stream says where it begins.
async fn begun(stream: &mut Stream) -> String {
    loop {
        if let Some(id) = stream.next().await.unwrap().id {
            return id;
        }
    }
}

/// A stream that has begun, and where.
async fn listening(client: &Client) -> (Stream, String) {
    let mut stream = Stream::open(&client.get("/alerts")).await;
    let id = in_time("begun", Box::pin(begun(&mut stream))).await;
    (stream, id)
}

fn model(detection: &Value, field: &str) -> String {
    detection[field].as_str().unwrap().to_owned()
}

/// The models of the alerts of each partition, in the order of the log.
async fn truth(client: &Client) -> BTreeMap<String, Vec<String>> {
    let mut truth = BTreeMap::<String, Vec<String>>::new();
    for event in pages(client, "limit=1000&type=vehicle.detected").await {
        if event["data"]["category"] == "SUV" {
            let (partition, _) = event["id"].as_str().unwrap().split_once('.').unwrap();
            truth.entry(partition.into()).or_default().push(model(&event["data"], "model"));
        }
    }
    truth
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_every_alert_once_across_a_kill_and_a_restart() {
    let (alerts, seed) = (number("REFOLD_ALERTS", ALERTS), number("REFOLD_SIM_SEED", 1));
    println!("{alerts} alerts, REFOLD_SIM_SEED={seed}");
    let mut server = Server::start().await;
    let client = server.client();
    let listeners = join_all((0..CLIENTS).map(|number| Listener::open(&client, seed, number))).await;
    let (done, is_done) = watch::channel(None);
    let listen = |listener: Listener| tokio::spawn(listener.listen(is_done.clone()));
    let listeners: Vec<_> = listeners.into_iter().map(listen).collect();
    let sent = detections(alerts);
    let commands = commands(&client, &sent);

    let mut parts = commands.chunks(commands.len() / 3 + 1);
    let mut answers = send_all(parts.next().unwrap()).await;
    server.kill().await;
    server.up().await;
    answers.extend(send_all(parts.next().unwrap()).await);
    server.stop().await;
    server.up().await;
    answers.extend(send_all(parts.next().unwrap()).await);
    assert!(answers.iter().all(|answer| answer.status == 201));
    client.get("/events?limit=1").after(newest(&answers)).send().await.is(200);
    let truth = truth(&client).await;
    done.send_replace(Some(alerts));
    let heard = in_time("heard", join_all(listeners)).await;

    let watched: Vec<_> = sent.into_iter().filter(|one| one["Category"] == "SUV").collect();
    assert_eq!(watched.len(), alerts);
    let partitions: BTreeMap<&str, &str> = truth
        .iter()
        .flat_map(|(partition, models)| models.iter().map(move |model| (model.as_str(), partition.as_str())))
        .collect();
    for (number, heard) in heard.into_iter().enumerate() {
        let heard = heard.unwrap();
        assert_same(heard.iter().cloned(), watched.iter().cloned());
        let mut ordered = BTreeMap::<String, Vec<String>>::new();
        for model in heard.iter().map(|detection| model(detection, "Model")) {
            ordered.entry(partitions[model.as_str()].to_owned()).or_default().push(model);
        }
        assert_eq!(ordered, truth, "client {number}");
    }
}

#[tokio::test]
async fn an_alert_is_the_detection_that_was_posted() {
    let server = Server::start().await;
    let client = server.client();
    let (mut stream, _) = listening(&client).await;

    client.post("/detections", &example()).send().await.is(201);
    let alert = stream.data().await;
    assert_eq!(alert.event.as_deref(), Some("alert"));
    assert_eq!(alert.data.as_deref(), Some(example().to_string().as_str()));

    let sent = data::detections();
    client.post_lines("/detections", ndjson::lines(&sent)).send().await.is(201);
    let watched: Vec<_> = sent.iter().filter(|one| one["Category"] == "SUV").cloned().collect();
    if sent.len() == REAL_FILE.0 {
        assert_eq!(watched.len(), REAL_FILE.1, "what is expected is wrong");
    }
    let mut heard = Vec::new();
    while heard.len() < watched.len() {
        heard.push(stream.data().await.json());
    }
    assert_same(heard.into_iter(), watched.into_iter());
    // In lower case it is the same, and it is the next: nothing else was to come.
    let lower = json!({"year": 2001, "make": "\"寿\" 司", "model": "x", "category": "SUV"});
    client.post("/detections", &lower).send().await.is(201);
    let expected = json!({"Year": 2001, "Make": "\"寿\" 司", "Model": "x", "Category": "SUV"});
    assert_eq!(stream.data().await.json(), expected);
}

fn of_category(category: &str) -> Value {
    json!({"Year": 2011, "Make": "a", "Model": "b", "Category": category})
}

#[tokio::test]
async fn only_what_is_watched_for_raises_an_alert_and_that_may_change() {
    let mut server = Server::new();
    server.set_variable("SUSPICIOUS_VEHICLE", "Coupe");
    server.up().await;
    let client = server.client();
    let (mut stream, began) = listening(&client).await;
    let sent = ["SUV", "coupe", "Coupe, SUV", "Coupe", "Van"].map(of_category);
    let answers = send_all(&sent.each_ref().map(|one| client.post("/detections", one))).await;

    assert_eq!(stream.data().await.json(), of_category("Coupe"));
    let watched =
        client.get("/views/suspicious_vehicles").after(newest(&answers)).send().await.is(200).json();
    assert_eq!(watched["data"].as_array().unwrap().len(), 1);

    server.stop().await;
    server.set_variable("SUSPICIOUS_VEHICLE", "Van, SUV");
    server.up().await;
    let categories = |view: &Value| -> BTreeSet<String> {
        let rows = view["data"].as_array().unwrap().iter();
        rows.map(|row| model(&row["data"], "category")).collect()
    };
    let watched =
        client.get("/views/suspicious_vehicles").after(newest(&answers)).send().await.is(200).json();
    assert_eq!(categories(&watched), ["SUV", "Van"].map(str::to_owned).into());
    let standing = client.get("/projections").send().await.is(200).json();
    let generations = standing.as_array().unwrap().iter().map(|one| (&one["name"], &one["generation"]));
    for (name, generation) in generations {
        assert_eq!(generation, if name == "suspicious_vehicles" { 2 } else { 1 }, "{name}");
    }
    // Whoever comes back is told of what is watched for now.
    let mut again = Stream::open(&client.get("/alerts").header("Last-Event-ID", began)).await;
    let heard = [again.data().await.json(), again.data().await.json()];
    assert_same(heard.into_iter(), ["SUV", "Van"].map(of_category).into_iter());
}

#[tokio::test]
async fn a_definition_of_its_own_says_alone_which_vehicles_are_suspicious() {
    let mut server = Server::new();
    let text = "name = 'suspicious_vehicles'\non = 'vehicle.detected'\nwhere = { year = { max = 1900 } }\ncount = {}";
    define(&mut server, "suspicious_vehicles", text);
    server.set("VEHICLES__SUSPICIOUS", "Coupe");
    for said in [server.refused().await, server.run(&["check"]).await.1] {
        assert!(said.contains("suspicious_vehicles.toml: says which vehicles are suspicious"), "{said}");
        assert!(said.contains("vehicles.suspicious (or $SUSPICIOUS_VEHICLE), which is Coupe"), "{said}");
    }

    server.set("VEHICLES__SUSPICIOUS", "SUV");
    server.up().await;
    let client = server.client();
    let (mut stream, _) = listening(&client).await;
    let old = json!({"Year": 1900, "Make": "a", "Model": "b", "Category": "Landau"});
    for detection in [&example(), &old] {
        client.post("/detections", detection).send().await.is(201);
    }
    assert_eq!(stream.data().await.json(), old);

    server.stop().await;
    for other in [
        "name = 'suspicious_vehicles'\non = 'food.observed'\ncount = {}",
        "name = 'suspicious_vehicles'\nenabled = false",
    ] {
        define(&mut server, "suspicious_vehicles", other);
        let said = server.refused().await;
        assert!(said.contains("GET /alerts is built on it"), "{said}");
    }
}

/// So long that a few thousand of them are more than a connection holds.
fn long() -> Value {
    json!({"Year": 2011, "Make": "寿".repeat(200), "Model": "司".repeat(200), "Category": "SUV"})
}

/// How many of them are sent at a time.
const AT_A_TIME: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_listen_is_dropped_and_slows_nobody() {
    let server = Server::new().with("HTTP__STREAM_TIMEOUT_MS", "500").ready().await;
    let client = server.client();
    let (mut stream, _) = listening(&client).await;
    let mut deaf = Raw::narrow(&client).await;
    let token = tokens::user();
    let head = format!("Host: x\r\nAuthorization: Bearer {token}\r\nX-Request-Id: deaf-1\r\n\r\n");
    deaf.send(format!("GET /alerts HTTP/1.1\r\n{head}")).await;
    until_total(&client, "refold_http_streams", 2.0).await;
    let (count, heard) = watch::channel(0);
    let listening = tokio::spawn(async move {
        loop {
            assert_eq!(stream.data().await.json(), long());
            count.send_modify(|count| *count += 1);
        }
    });
    let lines = ndjson::lines(&vec![long(); AT_A_TIME]);
    let mut sent = 0;
    while !server.said().contains("a stream was dropped") {
        client.post_lines("/detections", lines.as_str()).send().await.is(201);
        sent += AT_A_TIME;
        in_time("heard", heard.clone().wait_for(|count| *count == sent)).await.unwrap();
        assert!(sent < 200_000, "nobody was dropped");
    }
    let said = server.said();
    let dropped = said.lines().find(|line| line.contains("a stream was dropped")).unwrap();
    assert!(dropped.contains("deaf-1"), "the request is named: {dropped}");
    until_total(&client, "refold_http_streams", 1.0).await;
    let metrics = client.get("/metrics").send().await.text;
    assert_eq!(total(&metrics, "refold_http_streams_dropped_total"), 1.0);
    listening.abort();
    drop(deaf);
}
