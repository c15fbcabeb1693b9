//! Drives records through gate, views and store as the projector does, but in batches of the test's choice.

use bytes::Bytes;
use refold_domain::hash::Hash;
use refold_domain::rule;
use refold_projections::batch::{self, Batch, News};
use refold_projections::catalogue::Projection;
use refold_projections::definition::Definition;
use refold_projections::gate::Place;
use refold_projections::state::{Head, Mark};
use refold_projections::store::{Blob, Flush, Flushed, Limit, Range, Space, Store};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// One partition of a store, folded by hand.
pub(crate) struct Driver<'s> {
    pub(crate) place: Place,
    pub(crate) store: &'s dyn Store,
    pub(crate) projections: &'s [Projection],
    pub(crate) head: Head,
    pub(crate) news: Vec<News>,
}

/// These definitions in their first generation.
pub(crate) fn projections(definitions: Vec<Definition>) -> Vec<Projection> {
    definitions.into_iter().map(|definition| Projection::new(definition, 1)).collect()
}

/// A head that stands at its genesis.
pub(crate) fn first_head(place: Place, genesis: Mark, projections: &[Projection]) -> Head {
    Head::first(place.log, genesis, genesis.offset, projections.iter().map(Projection::live).collect())
}

impl<'s> Driver<'s> {
    pub(crate) async fn start(
        place: Place,
        genesis: (u64, &[u8]),
        store: &'s dyn Store,
        projections: &'s [Projection],
    ) -> Self {
        let genesis = Mark { offset: genesis.0, hash: Hash::of(genesis.1) };
        let head = first_head(place, genesis, projections);
        let flush = Flush { from: None, head: head.clone(), changes: BTreeMap::new() };
        assert_eq!(store.flush(place.partition, Arc::new(flush)).await.unwrap(), Flushed::Done);
        Self { place, store, projections, head, news: Vec::new() }
    }

    /// Folds one batch; `sweep` says whether old keys are taken away with it.
    pub(crate) async fn fold(&mut self, records: &[(u64, Bytes)], sweep: bool) {
        let (read, too_new) = batch::read(self.place.log, records);
        assert_eq!(too_new, None);
        let expired = if sweep { self.expired().await } else { Vec::new() };
        let batch = Batch::plan(self.place, &self.head, self.projections, &read, expired);
        let loaded = self.store.load(self.place.partition, batch.wanted()).await.unwrap();
        assert_eq!(loaded.head.as_ref(), Some(&self.head));
        let folded = batch.fold(&self.head, &loaded).unwrap();
        self.head = folded.flush.head.clone();
        self.news.extend(folded.news);
        let flushed = self.store.flush(self.place.partition, Arc::new(folded.flush)).await;
        assert_eq!(flushed.unwrap(), Flushed::Done);
    }

    /// Folds records in batches of these sizes, the last of which repeats.
    pub(crate) async fn fold_in(&mut self, mut records: &[(u64, Bytes)], split: &[(usize, bool)]) {
        let mut sizes = split.iter().chain(std::iter::repeat(split.last().unwrap()));
        while let (false, Some((size, sweep))) = (records.is_empty(), sizes.next()) {
            let (batch, rest) = records.split_at((*size).clamp(1, records.len()));
            self.fold(batch, *sweep).await;
            records = rest;
        }
    }

    async fn expired(&self) -> Vec<(u64, String)> {
        let last = self.head.keys.saturating_sub(rule::keys_remembered());
        let range = Range {
            space: Space::Keys,
            from: Bound::Excluded(self.head.swept.to_be_bytes().to_vec()),
            to: Bound::Included(last.to_be_bytes().to_vec()),
            reverse: false,
            limit: Limit::entries(3),
        };
        let entries = self.store.scan(self.place.partition, range).await.unwrap().entries;
        let key = |(number, stream): (Blob, Blob)| {
            (u64::from_be_bytes(number.try_into().unwrap()), String::from_utf8(stream).unwrap())
        };
        entries.into_iter().map(key).collect()
    }
}

/// Everything in a space.
pub(crate) async fn space(store: &dyn Store, partition: u32, space: Space) -> BTreeMap<Blob, Blob> {
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    let range = Range { space, from, to, reverse: false, limit: Limit::entries(usize::MAX) };
    store.scan(partition, range).await.unwrap().entries.into_iter().collect()
}

/// Everything that a store holds of a partition, by the space's name.
pub(crate) async fn dump(
    store: &dyn Store,
    partition: u32,
    projections: &[Projection],
) -> BTreeMap<String, BTreeMap<Blob, Blob>> {
    let own = [Space::Writers, Space::Streams, Space::Keys, Space::Voids, Space::Refused, Space::Unreadable];
    let mut held = BTreeMap::new();
    for of in own.into_iter().chain(projections.iter().map(Projection::space)) {
        held.insert(of.to_string(), space(store, partition, of).await);
    }
    held
}
