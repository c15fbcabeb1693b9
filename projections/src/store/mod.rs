//! The contract of a store: ordered maps per partition, changed in one atomic step under position and epoch.
//!
//! A store knows nothing of views or gates. It keeps, for each partition, a [`Head`] and a few named
//! [`Space`]s, each an ordered map from bytes to bytes. That is all a projector needs, and it has a plain form
//! in SQLite and in Redis, so a new kind of view asks nothing of either.

pub mod damage;
pub mod kinds;
mod memory;
mod place;
pub mod redis;
mod sqlite;

pub use memory::{MemoryStore, Snapshot};
pub use place::{Opened, Place};
pub use redis::RedisStore;
pub use sqlite::SqliteStore;

use crate::state::{Epoch, Head, Mark};
use async_trait::async_trait;
use futures::future::try_join_all;
use refold_domain::log::Risk;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// The version of what is kept; another number is another, empty store, folded from the start. Raised when
/// gate state, an aggregate's `apply`, an upcaster or a view's form changes.
pub const STORE_FORMAT: u32 = 2;

/// A key or a value.
pub type Blob = Vec<u8>;

/// A named ordered map within a partition's state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// By writer: [`crate::state::WriterEntry`].
    Writers,
    /// By stream: [`crate::state::StreamEntry`].
    Streams,
    /// By number: the stream of an idempotency key.
    Keys,
    /// By offset, and command where it is not the whole commit: why it is void.
    Voids,
    /// By receipt: that the command is void.
    Refused,
    /// By offset, command and index: [`crate::state::Skipped`].
    Unreadable,
    /// A projection's view, in one generation.
    View(Arc<str>, u32),
}

/// What to change, in one atomic step.
#[derive(Debug, Clone)]
pub struct Flush {
    /// Position and epoch that the store must hold; `None` where the partition's state must not exist yet.
    pub from: Option<(Mark, Epoch)>,
    /// The new head.
    pub head: Head,
    /// New values, absolute; `None` takes a key away.
    pub changes: BTreeMap<Space, BTreeMap<Blob, Option<Blob>>>,
}

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// It is stored: now, or it was already.
    Done,
    /// The store holds another position or epoch: somebody else went on, or it was emptied or rolled back.
    Refused,
}

/// Keys to read at once.
pub type Wanted = BTreeMap<Space, Vec<Blob>>;

/// What stood in the store at one moment.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The partition's head, `None` where it has no state.
    pub head: Option<Head>,
    /// The values of the wanted keys that exist.
    pub values: BTreeMap<Space, BTreeMap<Blob, Blob>>,
}

/// A part of a space to read in order.
#[derive(Debug, Clone)]
pub struct Range {
    /// The space.
    pub space: Space,
    /// The first key.
    pub from: Bound<Blob>,
    /// The last key.
    pub to: Bound<Blob>,
    /// Whether to read from the last key downwards.
    pub reverse: bool,
    /// How much of it to read.
    pub limit: Limit,
}

/// How much is read at a time. Reading stops with the entry that reaches one of the two: at least one is read where
/// there is one, so that whoever reads on gets on.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The most entries.
    pub entries: usize,
    /// So many bytes of keys and values together are enough.
    pub bytes: usize,
}

/// A range as it stood in the store at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The partition's head.
    pub head: Option<Head>,
    /// The entries, in order.
    pub entries: Vec<(Blob, Blob)>,
    /// Whether the range goes on after them.
    pub more: bool,
}

/// That a store cannot be reached or used just now, and may be later: it is asked again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// Where read models are kept. Everything in it can be thrown away and folded again.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads keys of one partition, together with its head, in one atomic step.
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded>;

    /// Reads a range of one partition, together with its head, in one atomic step.
    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned>;

    /// Reads a range of each of the partitions 0, 1, ... `partitions` - 1 as [`Self::scan`] does, at once where the store
    /// can. What comes of different partitions may be of different moments.
    async fn scan_all(&self, partitions: u32, range: Range) -> anyhow::Result<Vec<Scanned>> {
        try_join_all((0..partitions).map(|partition| self.scan(partition, range.clone()))).await
    }

    /// Changes one partition in one atomic step, if it stands where the flush starts from. A flush that has
    /// been made already is done; so one whose outcome is unknown is repeated until it is known.
    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed>;

    /// Reads the catalogue.
    async fn catalogue(&self) -> anyhow::Result<Option<Blob>>;

    /// Empties every partition and replaces the catalogue, in one atomic step.
    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()>;

    /// What of what it is given may be lost, as far as that rests on a server, whose settings may be changed at any time.
    ///
    /// # Errors
    /// That the server is [`Away`], or does not answer as it should.
    async fn risks(&self) -> anyhow::Result<Vec<Risk>> {
        Ok(Vec::new())
    }

    /// Looks for damage, as far as that does not take long.
    async fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writers => f.write_str("writers"),
            Self::Streams => f.write_str("streams"),
            Self::Keys => f.write_str("keys"),
            Self::Voids => f.write_str("voids"),
            Self::Refused => f.write_str("refused"),
            Self::Unreadable => f.write_str("unreadable"),
            Self::View(projection, generation) => write!(f, "view/{projection}/{generation}"),
        }
    }
}

impl Limit {
    /// So many entries, whatever their size.
    pub fn entries(entries: usize) -> Self {
        Self { entries, bytes: usize::MAX }
    }

    /// Takes as many as it allows, and says whether there are more.
    ///
    /// # Errors
    /// Where an entry cannot be read.
    fn take<E>(
        self,
        entries: impl Iterator<Item = Result<(Blob, Blob), E>>,
    ) -> Result<(Vec<(Blob, Blob)>, bool), E> {
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        for entry in entries {
            if taken.len() >= self.entries || (bytes >= self.bytes && !taken.is_empty()) {
                return Ok((taken, true));
            }
            let (key, value) = entry?;
            bytes = bytes.saturating_add(key.len() + value.len());
            taken.push((key, value));
        }
        Ok((taken, false))
    }
}

impl Loaded {
    /// The value of a key, if it exists.
    pub fn value(&self, space: &Space, key: &[u8]) -> Option<&[u8]> {
        self.values.get(space)?.get(key).map(Vec::as_slice)
    }
}

impl Flush {
    /// Whether a store whose head is `stored` has to apply this flush, has done so, or must refuse it.
    pub fn against(&self, stored: Option<&Head>) -> Standing {
        let stored = stored.map(Head::version);
        if stored == self.from {
            Standing::Apply
        } else if stored == Some(self.head.version()) {
            Standing::Done
        } else {
            Standing::Refused
        }
    }

    /// Notes a new value.
    pub fn put(&mut self, space: Space, key: Blob, value: Option<Blob>) {
        self.changes.entry(space).or_default().insert(key, value);
    }
}

/// What a store has to do with a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Apply it.
    Apply,
    /// Nothing: it was applied before.
    Done,
    /// Nothing: it starts from somewhere else.
    Refused,
}

/// The smallest key that is greater than every key with this prefix.
pub fn after_prefix(prefix: &[u8]) -> Bound<Blob> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}
