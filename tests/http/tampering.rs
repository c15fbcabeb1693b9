//! What somebody sets on a broker's server beside the running service, and what the server does not take.

use crate::client::{Call, Client};
use crate::foods::observe;
use crate::ndjson;
use crate::remote::Remote;
use crate::server::in_time;
use crate::servers::Server as Broker;
use futures::future::join_all;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::interval;

/// The age at which somebody has records deleted, in seconds.
const AGE_SECONDS: u64 = 3_600;
/// How many bytes a message may have on a server that takes small ones only.
const SMALL_BYTES: usize = 16_384;
/// How many commands are sent at once, and how long the texts in them are: more than fits into a small message together.
const COMMANDS: usize = 128;
const TEXT_CHARS: usize = 190;

#[tokio::test]
async fn retention_that_is_set_under_a_running_service_is_told_until_it_is_taken_away() {
    for (remote, kind) in Remote::asked() {
        println!("broker: {kind}");
        let broker = Broker::start(&kind, remote.ports, "");
        let mut service = remote.service(broker.address());
        service.set("LOG__PARTITIONS", "1");
        service.set("LOG__CHECK_EVERY_MS", "500");
        if remote.name == "rabbit" {
            let management = crate::management::management(broker.address());
            service.set("RABBIT__MANAGEMENT", &format!("http://{management}"));
        }
        service.up().await;
        let log = service.variable("REFOLD__LOG__NAME").unwrap().to_owned();
        set_age(remote, broker.address(), &log, Some(AGE_SECONDS)).await;
        let problem = problem_of_the_log(&service.client()).await;
        assert!(problem.contains("3600") && problem.contains(&log), "{problem}");
        // It takes commands, for whoever sends some nevertheless.
        observe(&service.client(), "pie").send().await.is(201);
        set_age(remote, broker.address(), &log, None).await;
        service.until_ready().await;
        let said = service.said();
        let told =
            |text: &str| said.lines().filter(|line| line.contains(text) && line.contains("3600")).count();
        assert_eq!((told("not safe any more"), told("no more")), (1, 1), "a line for each change: {said}");
        service.stop().await;
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_server_is_refused_alone() {
    for (remote, kind) in Remote::asked() {
        let limit = match remote.name {
            "nats" => format!("max_payload: {SMALL_BYTES}\n"),
            "rabbit" => format!("max_message_size = {SMALL_BYTES}\n"),
            // A topic has a limit of its own, without which no start goes on.
            _ => continue,
        };
        println!("broker: {kind}");
        let broker = Broker::start(&kind, remote.ports, &limit);
        let mut service = remote.service(broker.address());
        service.set("LOG__PARTITIONS", "1");
        service.up().await;
        let client = service.client();
        let foods: Vec<_> = (0..COMMANDS).map(|number| format!("{number:0>TEXT_CHARS$}")).collect();
        for _ in 0..2 {
            let refused =
                client.post_lines("/foods", ndjson::foods(&foods)).send().await.problem(413, "too-large");
            assert!(refused.contains("not recorded"), "{refused}");
            client.get("/readyz").send().await.is(200);
        }
        // Each alone is small enough, be it that they come at once.
        let calls: Vec<_> = foods.iter().map(|food| observe(&client, food)).collect();
        join_all(calls.iter().map(Call::send)).await.into_iter().for_each(|answer| drop(answer.is(201)));
        client.get("/readyz").send().await.is(200);
        let said = service.said();
        assert_eq!(said.matches("too large for the log").count(), 1, "it is told once: {said}");
        assert!(!said.contains("commands are not recorded"), "the log takes others: {said}");
        service.stop().await;
    }
}

async fn problem_of_the_log(client: &Client) -> String {
    let found = async {
        let mut looks = interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let ready = client.get("/readyz").send().await.json();
            let log = &ready["dependencies"][0];
            assert_eq!(log["name"], "log");
            if log["up"] == false {
                return log["problem"].as_str().unwrap().to_owned();
            }
        }
    };
    in_time("told", found).await
}

/// Has a server delete what is older, or nothing any more, as somebody may who administers it.
async fn set_age(remote: &Remote, server: SocketAddr, log: &str, seconds: Option<u64>) {
    match remote.name {
        "kafka" => set_age_of_topic(server, log, seconds).await,
        "nats" => set_age_of_stream(server, &format!("{log}-p0"), seconds).await,
        _ => set_age_by_policy(server, log, seconds).await,
    }
}

async fn set_age_of_topic(server: SocketAddr, topic: &str, seconds: Option<u64>) {
    let age = seconds.map_or("-1".to_owned(), |seconds| format!("{seconds}000"));
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("script/brokers"));
    command.args(["exec", "kafka", "kafka.admin.ConfigCommand", "--bootstrap-server", &server.to_string()]);
    command.args(["--alter", "--entity-type", "topics", "--entity-name", topic]);
    command.args(["--add-config", &format!("retention.ms={age}")]);
    let done = command.output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn set_age_of_stream(server: SocketAddr, stream: &str, seconds: Option<u64>) {
    let info = ask_nats(server, &format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).await;
    let mut config = info["config"].clone();
    config["max_age"] = json!(seconds.unwrap_or(0) * 1_000_000_000);
    let updated = ask_nats(server, &format!("$JS.API.STREAM.UPDATE.{stream}"), &config).await;
    assert!(updated["error"].is_null(), "{updated}");
}

/// Asks NATS in its plain protocol, as any client may.
async fn ask_nats(server: SocketAddr, subject: &str, question: &Value) -> Value {
    let mut connection = BufReader::new(TcpStream::connect(server).await.unwrap());
    let body = question.to_string();
    let asked = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
        body.len()
    );
    connection.write_all(asked.as_bytes()).await.unwrap();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.unwrap();
        if line.starts_with("MSG answer ") {
            let mut answer = vec![0; line.split_whitespace().last().unwrap().parse().unwrap()];
            connection.read_exact(&mut answer).await.unwrap();
            return serde_json::from_slice(&answer).unwrap();
        }
    }
}

/// RabbitMQ has a policy for it; one that meets no stream is as none.
async fn set_age_by_policy(server: SocketAddr, log: &str, seconds: Option<u64>) {
    let pattern = seconds.map_or("^none$".to_owned(), |_| format!("^{log}\\."));
    let age = format!("{}s", seconds.unwrap_or(AGE_SECONDS));
    let policy = json!({"pattern": pattern, "definition": {"max-age": age}, "apply-to": "all"});
    crate::management::put(server, "policies/%2F/age", &policy.to_string()).await;
}
