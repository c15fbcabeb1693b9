//! The log on RabbitMQ: a stream for each partition, over AMQP 0.9.1.
//!
//! Two connections ([`link`]), because one that publishes may be blocked: for each partition a task appends
//! ([`publisher`]), each reader has a channel ([`reader`]), and what RabbitMQ does not tell is read ([`bounds`]).
//! [`streams`] finds and makes them, [`check`] looks for what may delete records, with the help of [`management`].

mod bounds;
mod check;
mod failure;
mod link;
mod management;
mod options;
mod publisher;
mod reader;
mod streams;

use crate::{Access, Broker, Config};
use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use link::Link;
use options::{Options, Settings};
use publisher::Publisher;
use refold_domain::log::{AppendError, Bounds, EventLog, LogError, Offset, Records, Risk};
use std::sync::Arc;
use streams::Stream;
use tokio::time::{Instant, sleep_until};

/// The broker.
pub(crate) const BROKER: Broker = Broker {
    name: "rabbit",
    config: include_str!("../../config/rabbit.toml"),
    client: &["lapin", "amq_protocol", "async_rs", "executor_trait"],
    open,
};

/// The largest record that is taken, in bytes: a few times what a commit has, well under what RabbitMQ takes by itself.
const RECORD_BYTES_MAX: usize = 2 << 20;

/// A log on a RabbitMQ server or cluster.
struct RabbitLog {
    settings: Arc<Settings>,
    reading: Arc<Link>,
    /// One for each partition.
    streams: Vec<Stream>,
    /// From when on records may be appended.
    settled: Instant,
    /// One for each stream; none where the log is only looked at.
    publishers: Vec<Publisher>,
}

fn open(config: &Config) -> BoxFuture<'_, anyhow::Result<Arc<dyn EventLog>>> {
    Box::pin(async {
        let options: Options = config.options.read().context("the section [rabbit]")?;
        let settings = Arc::new(options.check()?);
        let reading = Arc::new(Link::new(Arc::clone(&settings), "reading"));
        let (streams, settled) = streams::ensure(&reading, config, &settings).await?;
        let publishers = match config.access {
            Access::Look => Vec::new(),
            Access::Use | Access::Create => {
                let link = Arc::new(Link::new(Arc::clone(&settings), "publishing"));
                let start = |stream: &Stream| Publisher::start(Arc::clone(&link), stream.name.clone());
                streams.iter().map(start).collect()
            }
        };
        Ok(Arc::new(RabbitLog { settings, reading, streams, settled, publishers }) as Arc<dyn EventLog>)
    })
}

impl RabbitLog {
    fn stream(&self, partition: u32) -> Result<&Stream, LogError> {
        let none = || format!("there is no partition {partition}, the log has {}", self.streams.len());
        self.streams.get(partition as usize).ok_or_else(|| LogError::Broken(none()))
    }
}

#[async_trait]
impl EventLog for RabbitLog {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let stream = self.stream(partition).map_err(|error| AppendError::Refused(error.to_string()))?;
        if record.len() > RECORD_BYTES_MAX {
            let reason = format!("it has {} bytes, the log takes {RECORD_BYTES_MAX} at most", record.len());
            return Err(AppendError::TooLarge(reason));
        }
        let publisher = self.publishers.get(partition as usize);
        let publisher = publisher.ok_or_else(|| AppendError::Refused("the log is only looked at".into()))?;
        sleep_until(self.settled).await;
        publisher.append(record).await?;
        stream.holds_records();
        Ok(())
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        reader::records(&self.reading, self.stream(partition)?.name.clone(), from).await
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.stream(partition)?.bounds(&self.reading).await
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        check::risks(&self.reading, &self.settings, &self.streams).await
    }
}
