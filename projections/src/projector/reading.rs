//! Reads a partition's records: on from where the store stands, if the log bears it out, and in batches.

use super::{Halt, stopped};
use crate::batch;
use crate::state::{Head, Mark};
use anyhow::Context;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use refold_domain::hash::Hash;
use refold_domain::log::{Bounds, End, EventLog, Offset, Records};
use refold_domain::rule::{self, Rule};
use std::time::Duration;
use tokio::time::timeout;

/// How many records one batch takes at most.
const BATCH_RECORDS_MAX: usize = 4_096;
/// How many bytes of records one batch takes before it takes no more.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// How long the log may take to hand out a record that it says it holds.
const FIRST_RECORD_WAIT: Duration = Duration::from_secs(10);

/// What happened to a log that does not bear its store out.
const LOST: &str = "the log lost its tail, or another backup of it was restored";
/// What to do then.
const PUT_BACK: &str = "put the log back as it was: its files (log.sqlite*), what its server had on disk, or a newer backup; \
    if there is none, the store has all that is left of what came last: keep a copy of it, then run `refold store empty` to \
    fold it anew from this log";

/// What of a log lies ahead of a store.
#[derive(Debug)]
pub struct Ahead {
    /// The offset of the partition's last record, if the log can tell.
    pub end: Option<Offset>,
    /// Why the store gets no further than it is, where this binary cannot read on.
    pub too_new: Option<String>,
}

/// What lies ahead, in a log that still holds the record which the store has passed last, and reaches as far as it did.
///
/// # Errors
/// That it does not, or cannot be read.
pub async fn ahead(log: &dyn EventLog, partition: u32, head: &Head) -> anyhow::Result<Ahead> {
    match look_ahead(log, partition, head).await {
        Ok(ahead) => Ok(ahead),
        Err(Halt::Stopped { reason, .. }) => Err(anyhow::anyhow!(reason)),
        Err(Halt::Failed(error)) => Err(error),
        Err(Halt::Waits(reason)) => Err(anyhow::anyhow!(reason)),
        Err(Halt::StartAgain) => Err(anyhow::anyhow!("somebody else is at work")),
    }
}

/// A projector stops right before what it cannot read: the next record says why.
async fn look_ahead(log: &dyn EventLog, partition: u32, head: &Head) -> Result<Ahead, Halt> {
    let mut records = resume(log, partition, head).await?;
    let End::Last(end) = log.bounds(partition).await?.end else {
        return Ok(Ahead { end: None, too_new: None });
    };
    if end <= head.position.offset {
        return Ok(Ahead { end: Some(end), too_new: None });
    }
    let next = first_of(&mut records).await?;
    let next = next.context("the log hands out no record where it said to hold one")?;
    let batch = fresh(head, vec![next]);
    Ok(Ahead { end: Some(end), too_new: batch::read(head.log, &batch).1 })
}

/// Reads on after a position, having seen that the log still holds the record there, and all that it held when the
/// store began.
pub(super) async fn resume(log: &dyn EventLog, partition: u32, head: &Head) -> Result<Records, Halt> {
    let Mark { offset, hash } = head.position;
    let bounds = log.bounds(partition).await?;
    if ends_before(bounds, offset) && rule::holds(Rule::StartComparesRecord) {
        return Err(diverged(&format!("the log ends before offset {offset}, which the store has folded")));
    }
    let mut records = log.read(partition, offset).await?;
    if !rule::holds(Rule::StartComparesRecord) {
        return Ok(records);
    }
    let Some((found, bytes)) = first_of(&mut records).await? else {
        return Err(nothing_there(log, partition, head).await?);
    };
    if (found, Hash::of(&bytes)) != (offset, hash) {
        return Err(diverged(&format!(
            "the log's record at offset {offset} is not the one that the store has folded"
        )));
    }
    // Asked only now: whatever the log loses from here on breaks the reading off.
    if ends_before(log.bounds(partition).await?, head.target) {
        return Err(diverged(&format!("the log ends before offset {}, which it held before", head.target)));
    }
    Ok(records)
}

/// Why a log that does not know its end hands out nothing at the store's place: it is another one, or has lost its tail. A
/// replica that is late looks the same, so the partition stands still until it is not: what is recorded meanwhile could be lost.
async fn nothing_there(log: &dyn EventLog, partition: u32, head: &Head) -> Result<Halt, Halt> {
    let (Mark { offset, .. }, Mark { offset: first, hash }) = (head.position, head.genesis);
    let genesis = first_of(&mut log.read(partition, first).await?).await?;
    if genesis.is_some_and(|(found, bytes)| (found, Hash::of(&bytes)) != (first, hash)) {
        return Ok(diverged("the log's first record is not the one that the store was folded from"));
    }
    let reason = format!("the log hands out no record at offset {offset}, which the store has folded");
    Ok(stopped(format!("{reason}: {LOST}, or a replica of it is late and will catch up"), PUT_BACK))
}

fn ends_before(bounds: Bounds, offset: Offset) -> bool {
    match bounds.end {
        End::Last(end) => end < offset,
        End::Empty => true,
        End::AtLeast(_) => false,
    }
}

/// The records that were not passed yet: a broker may deliver one again.
pub(super) fn fresh(head: &Head, mut batch: Vec<(Offset, Bytes)>) -> Vec<(Offset, Bytes)> {
    let mut passed = head.position.offset;
    batch.retain(|(offset, _)| {
        let is_fresh = *offset > passed || !rule::holds(Rule::RedeliveryIsDropped);
        passed = passed.max(*offset);
        is_fresh
    });
    batch
}

/// Records that follow each other.
pub(super) struct Taken {
    pub(super) records: Vec<(Offset, Bytes)>,
    /// Whether there may be more of them already.
    pub(super) is_full: bool,
}

/// Waits for a record, then takes what else is there, up to the batch's bounds.
pub(super) async fn take(records: &mut Records) -> Result<Taken, Halt> {
    let mut taken = vec![next(records).await?];
    let mut bytes = taken[0].1.len();
    while taken.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
        let Some(ready) = records.next().now_or_never() else {
            return Ok(Taken { records: taken, is_full: false });
        };
        let record = ready.ok_or_else(ended)??;
        bytes += record.1.len();
        taken.push(record);
    }
    Ok(Taken { records: taken, is_full: true })
}

/// A record that is there already, unless the log has lost it since it was asked for its bounds: waiting longer
/// would be waiting for somebody to append another at its place.
pub(super) async fn first_of(records: &mut Records) -> Result<Option<(Offset, Bytes)>, Halt> {
    timeout(FIRST_RECORD_WAIT, next(records)).await.ok().transpose()
}

async fn next(records: &mut Records) -> Result<(Offset, Bytes), Halt> {
    Ok(records.next().await.ok_or_else(ended)??)
}

fn ended() -> Halt {
    Halt::Failed(anyhow::anyhow!("the log ended the reading"))
}

fn diverged(reason: &str) -> Halt {
    stopped(format!("{reason}: {LOST}"), PUT_BACK)
}
