//! What was recorded before is read from the log again: as it stands there, once for all who ask for it at a time.
//!
//! Commands that came together stand in one record, and are asked for together when they are repeated: each reading of a
//! broker's log begins a conversation with its server, and a record may have half a megabyte.

use super::{CommandError, Commands, Origin, Recorded, RecordedEvent};
use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use refold_domain::commit::{Commit, Record};
use refold_domain::log::{EventLog, Offset};
use refold_domain::receipt::EventId;
use refold_projections::state::StreamEntry;
use std::fmt;
use tokio::time::{Instant, timeout_at};

/// How many bytes of records are kept; those that were not asked for lately go first.
const BYTES_MAX: u64 = 16 << 20;
/// About how many bytes a record has that many commands stand in.
const BYTES_USUAL: u64 = 64 << 10;

/// Records that were read lately, by partition and offset. A record does not change, but a log that loses its tail may get another
/// in its place: one that is not the one that is looked for is read anew.
pub struct Recalled(Cache<(u32, Offset), (Offset, Bytes), ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<(u32, Offset), (Offset, Bytes)> for ByBytes {
    fn weight(&self, _: &(u32, Offset), (_, record): &(Offset, Bytes)) -> u64 {
        record.len() as u64
    }
}

impl Default for Recalled {
    fn default() -> Self {
        Self(Cache::with_weighter((BYTES_MAX / BYTES_USUAL) as usize, BYTES_MAX, ByBytes))
    }
}

impl fmt::Debug for Recalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recalled").field("records", &self.0.len()).finish_non_exhaustive()
    }
}

impl Recalled {
    /// The first record of a partition at or after `offset`.
    async fn first_from(
        &self,
        log: &dyn EventLog,
        partition: u32,
        offset: Offset,
    ) -> anyhow::Result<(Offset, Bytes)> {
        let read = async {
            let mut records = log.read(partition, offset).await?;
            Ok(records.next().await.context("the log ended the reading")??)
        };
        self.0.get_or_insert_async(&(partition, offset), read).await
    }

    fn forget(&self, partition: u32, offset: Offset) {
        self.0.remove(&(partition, offset));
    }
}

impl Commands {
    /// Reads a command that counts from the log again; a log that has lost it may have nothing to hand out.
    pub(super) async fn recall(
        &self,
        partition: u32,
        entry: &StreamEntry,
        origin: Origin,
        deadline: Instant,
    ) -> Result<Recorded, CommandError> {
        let receipt = entry.receipt(partition);
        let mut read = self.record_of(partition, entry, deadline).await?;
        if commit_of(entry, &read).is_none() {
            self.recalled.forget(partition, entry.offset);
            read = self.record_of(partition, entry, deadline).await?;
        }
        // A broker that lost the commit may hold another's in its place.
        let commit = commit_of(entry, &read).ok_or(CommandError::Lost(receipt))?;
        let command = commit.commands.get(entry.command as usize).context("a commit lacks a command")?;
        let event = |(index, event)| RecordedEvent::recalled(EventId { receipt, index }, event);
        let events = (0..).zip(&command.events).map(event).collect::<anyhow::Result<_>>()?;
        Ok(Recorded { receipt, origin, offset: Some(entry.offset), events })
    }

    /// The record where an entry says that its commit stands.
    async fn record_of(
        &self,
        partition: u32,
        entry: &StreamEntry,
        deadline: Instant,
    ) -> Result<(Offset, Bytes), CommandError> {
        let reading = self.recalled.first_from(self.log.as_ref(), partition, entry.offset);
        let unread =
            |why: String| CommandError::OutcomeUnknown(format!("the command was recorded before, but {why}"));
        match timeout_at(deadline, reading).await {
            Ok(Ok(record)) => Ok(record),
            Ok(Err(error)) => Err(unread(format!("the log cannot be read: {error:#}"))),
            Err(_) => Err(unread("the log did not hand it out in time".into())),
        }
    }
}

/// The commit of a record, if it is the one of the entry.
fn commit_of<'r>(entry: &StreamEntry, (offset, bytes): &'r (Offset, Bytes)) -> Option<Commit<'r>> {
    match Record::decode(bytes) {
        Ok(Record::Commit(commit)) => {
            let is_the_one = (*offset, commit.writer, commit.seq) == (entry.offset, entry.writer, entry.seq);
            is_the_one.then_some(commit)
        }
        _ => None,
    }
}
