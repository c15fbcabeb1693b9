//! The id of a request: on its answer, and in what the service's log says of it.

use crate::client::Client;
use crate::foods::observe;
use crate::raw::Raw;
use crate::server::Server;
use serde_json::Value;
use uuid::Uuid;

async fn id(client: &Client, sent: &[&str]) -> String {
    let call = sent.iter().fold(client.get("/aggregated"), |call, id| call.header("X-Request-Id", id));
    call.send().await.is(200).header("X-Request-Id").to_owned()
}

#[tokio::test]
async fn a_sound_one_comes_back_and_any_other_is_replaced() {
    let server = Server::start().await;
    let client = server.client();
    let long = "x".repeat(128);
    for sound in ["7", "0190c0de-7000:a/b~", &long] {
        assert_eq!(id(&client, &[sound]).await, sound);
    }
    for bad in [&[][..], &["a b"], &[&format!("{long}x")], &["a", "b"]] {
        let made = id(&client, bad).await;
        assert_eq!(made.parse::<Uuid>().unwrap().get_version_num(), 7, "{bad:?}: {made}");
    }
    // Whatever is answered; a kept answer, too, has the id of who asks now.
    for call in [
        client.get("/nowhere"),
        client.get("/aggregated?limt=1"),
        client.get("/healthz"),
        observe(&client, "pie"),
    ] {
        assert_eq!(call.header("X-Request-Id", "mine").send().await.header("X-Request-Id"), "mine");
    }
}

#[tokio::test]
async fn lines_of_the_log_say_of_which_request_they_are() {
    let mut server =
        Server::new().with("TELEMETRY__FORMAT", "json").with("HTTP__STOP_TIMEOUT_MS", "100").ready().await;
    let mut slow = Raw::connect(&server.client()).await;
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n";
    slow.send(format!("{head}Expect: 100-continue\r\nX-Request-Id: slow-1\r\n\r\n")).await;
    slow.until("100 Continue").await;
    server.terminate().await;
    let line = server.line("was not answered in time").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["fields"]["request"], "slow-1", "{line}");
    server.ended().await;
}
