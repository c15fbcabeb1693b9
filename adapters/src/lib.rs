//! Brokers as logs: whatever keeps records in order can be Refold's event log.
//!
//! In reading order:
//! [`open`] turns the name of a broker into an [`EventLog`], whichever it is;
//! [`embedded`] keeps the log in a file of its own, so that nothing needs to be installed;
//! [`observed`] wraps every one of them with deadlines, counters and traces;
//! [`lock`] keeps a second process out of a data directory.
//!
//! A new broker is one file here, one config file, and one line in the table below.

pub mod embedded;
pub mod lock;
pub mod observed;

use anyhow::Context;
use futures::future::BoxFuture;
use observed::Observed;
use refold_domain::log::EventLog;
use refold_domain::nearest;
use std::path::PathBuf;
use std::sync::Arc;

/// What it takes to open a log.
#[derive(Debug, Clone)]
pub struct Config {
    /// The broker's name, one of [`brokers`].
    pub broker: String,
    /// The directory that holds everything which is written on this machine.
    pub data_dir: PathBuf,
    /// How many partitions the log has.
    pub partitions: u32,
    /// Whether it is only looked at: nothing is made, mended or appended.
    pub read_only: bool,
}

/// Opens the log that `config` names.
///
/// # Errors
/// An unknown broker, answered with the known ones; or why this one cannot be opened.
pub async fn open(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    let broker = config.broker.as_str();
    let found = BROKERS.iter().find(|(name, _)| *name == broker);
    let (name, opener) = found.with_context(|| nearest::unknown("broker", broker, brokers()))?;
    let log = opener(config).await.with_context(|| format!("cannot open the {name} log"))?;
    Ok(Arc::new(Observed::new(log, name)))
}

/// The names of all brokers.
pub fn brokers() -> impl Iterator<Item = &'static str> + Clone {
    BROKERS.iter().map(|(name, _)| *name)
}

type Opener = fn(&Config) -> BoxFuture<'_, anyhow::Result<Arc<dyn EventLog>>>;

const BROKERS: &[(&str, Opener)] = &[(embedded::NAME, embedded::open)];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_broker_is_answered_with_the_known_ones() {
        let config =
            Config { broker: "embeded".into(), data_dir: PathBuf::new(), partitions: 1, read_only: false };
        let error = open(&config).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "unknown broker \"embeded\": did you mean \"embedded\"? known: embedded"
        );
    }

    #[tokio::test]
    async fn opens_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            broker: "embedded".into(),
            data_dir: dir.path().into(),
            partitions: 2,
            read_only: false,
        };
        let log = open(&config).await.unwrap();
        log.append(1, "pie".into()).await.unwrap();
        assert!(log.append(2, "pie".into()).await.is_err());
        drop(log);
        let log = open(&Config { read_only: true, ..config }).await.unwrap();
        assert!(log.append(1, "pie".into()).await.is_err());
    }
}
