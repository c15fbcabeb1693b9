//! Opens a log: makes its genesis where there is none, and refuses one that has lost its own.
//!
//! Partition 0's first record decides the log's id and its number of partitions, whoever appended it; when every
//! partition has its genesis, partition 0 gets the record `ready`. From then on a partition that is empty, or that
//! starts with anything else, has lost history.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use refold_domain::commit::{DecodeError, Genesis, Ready, Record};
use refold_domain::log::{AppendError, End, EventLog, LogError, Offset};
use refold_domain::rule::{self, Rule};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// How often an append whose outcome is unknown is tried. A genesis too many is void.
const ATTEMPTS_MAX: u32 = 5;
/// How long a record may take to come that may be there, where the log cannot tell its end.
const READY_WAIT: Duration = Duration::from_secs(1);
/// How many partitions are looked at at once.
const AT_ONCE: usize = 16;
/// How long to wait before the next try.
const ATTEMPT_WAIT: Duration = Duration::from_millis(200);

/// Opens the log and returns its id.
///
/// # Errors
/// Where the log cannot be reached, has another number of partitions, or has lost its beginning.
pub async fn open(log: &dyn EventLog, partitions: NonZeroU32) -> anyhow::Result<Uuid> {
    match find(log, partitions).await? {
        Some(id) => Ok(id),
        None => make(log, partitions).await,
    }
}

/// Makes a log that is new, or finishes one that is half made, and returns its id.
///
/// # Errors
/// As of [`open`].
pub async fn make(log: &dyn EventLog, partitions: NonZeroU32) -> anyhow::Result<Uuid> {
    let genesis = Genesis { log: Uuid::now_v7(), partitions, partition: 0 };
    let genesis = ensure_genesis(log, genesis).await?;
    ensure_partitions(genesis, partitions)?;
    let found = others(partitions, |partition| ensure_genesis(log, Genesis { partition, ..genesis })).await?;
    for (partition, found) in (1..).zip(found) {
        let is_ours = found == Genesis { partition, ..genesis };
        ensure!(is_ours, lost(partition, "starts with the genesis of another log"));
    }
    append(log, 0, Ready { log: genesis.log }.encode()).await?;
    Ok(genesis.log)
}

/// The id of a log that is ready, `None` where it is new or half made. Appends nothing.
///
/// # Errors
/// Where the log cannot be reached, has another number of partitions, or has lost its beginning.
pub async fn find(log: &dyn EventLog, partitions: NonZeroU32) -> anyhow::Result<Option<Uuid>> {
    let genesis = match first_record(log, 0).await? {
        Some(genesis) => genesis,
        None => {
            let firsts = others(partitions, |partition| first_offset(log, partition)).await?;
            if firsts.iter().all(Option::is_none) {
                return Ok(None);
            }
            // Another process may be making it: it begins with this one.
            let found = first_record(log, 0).await?;
            found.with_context(|| lost(0, "is empty, though another partition is not"))?
        }
    };
    ensure_partitions(genesis, partitions)?;
    if !is_ready(log, genesis).await? {
        return Ok(None);
    }
    let firsts = others(partitions, |partition| first_record(log, partition)).await?;
    for (partition, found) in (1..).zip(firsts) {
        ensure!(found.is_some(), lost(partition, "is empty"));
        ensure!(
            found == Some(Genesis { partition, ..genesis }),
            lost(partition, "starts with another record")
        );
    }
    Ok(Some(genesis.log))
}

fn ensure_partitions(genesis: Genesis, partitions: NonZeroU32) -> anyhow::Result<()> {
    let found = genesis.partitions;
    ensure!(
        found == partitions,
        "the log has {found} partitions, the config says {partitions}: set log.partitions = {found}, for the \
         number of a log never changes"
    );
    Ok(())
}

/// What is asked of each partition but the first, of several at once: some brokers take their time to tell how far one reaches.
async fn others<T, A>(partitions: NonZeroU32, ask: impl Fn(u32) -> A) -> anyhow::Result<Vec<T>>
where
    A: Future<Output = anyhow::Result<T>>,
{
    stream::iter(1..partitions.get()).map(ask).buffered(AT_ONCE).try_collect().await
}

/// The genesis of a partition: the one that is there, or `wanted` if nobody else was faster.
async fn ensure_genesis(log: &dyn EventLog, wanted: Genesis) -> anyhow::Result<Genesis> {
    if first_offset(log, wanted.partition).await?.is_none() {
        append(log, wanted.partition, wanted.encode()).await?;
        if !rule::holds(Rule::GenesisIsReadBack) {
            return Ok(wanted);
        }
    }
    let found = first_record(log, wanted.partition).await?;
    found.with_context(|| lost(wanted.partition, "does not hold what was just appended"))
}

async fn is_ready(log: &dyn EventLog, genesis: Genesis) -> anyhow::Result<bool> {
    let bounds = log.bounds(0).await?;
    let first = bounds.first.context("partition 0 is empty")?;
    let (end, is_certain) = match bounds.end {
        End::Last(end) => (end, true),
        End::AtLeast(end) => (end, false),
        End::Empty => bail!("partition 0 is empty"),
    };
    let mut records = log.read(0, first).await?;
    let mut passed = None;
    // Nobody appends commits before `ready`, so it stands behind a handful of genesis records at most.
    loop {
        let next = records.next();
        let next = if is_certain || passed < Some(end) {
            next.await
        } else {
            // A second `ready` is harmless.
            let Ok(next) = timeout(READY_WAIT, next).await else { return Ok(false) };
            next
        };
        let (offset, bytes) = next.context("the log ended the reading of partition 0")??;
        passed = Some(offset);
        match Record::decode(&bytes) {
            Ok(Record::Ready(ready)) if ready.log == genesis.log => return Ok(true),
            Ok(Record::Commit(commit)) if commit.log == genesis.log => bail!(lost(0, "has no `ready`")),
            _ if is_certain && offset >= end => return Ok(false),
            _ => {}
        }
    }
}

async fn first_offset(log: &dyn EventLog, partition: u32) -> anyhow::Result<Option<Offset>> {
    Ok(log.bounds(partition).await?.first)
}

async fn first_record(log: &dyn EventLog, partition: u32) -> anyhow::Result<Option<Genesis>> {
    let Some(first) = first_offset(log, partition).await? else {
        return Ok(None);
    };
    let mut records = log.read(partition, first).await?;
    let (offset, bytes) = records.next().await.context("the log ended the reading")??;
    match Record::decode(&bytes) {
        Ok(Record::Genesis(genesis)) => Ok(Some(genesis)),
        Err(newer @ DecodeError::Newer { .. }) => {
            bail!("the first record of partition {partition} is too new: {newer}; start a newer refold")
        }
        _ => bail!("{} (at offset {offset})", lost(partition, "does not start with a genesis")),
    }
}

async fn append(log: &dyn EventLog, partition: u32, bytes: Vec<u8>) -> anyhow::Result<()> {
    let bytes = Bytes::from(bytes);
    let mut unknown = String::new();
    for _ in 0..ATTEMPTS_MAX {
        match log.append(partition, bytes.clone()).await {
            Err(AppendError::Unknown(reason)) => {
                tracing::debug!(partition, reason, "trying again to open the log");
                unknown = reason;
                tokio::time::sleep(ATTEMPT_WAIT).await;
            }
            outcome => return Ok(outcome?),
        }
    }
    bail!(LogError::Away(format!("partition {partition} confirms no record: {unknown}")))
}

fn lost(partition: u32, what: &str) -> String {
    format!(
        "partition {partition} of the log {what}: history was lost, or this is no log of refold; \
         restore it from a backup, or start a new log elsewhere"
    )
}
