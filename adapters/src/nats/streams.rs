//! The streams of a log: `<name>-p<n>` holds what is published to `<name>.p<n>`, all of it and for ever.

use super::link::{Link, refused};
use super::options::Options;
use crate::{Access, Config};
use async_nats::jetstream::stream::{self, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use futures::future::try_join_all;
use refold_domain::log::LogError;
use serde::{Deserialize, Serialize};

/// What a partition is called on the server.
pub(super) struct Partition {
    pub(super) stream: String,
    pub(super) subject: String,
}

impl Partition {
    pub(super) fn new(config: &Config, number: u32) -> Self {
        let name = &config.name;
        Self { stream: format!("{name}-p{number}"), subject: format!("{name}.p{number}") }
    }
}

/// Sees that all streams are there and can be used; those that are missing are made if `config` lets us.
///
/// # Errors
/// Streams that are missing, too many, or of another kind, with what to do.
pub(super) async fn ensure(
    link: &Link,
    config: &Config,
    partitions: &[Partition],
    options: &Options,
) -> Result<(), LogError> {
    refuse_more(link, config).await?;
    let before = look(link, partitions).await?;
    let holds_records = before.iter().flatten().any(|info| info.state.last_sequence > 0);
    // Whoever makes a log makes all of it before it appends; so if there are records, what is missing now was lost.
    let now = if holds_records { look(link, partitions).await? } else { before };
    for (partition, found) in partitions.iter().zip(now) {
        match found {
            Some(info) => refuse_other(partition, &info)?,
            None if holds_records => return Err(lost(config, partition)),
            None if config.access == Access::Create => {
                refuse_other(partition, &make(link, partition, options).await?)?;
            }
            None => return Err(missing(partition)),
        }
    }
    Ok(())
}

/// What the server knows of a partition's stream.
///
/// # Errors
/// There is none, or the server does not answer.
pub(super) async fn info(link: &Link, partition: &Partition) -> Result<Info, LogError> {
    find(link, partition).await?.ok_or_else(|| {
        let stream = &partition.stream;
        LogError::Broken(format!("there is no stream {stream} any more: restore it from a backup"))
    })
}

async fn look(link: &Link, partitions: &[Partition]) -> Result<Vec<Option<Info>>, LogError> {
    try_join_all(partitions.iter().map(|partition| find(link, partition))).await
}

async fn find(link: &Link, partition: &Partition) -> Result<Option<Info>, LogError> {
    let subject = format!("STREAM.INFO.{}", partition.stream);
    match link.ask(&subject, &()).await? {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Err(error) => Err(refused(&partition.stream, &error)),
    }
}

/// Makes a stream. Somebody else may be faster: what is there then is looked at as if it had been there before. A server that
/// makes the same stream for two at once may tell one of them that its own subject is taken.
async fn make(link: &Link, partition: &Partition, options: &Options) -> Result<Info, LogError> {
    let subject = format!("STREAM.CREATE.{}", partition.stream);
    let error = match link.ask(&subject, &wanted(partition, options)).await? {
        Ok(info) => return Ok(info),
        Err(error) => error,
    };
    let may_be_there = [ErrorCode::STREAM_NAME_EXIST, ErrorCode::STREAM_SUBJECT_OVERLAP];
    let made = if may_be_there.contains(&error.error_code()) { find(link, partition).await? } else { None };
    made.ok_or_else(|| not_made(partition, options, &error))
}

fn not_made(partition: &Partition, options: &Options, error: &jetstream::Error) -> LogError {
    const TOO_FEW_SERVERS: [ErrorCode; 2] =
        [ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED, ErrorCode::CLUSTER_NO_PEERS];
    let doing = format!("cannot make the stream {}", partition.stream);
    if !TOO_FEW_SERVERS.contains(&error.error_code()) {
        return refused(&doing, error);
    }
    LogError::Broken(format!(
        "{doing}: {error}: nats.replicas is {}: as many servers of one cluster must run; on a single one set it to 1",
        options.replicas
    ))
}

fn wanted(partition: &Partition, options: &Options) -> stream::Config {
    stream::Config {
        name: partition.stream.clone(),
        subjects: vec![partition.subject.clone()],
        description: Some("a partition of an event log of Refold: nothing in it may be deleted".into()),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: options.replicas,
        // Where somebody sets a limit, new records are refused and no old ones deleted.
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_bytes: -1,
        max_message_size: -1,
        max_consumers: -1,
        deny_delete: true,
        deny_purge: true,
        ..stream::Config::default()
    }
}

/// Refuses a stream that does not hold exactly what is appended to this partition.
fn refuse_other(partition: &Partition, info: &Info) -> Result<(), LogError> {
    let Partition { stream, subject } = partition;
    let config = &info.config;
    let wrong = if config.mirror.is_some() || config.sources.is_some() {
        format!(
            "the stream {stream} copies others: delete it if it is not needed, or choose another log.name"
        )
    } else if config.subjects != [subject.as_str()] || config.subject_transform.is_some() {
        format!(
            "the stream {stream} takes {:?}, not {subject:?} alone as it comes: nats stream edit {stream} --subjects={subject}",
            config.subjects
        )
    } else if config.sealed {
        format!("the stream {stream} is sealed for ever: choose another log.name, or restore it unsealed")
    } else if config.no_ack {
        format!("the stream {stream} does not confirm: nats stream edit {stream} --ack")
    } else {
        return Ok(());
    };
    Err(LogError::Broken(wrong))
}

#[derive(Serialize)]
struct NamesQuestion {
    subject: String,
}

#[derive(Deserialize)]
struct NamesAnswer {
    streams: Option<Vec<String>>,
}

/// Refuses a log that has more partitions than the config says.
async fn refuse_more(link: &Link, config: &Config) -> Result<(), LogError> {
    let question = NamesQuestion { subject: format!("{}.*", config.name) };
    let answer: Result<NamesAnswer, _> = link.ask("STREAM.NAMES", &question).await?;
    let names =
        answer.map_err(|error| refused("the names of the streams", &error))?.streams.unwrap_or_default();
    let prefix = format!("{}-p", config.name);
    let numbers = names.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse::<u32>().ok());
    match numbers.max() {
        Some(last) if last >= config.partitions => Err(LogError::Broken(format!(
            "there is a stream {prefix}{last}, and the config says {} partitions: set log.partitions = {}, or choose \
                 another log.name",
            config.partitions,
            u64::from(last) + 1
        ))),
        _ => Ok(()),
    }
}

fn missing(partition: &Partition) -> LogError {
    LogError::Missing(format!(
        "there is no stream {}: `refold topics create` makes what the log needs",
        partition.stream
    ))
}

fn lost(config: &Config, partition: &Partition) -> LogError {
    LogError::Broken(format!(
        "there is no stream {}, but others of the log {:?} hold records: restore it from a backup; if it never was there, \
         set log.partitions to the number that the log has",
        partition.stream, config.name
    ))
}
