//! What only NATS can show: settings behind our back, streams of others, credentials, TLS, a cluster.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics fails the test it helps")]

mod cluster;
mod credentials;
#[path = "../conformance/records.rs"]
mod records;
#[path = "../servers/mod.rs"]
#[expect(dead_code, reason = "it serves other tests, too")]
mod servers;
mod silence;
mod streams;
mod tls;

use refold_adapters::options;
use refold_adapters::{Access, Config};
use refold_domain::log::{EventLog, LogError};
use servers::Server;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long a server may take until it serves, in seconds.
const START_SECONDS_MAX: u64 = 90;
/// How long to wait before it is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// The server that is meant, of the release that `REFOLD_TEST_BROKERS` names.
fn kind() -> String {
    let asked = std::env::var("REFOLD_TEST_BROKERS").unwrap_or_default();
    let nats = asked.split(',').find(|kind| kind.starts_with("nats"));
    nats.unwrap_or("nats").to_owned()
}

fn server(settings: &str) -> Server {
    Server::start(&kind(), 2, settings)
}

fn url(server: &Server) -> String {
    format!("nats://{}", server.address())
}

/// The settings of a log with two partitions.
fn config(server: &Server) -> Config {
    config_at(&url(server))
}

fn config_at(url: &str) -> Config {
    let mut options = options::of("nats");
    options.set("servers", vec![url.to_owned()].into());
    Config {
        broker: "nats".into(),
        name: "log".into(),
        data_dir: PathBuf::new(),
        partitions: 2,
        access: Access::Create,
        options,
    }
}

fn with(mut config: Config, key: &str, value: impl Into<toml::Value>) -> Config {
    config.options.set(key, value.into());
    config
}

/// What becomes of opening a log once its server answers.
async fn outcome(config: &Config) -> Result<Arc<dyn EventLog>, String> {
    let opening = async {
        let mut tries = interval(RETRY);
        loop {
            tries.tick().await;
            match refold_adapters::open(config).await {
                Err(error) if is_away(&error) => {}
                Err(error) => return Err(format!("{error:#}")),
                Ok(log) => return Ok(log),
            }
        }
    };
    timeout(Duration::from_secs(START_SECONDS_MAX), opening).await.expect("the server answers in time")
}

async fn opened(config: &Config) -> Arc<dyn EventLog> {
    outcome(config).await.unwrap()
}

/// Why a log is refused: what somebody has to mend.
async fn refusal(config: &Config) -> String {
    match outcome(config).await {
        Ok(_) => panic!("the log was opened"),
        Err(error) => error,
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<LogError>().is_some_and(|error| matches!(error, LogError::Away(_)))
}
