//! The streams that the partitions are: looked for and made.

use super::bounds;
use super::failure::{Failure, answer};
use super::link::Link;
use super::options::Settings;
use crate::{Access, Config};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use refold_domain::log::{Bounds, LogError};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a server that has just started may say that a stream is not there, in milliseconds.
const RECOVERY_WAIT_MS: u64 = 3_000;

/// How long it is left alone in between, in milliseconds.
const RECOVERY_PAUSE_MS: u64 = 100;

/// How long nothing is appended to new streams, in milliseconds: a new server that is killed within about a second of its
/// first stream's declaration forgets that stream with all that it has confirmed.
const SETTLE_MS: u64 = 2_000;

/// The stream of a partition, and what this process knows of it.
pub(super) struct Stream {
    pub(super) name: String,
    is_new: bool,
    holds_records: AtomicBool,
}

impl Stream {
    /// How far it reaches.
    pub(super) async fn bounds(&self, link: &Link) -> Result<Bounds, LogError> {
        let empty_wait_ms = match (self.holds_records.load(Ordering::Relaxed), self.is_new) {
            (true, _) => bounds::FIRST_WAIT_MS,
            (false, true) => bounds::NEW_WAIT_MS,
            (false, false) => bounds::EMPTY_WAIT_MS,
        };
        let found = bounds::bounds(link, &self.name, empty_wait_ms).await?;
        if found.first.is_some() {
            self.holds_records();
        }
        Ok(found)
    }

    /// Remembers that there are records in it.
    pub(super) fn holds_records(&self) {
        self.holds_records.store(true, Ordering::Relaxed);
    }
}

/// The name of a partition's stream.
pub(super) fn name(log: &str, partition: u32) -> String {
    format!("{log}.p{partition}")
}

/// Sees that all partitions are there and no more, and makes them where that may be done. Also says from when on records may be
/// appended.
pub(super) async fn ensure(
    link: &Link,
    config: &Config,
    settings: &Settings,
) -> Result<(Vec<Stream>, Instant), LogError> {
    none_beyond(link, config).await?;
    let mut found = look(link, config).await?;
    if found.iter().any(Option::is_none)
        && (config.access != Access::Create || found.iter().any(Option::is_some))
    {
        found = look_until_recovered(link, config).await?;
    }
    let missing = named(config, &found, Option::is_none);
    let mut new = HashSet::new();
    if !missing.is_empty() {
        may_be_made(link, config, &missing, &named(config, &found, Option::is_some)).await?;
        for stream in missing {
            if make(link, &stream, settings.replicas).await.map_err(|failure| unmade(&stream, failure))? {
                new.insert(stream);
            }
        }
    }
    // Another process may have declared them just now.
    let are_empty = found.iter().flatten().all(|records| *records == 0);
    let settling = Duration::from_millis(if are_empty { SETTLE_MS } else { 0 });
    let stream = |partition| {
        let name = name(&config.name, partition);
        Stream { is_new: new.contains(&name), name, holds_records: AtomicBool::default() }
    };
    Ok(((0..config.partitions).map(stream).collect(), Instant::now() + settling))
}

/// Makes a stream that seems to be missing, and says whether it was: a server that has just started may have it, with records in
/// it, and is asked again then.
async fn make(link: &Link, stream: &str, replicas: u32) -> Result<bool, Failure> {
    match declare(link, stream, replicas).await {
        Err(Failure::Missing | Failure::Starting(_)) => {
            recovered(|| declare(link, stream, replicas)).await.map(|()| false)
        }
        made => made.map(|()| true),
    }
}

/// About how many records a stream has, some seconds ago.
pub(super) async fn find(link: &Link, stream: &str) -> Result<u32, Failure> {
    let channel = link.channel().await?;
    let passive = QueueDeclareOptions::durable().passive();
    let declared = channel.queue_declare(stream.into(), passive, FieldTable::default());
    Ok(answer(declared).await?.message_count())
}

/// Makes a stream, or finds it as it would be made.
pub(super) async fn declare(link: &Link, stream: &str, replicas: u32) -> Result<(), Failure> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-initial-cluster-size".into(), AMQPValue::LongLongInt(replicas.into()));
    let channel = link.channel().await?;
    answer(channel.queue_declare(stream.into(), QueueDeclareOptions::durable(), arguments)).await?;
    Ok(())
}

/// Tries again where a stream seems to be missing, for as long as a server that has just started may say so.
pub(super) async fn recovered<T, A>(attempt: impl Fn() -> A) -> Result<T, Failure>
where
    A: Future<Output = Result<T, Failure>>,
{
    let until = Instant::now() + Duration::from_millis(RECOVERY_WAIT_MS);
    loop {
        match attempt().await {
            Err(Failure::Missing | Failure::Starting(_)) if Instant::now() < until => {
                sleep(Duration::from_millis(RECOVERY_PAUSE_MS)).await;
            }
            outcome => return outcome,
        }
    }
}

/// What there is of each partition.
async fn look(link: &Link, config: &Config) -> Result<Vec<Option<u32>>, LogError> {
    let mut found = Vec::new();
    for partition in 0..config.partitions {
        let stream = name(&config.name, partition);
        found.push(match find(link, &stream).await {
            Ok(records) => Some(records),
            Err(Failure::Missing) => None,
            Err(failure) => return Err(failure.of(&stream)),
        });
    }
    Ok(found)
}

async fn look_until_recovered(link: &Link, config: &Config) -> Result<Vec<Option<u32>>, LogError> {
    let until = Instant::now() + Duration::from_millis(RECOVERY_WAIT_MS);
    loop {
        let found = look(link, config).await?;
        if found.iter().all(Option::is_some) || Instant::now() > until {
            return Ok(found);
        }
        sleep(Duration::from_millis(RECOVERY_PAUSE_MS)).await;
    }
}

async fn none_beyond(link: &Link, config: &Config) -> Result<(), LogError> {
    let stream = name(&config.name, config.partitions);
    match find(link, &stream).await {
        Err(Failure::Missing) => Ok(()),
        Err(failure) => Err(failure.of(&stream)),
        Ok(_) => Err(LogError::Broken(format!(
            "RabbitMQ has a stream {stream:?}: the log has more than {} partitions; set log.partitions to their number, or \
             log.name to a name that is free",
            config.partitions
        ))),
    }
}

/// A server that knows a stream from before it was killed does not declare it, but says that there is none until it runs.
fn unmade(stream: &str, failure: Failure) -> LogError {
    match failure {
        Failure::Missing => {
            LogError::Away(format!("RabbitMQ neither has the stream {stream:?} yet nor makes it"))
        }
        failure => failure.of(stream),
    }
}

/// The streams of which that is true.
fn named(config: &Config, found: &[Option<u32>], is_so: fn(&Option<u32>) -> bool) -> Vec<String> {
    let so = (0..).zip(found).filter(|(_, found)| is_so(found));
    so.map(|(partition, _)| name(&config.name, partition)).collect()
}

/// An empty stream in place of a lost one would hide that history is gone.
async fn may_be_made(
    link: &Link,
    config: &Config,
    missing: &[String],
    others: &[String],
) -> Result<(), LogError> {
    let missing = missing.join(", ");
    for other in others {
        if bounds::bounds(link, other, bounds::EMPTY_WAIT_MS).await?.first.is_some() {
            return Err(LogError::Broken(format!(
                "RabbitMQ has no stream {missing}, though {other} has records: set log.partitions to {} if that is how many \
                 there are; else restore what was deleted from a backup",
                others.len()
            )));
        }
    }
    if config.access == Access::Create {
        return Ok(());
    }
    Err(LogError::Missing(format!("RabbitMQ has no stream {missing}: run `refold topics create`")))
}
