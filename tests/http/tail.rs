//! `refold tail` on a running service: every event once, also across a restart, and quietly at its reader's end.

use crate::foods::observe;
use crate::server::{Server, in_time};
use crate::tokens;
use serde_json::Value;
use std::net::TcpListener;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// A tail whose lines are read.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(server: &Server, arguments: &[&str]) -> Self {
        let mut child = server.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        in_time("printed", self.lines.next_line()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn events_are_printed_once_also_across_a_restart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Server::new().with("HTTP__LISTEN", &format!("127.0.0.1:{port}")).ready().await;
    let url = format!("http://127.0.0.1:{port}/");
    let client = server.client();
    let mut ids = Vec::new();
    ids.push(observe(&client, "pie").send().await.is(201).receipt());
    let arguments = [
        "tail",
        "--url",
        &url,
        "--json",
        "--from",
        "start",
        "--type",
        "food.observed",
        "--token",
        tokens::admin(),
    ];
    let mut tail = Tail::start(&server, &arguments);
    let mut printed: Vec<Value> = vec![serde_json::from_str(&tail.line().await).unwrap()];
    server.kill().await;
    server.up().await;
    for food in ["cake", "soup", "tea"] {
        ids.push(observe(&client, food).send().await.is(201).receipt());
        printed.push(serde_json::from_str(&tail.line().await).unwrap());
    }
    let printed: Vec<_> = printed.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(printed, ids.iter().map(|receipt| format!("{receipt}.0")).collect::<Vec<_>>());

    // Whoever read goes away: the next event is one too many.
    drop(tail.lines);
    observe(&client, "late").send().await.is(201);
    assert_eq!(in_time("ended", tail.child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn lines_are_for_people_and_refusals_say_why() {
    let server = Server::start().await;
    let client = server.client();
    observe(&client, "pie").send().await.is(201);
    let url = format!("http://{}", client.address().await);
    let mut tail = Tail::start(&server, &["tail", "--url", &url, "--from", "start"]);
    let line = tail.line().await;
    assert!(line.ends_with(r#"Z  food.observed  {"food":"pie"}"#), "{line}");
    let (status, said) = server.run(&["tail", "--url", &url, "--type", "food.observd"]).await;
    assert!(status.code() == Some(1) && said.contains("food.observed"), "{said}");
    let (status, said) = server.run(&["tail", "--url", "http://127.0.0.1:1"]).await;
    assert!(status.code() == Some(1) && said.contains("cannot reach"), "{said}");
    assert_eq!(server.run(&["tail", "--url", "here"]).await.0.code(), Some(2));
}
