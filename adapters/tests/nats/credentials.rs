//! Who may use a server, and what somebody learns who may not.

use crate::records::append_all;
use crate::{config, config_at, opened, refusal, server, with};
use refold_adapters::Config;
use std::time::Duration;
use std::{fs, path::Path};
use tokio::time::Instant;

const SECRET: &str = "correct-horse";

/// A pair from the documentation of NATS.
const NKEY_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

fn as_user(config: Config, password: &str) -> Config {
    with(with(config, "user", "refold"), "password", password)
}

async fn takes_records(config: &Config) {
    append_all(&*opened(config).await, 0, &["a"]).await;
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_not_shown() {
    let server = server(&format!("authorization {{ user: refold, password: {SECRET} }}\n"));
    takes_records(&as_user(config(&server), SECRET)).await;
    for config in [as_user(config(&server), "wrong-horse"), config(&server)] {
        let start = Instant::now();
        let error = refusal(&config).await;
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert!(error.contains("authorization violation") && error.contains("nats.password"), "{error}");
        assert!(!error.contains("horse"), "{error}");
    }
}

#[tokio::test]
async fn a_token_and_a_key_let_in_too() {
    let keys = tempfile::tempdir().unwrap();
    let seed = keys.path().join("seed");
    fs::write(&seed, format!("{NKEY_SEED}\n")).unwrap();
    let at_token = server(&format!("authorization {{ token: {SECRET} }}\n"));
    takes_records(&with(config(&at_token), "token", SECRET)).await;
    assert!(refusal(&with(config(&at_token), "token", "wrong")).await.contains("authorization violation"));
    let at_key = server(&format!("authorization {{ users: [ {{ nkey: {NKEY} }} ] }}\n"));
    takes_records(&with(config(&at_key), "nkey_file", path(&seed))).await;
}

#[tokio::test]
async fn a_lack_of_rights_is_named() {
    let rights = "publish: { deny: [\"$JS.API.STREAM.CREATE.>\"] }";
    let user = format!("user: refold, password: {SECRET}, permissions: {{ {rights} }}");
    let server = server(&format!("authorization {{ users: [ {{ {user} }} ] }}\n"));
    let error = refusal(&as_user(config(&server), SECRET)).await;
    assert!(error.contains("$JS.API.STREAM.CREATE.log-p0") && error.contains("grant it"), "{error}");
}

#[tokio::test]
async fn a_server_without_jetstream_says_which_setting_is_missing() {
    let server = server("jetstream: disabled\n");
    let error = refusal(&config(&server)).await;
    assert!(error.contains("the server keeps no streams") && error.contains("store_dir"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named_and_no_password_is_shown() {
    let nobody = || config_at("nats://127.0.0.1:1");
    let cases = [
        (config_at("nats://refold:correct-horse@127.0.0.1:1"), "nats.servers has an entry with a user in it"),
        (config_at("http://correct-horse"), "nats.servers has an entry that is not of the form"),
        (with(nobody(), "servers", Vec::<String>::new()), "nats.servers names no server"),
        (with(nobody(), "user", "refold"), "nats.user needs nats.password"),
        (with(as_user(nobody(), SECRET), "token", SECRET), "set one of nats.user"),
        (with(nobody(), "replicas", 6), "nats.replicas must be 1 to 5"),
        (with(nobody(), "replicas", -1), "the section nats"),
        (with(nobody(), "replica", 1), "unknown field `replica`"),
        (with(nobody(), "certificate_file", "c.pem"), "nats.certificate_file needs nats.key_file"),
        (with(nobody(), "ca_file", "/none.pem"), "nats.ca_file says nothing without TLS"),
        (with(with(nobody(), "tls", true), "ca_file", "/none.pem"), "nats.ca_file cannot read /none.pem"),
        (with(nobody(), "credentials_file", path(Path::new(file!()))), "nats.credentials_file"),
    ];
    for (config, wanted) in cases {
        let error = refusal(&config).await;
        assert!(error.contains(wanted), "{error:?} has no {wanted:?}");
        assert!(!error.contains("horse"), "{error}");
    }
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
