//! What a store holds, and whether that is what the log means.

use super::model::Partition;
use super::store::at_once;
use refold_projections::catalogue::Projection;
use refold_projections::state::{Head, StreamEntry};
use refold_projections::store::{Blob, Limit, MemoryStore, Range, Space, Store, Wanted};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Everything that a store holds of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dump {
    pub head: Head,
    spaces: BTreeMap<Space, BTreeMap<Blob, Blob>>,
}

impl Dump {
    /// A partition's part of the store, without idempotency keys that are as good as gone and without what
    /// differs each time a state is created.
    pub(super) fn take(store: &MemoryStore, partition: u32, projections: &[Projection]) -> Option<Self> {
        let head = at_once(store.load(partition, Wanted::new())).ok()?.head?;
        let spaces =
            [Space::Writers, Space::Streams, Space::Keys, Space::Voids, Space::Refused, Space::Unreadable];
        let all = spaces.into_iter().chain(projections.iter().map(Projection::space));
        let mut spaces: BTreeMap<_, _> =
            all.map(|space| (space.clone(), scan(store, partition, space))).collect();
        spaces.entry(Space::Streams).and_modify(|streams| {
            streams.retain(|_, entry| is_remembered(entry, &head));
        });
        let streams: Vec<Blob> = spaces[&Space::Streams].keys().cloned().collect();
        spaces.entry(Space::Keys).and_modify(|keys| {
            keys.retain(|number, stream| is_young(number, &head) && streams.contains(stream));
        });
        Some(Self { head, spaces })
    }

    /// Whether two stores tell the same of a partition.
    pub(super) fn same(&self, other: &Self) -> Result<(), String> {
        let told =
            |head: &Head| (head.position, head.genesis, head.keys, head.seen, head.projections.clone());
        if told(&self.head) != told(&other.head) {
            return Err(format!("the heads differ:\n  {:?}\n  {:?}", self.head, other.head));
        }
        for (space, entries) in &self.spaces {
            if entries != &other.spaces[space] {
                let show = |entries: &BTreeMap<Blob, Blob>| {
                    let text = |blob: &Blob| String::from_utf8_lossy(blob).into_owned();
                    entries.iter().map(|(key, value)| (text(key), text(value))).collect::<Vec<_>>()
                };
                let (one, two) = (show(entries), show(&other.spaces[space]));
                return Err(format!("{space} differs:\n  {one:#?}\n  {two:#?}"));
            }
        }
        Ok(())
    }

    /// Whether the partition is remembered as the log means it.
    pub(super) fn follows(&self, partition: &Partition) -> Result<(), String> {
        if self.head.seen != partition.seen {
            let seen = (self.head.seen, partition.seen);
            return Err(format!(
                "partition {}: the tallies differ from the log's: {seen:?}",
                partition.number
            ));
        }
        let mut right: BTreeMap<Blob, _> = BTreeMap::new();
        for (name, stream) in &partition.streams {
            if partition.stream(name).is_some() {
                right.insert(name.clone().into_bytes(), stream);
            }
        }
        let entries = &self.spaces[&Space::Streams];
        if !entries.keys().eq(right.keys()) {
            return Err(format!("other streams than the log's: {entries:?}"));
        }
        for (name, entry) in entries {
            let entry: StreamEntry = serde_json::from_slice(entry).map_err(|error| error.to_string())?;
            let stream = right[name];
            let found = (entry.at, entry.receipt(partition.number), entry.offset, entry.hash, entry.number);
            if found != (stream.at, stream.receipt, stream.offset, stream.hash, stream.number) {
                return Err(format!("a stream stands elsewhere than on the log: {entry:?}, {stream:?}"));
            }
        }
        Ok(())
    }
}

fn scan(store: &MemoryStore, partition: u32, space: Space) -> BTreeMap<Blob, Blob> {
    let range = Range {
        space,
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        reverse: false,
        limit: Limit::entries(usize::MAX),
    };
    at_once(store.scan(partition, range))
        .map(|scanned| scanned.entries.into_iter().collect())
        .unwrap_or_default()
}

fn is_remembered(entry: &[u8], head: &Head) -> bool {
    serde_json::from_slice::<StreamEntry>(entry).is_ok_and(|entry| entry.is_remembered(head.keys))
}

fn is_young(number: &[u8], head: &Head) -> bool {
    let number = number.try_into().map(u64::from_be_bytes).unwrap_or_default();
    number + refold_domain::rule::keys_remembered() > head.keys
}
