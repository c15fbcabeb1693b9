//! A store in memory: what the simulation runs on, and the shortest statement of what a store has to do.

use super::{Blob, Flush, Flushed, Loaded, Range, Scanned, Space, Standing, Store, Wanted};
use crate::state::{Epoch, Head, Mark};
use async_trait::async_trait;
use refold_domain::rule::{self, Rule};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store that is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default, Clone)]
struct Held {
    catalogue: Option<Blob>,
    partitions: BTreeMap<u32, Partition>,
}

#[derive(Debug, Default, Clone)]
struct Partition {
    head: Option<Head>,
    spaces: BTreeMap<Space, BTreeMap<Blob, Blob>>,
}

/// Everything a store held at one moment; what a backup would hold.
#[derive(Debug, Clone)]
pub struct Snapshot(Held);

impl MemoryStore {
    /// A copy of everything, to be brought back by [`Self::restore`].
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.lock().clone())
    }

    /// Rolls everything back to a snapshot, as a failover to an older replica would.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.lock() = snapshot.0.clone();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        let held = self.lock();
        let Some(partition) = held.partitions.get(&partition) else {
            return Ok(Loaded::default());
        };
        let find = |(space, keys): (Space, Vec<Blob>)| {
            let map = partition.spaces.get(&space)?;
            let found = keys.into_iter().filter_map(|key| map.get(&key).cloned().map(|value| (key, value)));
            Some((space, found.collect()))
        };
        Ok(Loaded { head: partition.head.clone(), values: wanted.into_iter().filter_map(find).collect() })
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        let held = self.lock();
        let Some(partition) = held.partitions.get(&partition) else {
            return Ok(Scanned::default());
        };
        let (entries, more) = match partition.spaces.get(&range.space) {
            Some(map) => entries(map, &range),
            None => (Vec::new(), false),
        };
        Ok(Scanned { head: partition.head.clone(), entries, more })
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        if !rule::holds(Rule::FlushIsAtomic) {
            let in_two = self.lock().partition(partition).begin(&flush);
            tokio::task::yield_now().await;
            return Ok(in_two.unwrap_or_else(|| self.lock().partition(partition).finish(&flush)));
        }
        let mut held = self.lock();
        let partition = held.partition(partition);
        Ok(partition.begin(&flush).unwrap_or_else(|| partition.finish(&flush)))
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        Ok(self.lock().catalogue.clone())
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        *self.lock() = Held { catalogue: Some(catalogue), ..Held::default() };
        Ok(())
    }
}

impl Held {
    fn partition(&mut self, partition: u32) -> &mut Partition {
        self.partitions.entry(partition).or_default()
    }
}

impl Partition {
    /// Moves the head, unless the flush has ended with that.
    fn begin(&mut self, flush: &Flush) -> Option<Flushed> {
        match flush.against(self.head.as_ref()) {
            Standing::Refused if self.refuses(flush) => Some(Flushed::Refused),
            Standing::Done => Some(Flushed::Done),
            Standing::Refused | Standing::Apply => {
                self.head = Some(flush.head.clone());
                None
            }
        }
    }

    /// Whether a flush that starts from somewhere else is refused; without the rules it is not always.
    fn refuses(&self, flush: &Flush) -> bool {
        let at = |version: Option<(Mark, Epoch)>| version.map(|(position, _)| position);
        let is_elsewhere = at(self.head.as_ref().map(Head::version)) != at(flush.from);
        rule::holds(if is_elsewhere { Rule::FlushComparesPosition } else { Rule::FlushComparesEpoch })
    }

    fn finish(&mut self, flush: &Flush) -> Flushed {
        for (space, changes) in &flush.changes {
            let map = self.spaces.entry(space.clone()).or_default();
            for (key, value) in changes {
                match value {
                    Some(value) => map.insert(key.clone(), value.clone()),
                    None => map.remove(key),
                };
            }
        }
        Flushed::Done
    }
}

fn entries(map: &BTreeMap<Blob, Blob>, range: &Range) -> (Vec<(Blob, Blob)>, bool) {
    if is_empty(range) {
        return (Vec::new(), false);
    }
    let owned = |(key, value): (&Blob, &Blob)| Ok::<_, Infallible>((key.clone(), value.clone()));
    let found = map.range((range.from.clone(), range.to.clone()));
    let Ok(taken) = if range.reverse {
        range.limit.take(found.rev().map(owned))
    } else {
        range.limit.take(found.map(owned))
    };
    taken
}

/// `BTreeMap::range` panics where the start lies behind the end; a database just finds nothing.
fn is_empty(range: &Range) -> bool {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    match (&range.from, &range.to) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(from), Included(to)) => from > to,
        (Included(from) | Excluded(from), Included(to) | Excluded(to)) => from >= to,
    }
}
