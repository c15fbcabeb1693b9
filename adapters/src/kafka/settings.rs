//! What can be set for Kafka, and what librdkafka is told of it.

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use serde::Deserialize;
use std::fs::File;

/// The most addresses that are taken.
const BROKERS_MAX: usize = 100;

/// The most copies of a partition that can be asked for.
const REPLICAS_MAX: i32 = 100;

/// The ways to show a password that both sides know.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// How long a connection may take until it can be used, in milliseconds: TCP, TLS and login.
const CONNECT_MS: u32 = 5_000;

/// How long to wait before the first and before each later attempt to connect again, in milliseconds.
const RECONNECT_MS: [u32; 2] = [100, 1_000];

/// How long a broker may take to answer, in milliseconds; then its connection counts as lost. Less than an append may
/// take, so that librdkafka can ask again on a new one.
const ANSWER_MS: u32 = 3_000;

/// How long a topic may seem not to be there, in milliseconds: a broker that has just started may not know it yet.
const UNKNOWN_TOPIC_MS: u32 = 3_000;

/// The section `[kafka]`. It holds secrets, so it cannot be shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    brokers: Vec<String>,
    tls: bool,
    ca_file: String,
    certificate_file: String,
    key_file: String,
    key_password: String,
    username: String,
    password: String,
    mechanism: String,
    pub(super) replicas: i32,
    pub(super) min_insync_replicas: i32,
}

impl Settings {
    /// Says which setting cannot be, and what it may be; never the value of a secret.
    pub(super) fn ensure_possible(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=BROKERS_MAX).contains(&self.brokers.len()),
            "kafka.brokers: name 1 to {BROKERS_MAX} brokers, such as [\"127.0.0.1:9092\"]"
        );
        self.brokers.iter().try_for_each(|broker| ensure_address(broker))?;
        ensure!(
            MECHANISMS.contains(&self.mechanism.as_str()),
            "kafka.mechanism: {:?} is none of {}",
            self.mechanism,
            MECHANISMS.join(", ")
        );
        ensure!(
            self.username.is_empty() == self.password.is_empty(),
            "kafka.username and kafka.password: set both, or neither"
        );
        for (key, number) in [("replicas", self.replicas), ("min_insync_replicas", self.min_insync_replicas)]
        {
            ensure!((0..=REPLICAS_MAX).contains(&number), "kafka.{key}: {number} is not 0 to {REPLICAS_MAX}");
        }
        ensure!(
            self.replicas == 0 || self.min_insync_replicas <= self.replicas,
            "kafka.min_insync_replicas: {} is more than kafka.replicas, {}: nothing could be confirmed",
            self.min_insync_replicas,
            self.replicas
        );
        self.ensure_files()
    }

    fn ensure_files(&self) -> anyhow::Result<()> {
        ensure!(
            self.certificate_file.is_empty() == self.key_file.is_empty(),
            "kafka.certificate_file and kafka.key_file: set both, or neither"
        );
        let files = [
            ("ca_file", &self.ca_file),
            ("certificate_file", &self.certificate_file),
            ("key_file", &self.key_file),
        ];
        for (key, path) in files.into_iter().filter(|(_, path)| !path.is_empty()) {
            ensure!(self.tls, "kafka.{key}: it says nothing without kafka.tls = true");
            File::open(path).with_context(|| format!("kafka.{key}: cannot read {path}"))?;
        }
        Ok(())
    }

    /// Where the cluster is, for people.
    pub(super) fn place(&self) -> String {
        self.brokers.join(",")
    }

    /// What every client is told.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        // Everything goes to the debug log, where it is filtered.
        client.set_log_level(rdkafka::config::RDKafkaLogLevel::Info);
        client.set("bootstrap.servers", self.place());
        client.set("client.id", "refold");
        client.set("security.protocol", self.protocol());
        // A topic that is gone must not come back empty, with whatever retention the cluster gives it.
        client.set("allow.auto.create.topics", "false");
        client.set("topic.metadata.propagation.max.ms", UNKNOWN_TOPIC_MS.to_string());
        client.set("enable.metrics.push", "false");
        client.set("socket.keepalive.enable", "true");
        client.set("socket.timeout.ms", ANSWER_MS.to_string());
        client.set("socket.connection.setup.timeout.ms", CONNECT_MS.to_string());
        client.set("reconnect.backoff.ms", RECONNECT_MS[0].to_string());
        client.set("reconnect.backoff.max.ms", RECONNECT_MS[1].to_string());
        if !self.username.is_empty() {
            client.set("sasl.mechanism", &self.mechanism);
        }
        let given = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.certificate_file),
            ("ssl.key.location", &self.key_file),
            ("ssl.key.password", &self.key_password),
            ("sasl.username", &self.username),
            ("sasl.password", &self.password),
        ];
        for (key, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
            client.set(key, value);
        }
        client
    }

    fn protocol(&self) -> &'static str {
        match (self.tls, self.username.is_empty()) {
            (false, true) => "plaintext",
            (false, false) => "sasl_plaintext",
            (true, true) => "ssl",
            (true, false) => "sasl_ssl",
        }
    }
}

/// librdkafka would take a URL, with a scheme that says otherwise than `kafka.tls`. What is no address may be a password.
fn ensure_address(broker: &str) -> anyhow::Result<()> {
    let port = broker.rsplit_once(':').and_then(|(host, port)| {
        let is_host = !host.is_empty() && !host.contains(['/', '@', ',', ' ']);
        port.parse::<u16>().ok().filter(|port| is_host && *port > 0)
    });
    ensure!(
        port.is_some(),
        "kafka.brokers: each is host:port, without a scheme, a user or a path, such as 127.0.0.1:9092"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::options;
    use toml::Value;

    fn refused(changes: &[(&str, Value)]) -> String {
        let mut options = options::of("kafka");
        for (key, value) in changes {
            options.set(key, value.clone());
        }
        let settings: super::Settings = options.read().unwrap();
        settings.ensure_possible().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_possible() {
        options::of("kafka").read::<super::Settings>().unwrap().ensure_possible().unwrap();
    }

    #[test]
    fn what_cannot_be_is_named_by_its_key() {
        let text = |text: &str| Value::from(text);
        let brokers = |broker: &str| Value::from(vec![text(broker)]);
        let cases = [
            ("kafka.brokers", vec![("brokers", Value::Array(Vec::new()))]),
            ("kafka.brokers", vec![("brokers", brokers("host"))]),
            ("kafka.brokers", vec![("brokers", brokers("SASL_SSL://host:9092"))]),
            ("kafka.mechanism", vec![("mechanism", text("GSSAPI"))]),
            ("kafka.password", vec![("username", text("me"))]),
            ("kafka.replicas", vec![("replicas", (-1).into())]),
            ("kafka.min_insync_replicas", vec![("replicas", 2.into()), ("min_insync_replicas", 3.into())]),
            ("kafka.ca_file", vec![("ca_file", text("/etc/hosts"))]),
            ("kafka.ca_file", vec![("tls", true.into()), ("ca_file", text("/there/is/none"))]),
            ("kafka.key_file", vec![("tls", true.into()), ("certificate_file", text("/etc/hosts"))]),
        ];
        for (key, changes) in cases {
            let refused = refused(&changes);
            assert!(refused.contains(key), "{changes:?}: {refused}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let refused = refused(&[("brokers", vec![Value::from("me:secret@host:9092")].into())]);
        assert!(!refused.contains("secret"), "{refused}");
    }
}
