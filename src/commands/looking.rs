//! What the store says of streams, where the log bears it out.

use super::{CommandError, Commands};
use anyhow::Context;
use refold_domain::log::Offset;
use refold_projections::progress::Condition;
use refold_projections::state::{Head, StreamEntry};
use refold_projections::store::damage::Damaged;
use refold_projections::store::{Blob, Range, Space, Wanted};
use std::collections::BTreeMap;

/// What a decision looks at: the streams of the request that exist.
#[derive(Debug, Default)]
pub struct Streams {
    entries: BTreeMap<String, StreamEntry>,
    /// Where the store stood, if it was asked.
    at: Option<Offset>,
}

/// Streams in the order of their names.
#[derive(Debug)]
pub struct Entries {
    /// Each with its name.
    pub entries: Vec<(String, StreamEntry)>,
    /// Whether there are more after them.
    pub more: bool,
    /// Where the store stood.
    pub at: Offset,
}

impl Streams {
    /// A stream, if it was ever moved.
    pub fn get(&self, name: &str) -> Option<&StreamEntry> {
        self.entries.get(name)
    }

    /// Where the store stood, if it was asked.
    pub fn at(&self) -> Option<Offset> {
        self.at
    }
}

impl Commands {
    /// These streams of a partition, as the store has them at this moment; it may be behind the log.
    ///
    /// # Errors
    /// [`CommandError::Behind`] where it still folds what was there at its start, [`CommandError::Failed`] where it cannot
    /// be read.
    pub async fn streams(
        &self,
        partition: u32,
        names: impl IntoIterator<Item = &String>,
    ) -> Result<Streams, CommandError> {
        let keys: Vec<_> = names.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        if keys.is_empty() {
            return Ok(Streams::default());
        }
        self.check_condition(partition)?;
        let loaded = self.store.load(partition, Wanted::from([(Space::Streams, keys)])).await?;
        let head = self.caught_up(partition, loaded.head)?;
        let entries = loaded.values.into_values().flatten();
        let entries = entries.map(entry).collect::<Result<Vec<_>, _>>()?;
        let remembered = entries.into_iter().filter(|(_, entry)| entry.is_remembered(head.keys));
        Ok(Streams { entries: remembered.collect(), at: Some(head.position.offset) })
    }

    /// A range of the streams of a partition, none of them an idempotency key.
    ///
    /// # Errors
    /// As [`Self::streams`].
    pub async fn range(&self, partition: u32, range: Range) -> Result<Entries, CommandError> {
        self.check_condition(partition)?;
        let scanned = self.store.scan(partition, range).await?;
        let at = self.caught_up(partition, scanned.head)?.position.offset;
        let entries = scanned.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Entries { entries, more: scanned.more, at })
    }

    /// What the log does not bear out, or not yet, is nothing to decide from.
    fn check_condition(&self, partition: u32) -> Result<(), CommandError> {
        let state = self.progress.state(partition);
        let is_borne_out = state.head.is_some() && !matches!(state.condition, Condition::Stopped { .. });
        is_borne_out.then_some(()).ok_or_else(|| self.behind(partition))
    }

    fn caught_up(&self, partition: u32, head: Option<Head>) -> Result<Head, CommandError> {
        head.filter(Head::is_caught_up).ok_or_else(|| self.behind(partition))
    }

    pub(super) fn behind(&self, partition: u32) -> CommandError {
        let why = self.progress.state(partition).condition.problem();
        let why = why.unwrap_or_else(|| "it is being folded".to_owned());
        CommandError::Behind(format!("partition {partition} has not caught up with the log: {why}"))
    }

    /// An error that the whole service should know of, where it is one.
    pub(super) fn noted(&self, error: CommandError) -> CommandError {
        if let CommandError::Failed(error) = &error {
            self.progress.note(error);
        }
        error
    }
}

fn entry((name, entry): (Blob, Blob)) -> anyhow::Result<(String, StreamEntry)> {
    let entry = serde_json::from_slice(&entry).context(Damaged("a stream cannot be read"))?;
    Ok((String::from_utf8(name).context(Damaged("a stream has no name"))?, entry))
}
