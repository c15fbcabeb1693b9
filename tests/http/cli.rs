//! The command line and the settings: what is wrong is refused, by its name and with the nearest one known.

use crate::foods::observe;
use crate::server::Server;
use std::fs;

#[tokio::test]
async fn an_unknown_setting_is_refused_with_the_nearest() {
    let mut server = Server::new().with("HTTP__BODY_BYTES_MX", "1").with("STOER__KIND", "embedded");
    let said = server.refused().await;
    for text in
        ["$REFOLD__HTTP__BODY_BYTES_MX", "did you mean \"body_bytes_max\"?", "did you mean \"store\"?"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!server.data().exists(), "nothing was written");
}

#[tokio::test]
async fn a_value_that_is_not_allowed_is_refused() {
    let said = Server::new().with("LOG__PARTITIONS", "0").with("LOG__BROKER", "kafak").refused().await;
    for text in
        ["$REFOLD__LOG__PARTITIONS", "a whole number, 1 to 1024", "$REFOLD__LOG__BROKER", "\"embedded\""]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[tokio::test]
async fn a_filter_that_would_silence_everything_is_refused() {
    for filter in ["inof", "refodl=debug", "info,refold=dbug", "info,"] {
        let said = Server::new().with("TELEMETRY__LOG", filter).refused().await;
        assert!(said.contains("$REFOLD__TELEMETRY__LOG") && said.contains("off, error, warn"), "{said}");
    }
    let (status, said) =
        Server::new().with("TELEMETRY__LOG", "WARN,refold::http=debug").run(&["check"]).await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn machines_read_why_it_does_not_start() {
    let server = Server::start().await;
    let address = server.client().address().await.to_string();
    let mut other = Server::new().with("HTTP__LISTEN", &address).with("TELEMETRY__FORMAT", "json");
    let said = other.refused().await;
    let last: serde_json::Value = serde_json::from_str(said.trim().lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["fields"]["message"].as_str().unwrap().contains("cannot listen on"), "{said}");
}

#[tokio::test]
async fn the_environment_wins_over_files() {
    let server = Server::new().with("HTTP__BODY_BYTES_MAX", "2048");
    fs::write(server.home().join("refold.toml"), "[http]\nbody_bytes_max = 1024\nrequests_max = 7\n")
        .unwrap();
    let server = server.ready().await;
    let client = server.client();
    let of_bytes = |bytes: usize| observe(&client, "pie").bytes(format!("{:>bytes$}", r#"{"food": "pie"}"#));
    of_bytes(2048).send().await.is(201);
    let detail = of_bytes(2049).send().await.problem(413, "too-large");
    assert!(detail.contains("2048"), "{detail}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = Server::start().await;
    let address = server.client().address().await.to_string();
    let said = Server::new().with("HTTP__LISTEN", &address).refused().await;
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

#[tokio::test]
async fn a_check_tells_what_is_in_order_and_what_is_not() {
    let mut server = Server::start().await;
    let (status, said) = server.run(&["check"]).await;
    assert!(status.success() && said.contains(&format!("process {}", server.pid())), "{said}");
    server.stop().await;
    let (status, said) = server.run(&["check"]).await;
    assert!(status.success() && said.contains("6 checked: 6 ok"), "{said}");
    let (status, said) = server.with("LOG__PARTITIONS", "9").run(&["check", "--json"]).await;
    assert_eq!(status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(report["checks"].as_array().unwrap().iter().any(|check| check["outcome"] == "failed"), "{said}");
}

#[tokio::test]
async fn what_is_typed_wrongly_is_answered_with_the_nearest() {
    let (status, said) = Server::new().run(&["sevre"]).await;
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("serve"), "{said}");
}

#[tokio::test]
async fn shells_and_man_are_told_every_command() {
    let server = Server::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (status, said) = server.run(&["completions", shell]).await;
        assert!(status.success() && said.contains("feed") && said.contains("rate"), "{shell}: {said}");
    }
    let (status, said) = server.run(&["man"]).await;
    assert!(status.success() && said.starts_with(".ie") && said.contains("refold\\-feed(1)"), "{said}");
    let dir = server.home().join("man/man1");
    assert!(server.run(&["man", "--dir", dir.to_str().unwrap()]).await.0.success());
    for page in ["refold.1", "refold-feed.1", "refold-store-empty.1"] {
        assert!(fs::read_to_string(dir.join(page)).unwrap().contains(".TH"), "{page}");
    }
    let taken = server.home().join("man/man1/refold.1");
    let (status, said) = server.run(&["man", "--dir", taken.to_str().unwrap()]).await;
    assert!(status.code() == Some(1) && said.contains("cannot write the pages into"), "{said}");
}
