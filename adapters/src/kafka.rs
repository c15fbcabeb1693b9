//! The log in Apache Kafka: one topic, whose partitions are the log's.
//!
//! In reading order: `settings` are what can be set; `client` is a connection and what its complaints mean; `topic` finds or
//! makes the topic; `writer` appends; `reader` reads; `risks` are what may lose history.
//!
//! Nothing is asked of Kafka but order, confirms and that it keeps everything: no transactions, keys, groups or compaction.

mod client;
mod reader;
mod risks;
mod settings;
mod topic;
mod writer;

use crate::{Access, Broker, Config};
use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use client::Asking;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use reader::Readers;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Offset, Records, Risk};
use risks::Found;
use settings::Settings;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use writer::Writer;

/// What this broker is called.
const NAME: &str = "kafka";

/// The broker.
pub(crate) const BROKER: Broker =
    Broker { name: NAME, config: include_str!("../../config/kafka.toml"), client: &["rdkafka"], open };

/// The largest record that is taken, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The largest message that the topic must take, in bytes: the largest record, and what Kafka writes around it.
const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + (4 << 10);

/// How many partitions are asked about at once.
const QUESTIONS_MAX: usize = 8;

/// An event log in a topic.
struct KafkaLog {
    topic: String,
    partitions: u32,
    settings: Settings,
    asking: Arc<Asking>,
    /// Up to where each partition was seen to reach.
    known: Arc<[AtomicI64]>,
    /// `None` where the log is only looked at.
    writer: Option<Writer>,
    readers: Arc<Readers>,
}

/// The offset of the first record of a partition, and the one after the last: where the next will stand.
#[derive(Clone, Copy)]
struct Span {
    begin: Offset,
    end: Offset,
}

fn open(config: &Config) -> BoxFuture<'_, anyhow::Result<Arc<dyn EventLog>>> {
    Box::pin(async move {
        let settings: Settings = config.options.read().context("the section [kafka] cannot be read")?;
        settings.ensure_possible()?;
        let asking = Arc::new(Asking::new(settings.client())?);
        topic::open(&asking, config, &settings).await?;
        let writes = config.access != Access::Look;
        let writer = writes.then(|| Writer::new(&settings, &config.name, config.partitions)).transpose()?;
        let readers = Arc::new(Readers::new(&settings, &asking, &config.name, config.partitions));
        let known = (0..config.partitions).map(|_| AtomicI64::default()).collect();
        let (topic, partitions) = (config.name.clone(), config.partitions);
        Ok(Arc::new(KafkaLog { topic, partitions, settings, asking, known, writer, readers })
            as Arc<dyn EventLog>)
    })
}

impl KafkaLog {
    /// Kafka's number for a partition, where the log has it.
    fn partition(&self, partition: u32) -> Result<i32, String> {
        let number = i32::try_from(partition).ok().filter(|_| partition < self.partitions);
        number.ok_or_else(|| format!("there is no partition {partition}, the log has {}", self.partitions))
    }

    async fn span(&self, partition: u32) -> Result<Span, LogError> {
        let number = self.partition(partition).map_err(LogError::Broken)?;
        let topic = self.topic.clone();
        let doing = format!("cannot ask for the bounds of partition {partition} of the topic {topic}");
        let known = Arc::clone(&self.known);
        let question = move |client: &client::Asked| {
            let known = &known[partition as usize];
            let found = client::watermarks(client, &topic, number, known.load(Ordering::Relaxed));
            // Also an earlier one that it stays with: then it is so.
            found.inspect(|(_, high)| known.store(*high, Ordering::Relaxed))
        };
        let (low, high) = self.asking.ask(doing, question).await?;
        let offset = |offset| {
            Offset::try_from(offset).map_err(|_| LogError::Away(format!("offset {offset} is not known yet")))
        };
        Ok(Span { begin: offset(low)?, end: offset(high)? })
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let number = self.partition(partition).map_err(AppendError::Refused)?;
        let bytes = record.len();
        if bytes > RECORD_BYTES_MAX {
            let reason = format!("it has {bytes} bytes, the log takes {RECORD_BYTES_MAX} at most");
            return Err(AppendError::TooLarge(reason));
        }
        let writer = self.writer.as_ref();
        let writer = writer.ok_or_else(|| AppendError::Refused("the log is only looked at".into()))?;
        writer.append(number, record).await
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        let number = self.partition(partition).map_err(LogError::Broken)?;
        let Span { begin, end } = self.span(partition).await?;
        if from > end {
            return Err(LogError::Broken(format!(
                "partition {partition} of the topic {} ends at offset {end}, before {from}",
                self.topic
            )));
        }
        self.readers.read(number, from.max(begin)).await
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let Span { begin, end } = self.span(partition).await?;
        Ok(Bounds {
            // What was there was deleted where both stand at the same offset, but not at the first.
            first: (begin < end).then_some(begin),
            end: end.checked_sub(1).map_or(End::Empty, End::Last),
        })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        let gone = || LogError::Broken(format!("the topic {} is gone", self.topic));
        let topic = topic::find(&self.asking, &self.topic).await?.ok_or_else(gone)?;
        let settings = topic::settings_of(&self.topic, &self.settings).await?;
        let spans = stream::iter(0..self.partitions).map(|partition| self.span(partition));
        let begins = spans.buffered(QUESTIONS_MAX).map_ok(|span| span.begin).try_collect::<Vec<_>>().await?;
        let found = Found {
            name: &self.topic,
            place: &self.settings.place(),
            topic: &topic,
            partitions: self.partitions as usize,
            settings: &settings,
            begins: &begins,
        };
        Ok(found.risks())
    }
}
