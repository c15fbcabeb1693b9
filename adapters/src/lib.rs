//! Brokers as logs: whatever keeps records in order can be Refold's event log.
//!
//! In reading order:
//! [`open`] turns the name of a broker into an [`EventLog`], whichever it is;
//! [`embedded`] keeps the log in a file of its own, so that nothing needs to be installed;
//! `kafka` keeps it in Apache Kafka;
//! `nats` keeps it in the streams of a NATS server;
//! `rabbit` keeps it in those of RabbitMQ;
//! [`options`] are what can be set for one broker alone, in the section of its name;
//! [`observed`] wraps every one of them with deadlines, counters and traces;
//! [`lock`] keeps a second process out of a data directory.
//!
//! A new broker is one file here, one config file, and one line in [`BROKERS`].

pub mod embedded;
mod kafka;
pub mod lock;
mod nats;
pub mod observed;
pub mod options;
mod rabbit;

use anyhow::Context;
use futures::future::BoxFuture;
use observed::Observed;
use options::Options;
use refold_domain::log::EventLog;
use refold_domain::nearest;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A broker that can hold a log.
pub struct Broker {
    /// Its word, everywhere: in settings, file names and metrics.
    pub name: &'static str,
    /// Its settings file, which chooses it and explains every key of the section of its name; empty where it has none.
    pub config: &'static str,
    /// The crates of its client. They tell of each lost connection in their own way, some with what was to be recorded: their
    /// lines are left out of the log unless somebody asks for them.
    pub client: &'static [&'static str],
    open: Opener,
}

type Opener = fn(&Config) -> BoxFuture<'_, anyhow::Result<Arc<dyn EventLog>>>;

/// All brokers.
pub const BROKERS: &[Broker] = &[embedded::BROKER, kafka::BROKER, nats::BROKER, rabbit::BROKER];

impl Broker {
    /// The broker of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BROKERS.iter().find(|broker| broker.name == name)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What it takes to open a log.
#[derive(Debug, Clone)]
pub struct Config {
    /// The broker's name, one of [`brokers`].
    pub broker: String,
    /// The log's name, which begins the names of all that it has on a server: logs with other names may be there, too.
    pub name: String,
    /// The directory that holds everything which is written on this machine.
    pub data_dir: PathBuf,
    /// How many partitions the log has.
    pub partitions: u32,
    /// What may be done with it.
    pub access: Access,
    /// What is set for its broker alone.
    pub options: Options,
}

/// What may be done with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only looked at: nothing is made, mended or appended.
    Look,
    /// What is there is used; what it needs on a server and is missing there is not made.
    Use,
    /// What it needs and is missing is made.
    Create,
}

/// Opens the log that `config` names.
///
/// # Errors
/// An unknown broker, answered with the known ones; or why this one cannot be opened: a
/// [`LogError`](refold_domain::log::LogError) where it is the broker that cannot be reached or used.
pub async fn open(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    let found = Broker::named(&config.broker);
    let broker = found.with_context(|| nearest::unknown("broker", &config.broker, brokers()))?;
    let log = (broker.open)(config).await.with_context(|| format!("cannot open the {} log", broker.name))?;
    Ok(Arc::new(Observed::new(log, broker.name)))
}

/// The names of all brokers.
pub fn brokers() -> impl Iterator<Item = &'static str> + Clone {
    BROKERS.iter().map(|broker| broker.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(broker: &str) -> Config {
        Config {
            broker: broker.into(),
            name: "refold".into(),
            data_dir: PathBuf::new(),
            partitions: 2,
            access: Access::Create,
            options: Options::default(),
        }
    }

    #[tokio::test]
    async fn an_unknown_broker_is_answered_with_the_known_ones() {
        let error = open(&config("embeded")).await.err().unwrap();
        let known = brokers().collect::<Vec<_>>().join(", ");
        assert_eq!(
            error.to_string(),
            format!("unknown broker \"embeded\": did you mean \"embedded\"? known: {known}")
        );
    }

    #[tokio::test]
    async fn opens_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().into(), ..config("embedded") };
        let log = open(&config).await.unwrap();
        log.append(1, "a".into()).await.unwrap();
        drop(log);
        let log = open(&Config { access: Access::Look, ..config }).await.unwrap();
        log.append(1, "b".into()).await.unwrap_err();
    }
}
