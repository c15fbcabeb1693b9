//! Bad input: answered 4xx with a sentence that helps, and nothing is recorded. One file a part of the request.

use crate::client::{Answer, Call, Client};
use crate::detections;
use crate::foods::observe;
use crate::introductions::ada;
use crate::pictures;
use crate::purchases::example;
use crate::server::Server;
use serde_json::{Value, json};

mod bodies;
mod fields;
mod headers;
mod parameters;
mod requests;

/// A service that is given nothing but bad input, and how far its log was before.
struct Target {
    server: Server,
    client: Client,
    positions: Vec<Value>,
}

impl Target {
    async fn start() -> Self {
        Self::of(Server::new()).await
    }

    async fn of(server: Server) -> Self {
        let server = server.ready().await;
        let client = server.client();
        observe(&client, "pie").send().await.is(201);
        client.post("/purchases", &example()).send().await.is(201);
        client.post("/introductions", &ada()).key("ada").send().await.is(201);
        client.post("/detections", &detections::example()).send().await.is(201);
        let positions = positions(&client).await;
        Self { server, client, positions }
    }

    /// The path of the only introduction.
    async fn ada(&self) -> String {
        let made = self.client.post("/introductions", &ada()).key("ada").send().await.is(201);
        made.header("Location").to_owned()
    }

    /// It is as well as before, and nothing was recorded.
    async fn unharmed(self) {
        self.client.get("/healthz").send().await.is(200);
        self.client.get("/readyz").send().await.is(200);
        assert_eq!(positions(&self.client).await, self.positions);
        let said = self.server.said();
        assert!(!said.contains("ERROR") && !said.contains("panicked"), "{said}");
    }
}

/// The last offset of each partition, folded or not.
async fn positions(client: &Client) -> Vec<Value> {
    let standing = client.get("/projections").send().await.is(200).json();
    let partitions = standing[0]["partitions"].as_array().unwrap().iter();
    partitions.map(|one| json!(one["position"].as_u64().unwrap() + one["lag"].as_u64().unwrap())).collect()
}

/// Every POST and PUT that takes a body.
async fn commands(target: &Target) -> Vec<Call> {
    let client = &target.client;
    let change = client.put(target.ada().await, &ada()).if_match("\"1\"");
    vec![
        observe(client, "pie"),
        client.post("/purchases", &example()),
        client.post("/introductions", &ada()),
        client.post("/detections", &detections::example()),
        client.post("/pictures", &pictures::example()),
        change,
    ]
}

/// That an answer is a problem with a sentence, and no 5xx.
#[track_caller]
fn assert_problem(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
    assert_eq!(answer.header("Content-Type"), "application/problem+json", "{what}: {answer:?}");
    assert!(!answer.json()["detail"].as_str().unwrap().is_empty(), "{what}: {answer:?}");
}
