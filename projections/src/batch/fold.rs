//! Judges a batch and folds what counts, on top of what the store held.

use super::read::{Content, Record};
use super::{Batch, Change, Plan};
use crate::gate::{Duplicate, Judgement, Memory, Void};
use crate::state::{Broken, Epoch, Head, Mark, Skipped, StreamEntry, Verdict};
use crate::store::damage::Damaged;
use crate::store::{Blob, Flush, Loaded, Space};
use crate::view::{Cell, Event, Item};
use anyhow::Context;
use refold_domain::commit::Commit;
use refold_domain::log::Offset;
use refold_domain::receipt::EventId;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a batch came to.
#[derive(Debug)]
pub struct Folded {
    /// The one step that stores it.
    pub flush: Flush,
    /// Each admitted commit, and how its commands were judged.
    pub news: Vec<News>,
}

/// An admitted commit, and how its commands were judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Its writer.
    pub writer: Uuid,
    /// Its number.
    pub seq: u64,
    /// A verdict for each command.
    pub verdicts: Arc<[Verdict]>,
}

/// Judges and folds a batch on top of `head`, with what was loaded of the keys that it wanted.
pub(super) fn fold(batch: &Batch<'_>, head: &Head, loaded: &Loaded) -> anyhow::Result<Folded> {
    let memory = Memory::read(loaded, head.keys)?;
    let cells = Cells::new(batch, loaded);
    let flush = Flush { from: Some(head.version()), head: head.clone(), changes: BTreeMap::new() };
    let mut folding = Folding { batch, memory, cells, flush, news: Vec::new() };
    for (record, plans) in batch.records.iter().zip(&batch.plans) {
        folding.record(record, plans);
    }
    Ok(folding.finish(head))
}

impl Memory {
    fn read(loaded: &Loaded, keys: u64) -> anyhow::Result<Self> {
        let mut memory = Self { keys, ..Self::default() };
        for (key, value) in loaded.values.get(&Space::Writers).into_iter().flatten() {
            let writer = Uuid::from_slice(key).context(Damaged("a writer has no id"))?;
            memory.writers.insert(writer, parse(value)?);
        }
        for (key, value) in loaded.values.get(&Space::Streams).into_iter().flatten() {
            memory.streams.insert(String::from_utf8(key.clone())?, parse(value)?);
        }
        Ok(memory)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(value).context(Damaged("an entry cannot be read"))
}

/// The cells that a batch has opened, and the projections that broke on the way.
struct Cells<'b> {
    batch: &'b Batch<'b>,
    loaded: &'b Loaded,
    open: Vec<Option<Box<dyn Cell>>>,
    /// By projection: the event that broke it, and why.
    broken: Vec<Option<(EventId, String)>>,
}

impl<'b> Cells<'b> {
    fn new(batch: &'b Batch<'b>, loaded: &'b Loaded) -> Self {
        let open = batch.slots.keys.iter().map(|_| None).collect();
        let broken = batch.projections.iter().map(|_| None).collect();
        Self { batch, loaded, open, broken }
    }

    fn fold(&mut self, slot: usize, item: &Item<'_, '_>) {
        let (projection, _) = self.batch.slots.keys[slot];
        if self.broken[projection].is_some() {
            return;
        }
        if let Err(error) = self.try_fold(slot, item) {
            self.broken[projection] = Some((item.event.id, format!("{error:#}")));
        }
    }

    fn try_fold(&mut self, slot: usize, item: &Item<'_, '_>) -> anyhow::Result<()> {
        if let Some(cell) = &mut self.open[slot] {
            return cell.fold(item);
        }
        let (projection, key) = &self.batch.slots.keys[slot];
        let projection = &self.batch.projections[*projection];
        let mut cell = projection.view.open(self.loaded.value(&projection.space(), key))?;
        cell.fold(item)?;
        self.open[slot] = Some(cell);
        Ok(())
    }
}

/// A batch being judged and folded.
struct Folding<'b> {
    batch: &'b Batch<'b>,
    memory: Memory,
    cells: Cells<'b>,
    flush: Flush,
    news: Vec<News>,
}

impl<'b> Folding<'b> {
    fn record(&mut self, record: &'b Record<'b>, plans: &'b [Vec<Plan<'b>>]) {
        match &record.content {
            Content::Commit(commit, _) => self.commit(record.mark, commit, plans),
            Content::Foreign => self.flush.head.seen.foreign += 1,
            Content::Opening => {}
        }
        self.flush.head.position = record.mark;
    }

    fn commit(&mut self, mark: Mark, commit: &Commit<'_>, plans: &'b [Vec<Plan<'b>>]) {
        let seen = &mut self.flush.head.seen;
        match self.batch.place.judge(&mut self.memory, mark.offset, mark.hash, commit) {
            Judgement::OtherLog => seen.foreign += 1,
            Judgement::Duplicate(kind) => {
                seen.duplicates += 1;
                seen.forks += u64::from(kind == Duplicate::Fork);
                self.flush.put(Space::Voids, mark.offset.to_be_bytes().to_vec(), Some(json(&kind)));
            }
            Judgement::Admitted { gap, verdicts } => {
                seen.commits += 1;
                seen.gaps += u64::from(gap.is_some());
                self.admitted(mark.offset, commit, &verdicts, plans);
            }
        }
    }

    fn admitted(
        &mut self,
        offset: Offset,
        commit: &Commit<'_>,
        verdicts: &[Result<(), Void>],
        plans: &'b [Vec<Plan<'b>>],
    ) {
        for (command, (verdict, plans)) in (0..).zip(verdicts.iter().zip(plans)) {
            match verdict {
                Ok(()) => self.accepted(offset, commit, command, plans),
                Err(void) => self.void(offset, commit, command, void),
            }
        }
        let verdict = |verdict: &Result<(), Void>| match verdict {
            Ok(()) => Verdict::Accepted,
            Err(_) => Verdict::Void,
        };
        let verdicts = verdicts.iter().map(verdict).collect();
        self.news.push(News { writer: commit.writer, seq: commit.seq, verdicts });
    }

    fn accepted(&mut self, offset: Offset, commit: &Commit<'_>, command: u32, plans: &'b [Plan<'b>]) {
        self.flush.head.seen.accepted += 1;
        for plan in plans {
            let outcome = match plan {
                Plan::Fold { event, aggregate, items } => {
                    let applied = self.apply(offset, commit, command, aggregate.as_ref(), event);
                    let mut fold = |(slot, element): &(usize, usize)| {
                        self.cells.fold(*slot, &Item { event, element: *element });
                    };
                    applied.map(|()| items.iter().for_each(&mut fold)).map_err(|why| (&event.id, why))
                }
                Plan::Skip(id, reason) => Err((id, reason.to_string())),
            };
            if let Err((id, reason)) = outcome {
                self.skip(offset, id, &reason);
            }
        }
    }

    /// Keeps why a command is void under its place on the log, and by its receipt that it is.
    fn void(&mut self, offset: Offset, commit: &Commit<'_>, command: u32, void: &Void) {
        self.flush.head.seen.voids += 1;
        let mut place = offset.to_be_bytes().to_vec();
        place.extend_from_slice(&command.to_be_bytes());
        self.flush.put(Space::Voids, place, Some(json(void)));
        self.flush.put(Space::Refused, refused_key(commit.writer, commit.seq, command), Some(Blob::new()));
    }

    /// Brings the decision state of the event's aggregate forward, if it has one.
    fn apply(
        &mut self,
        offset: Offset,
        commit: &Commit<'_>,
        command: u32,
        change: Option<&Change<'_>>,
        event: &Event<'_>,
    ) -> Result<(), String> {
        let (Some(Change { stream, whole }), Some(aggregate)) = (change, &event.kind.aggregate) else {
            return Ok(());
        };
        let before = self.memory.streams.get(stream.as_str()).and_then(|entry| entry.state.as_deref());
        let state = (aggregate.apply)(before, event.kind.name, whole)?;
        let unguarded = || StreamEntry {
            at: 0,
            writer: commit.writer,
            seq: commit.seq,
            command,
            offset,
            hash: None,
            number: None,
            state: None,
        };
        self.memory.streams.entry(stream.clone()).or_insert_with(unguarded).state = Some(state);
        self.memory.changed_streams.insert(stream.clone());
        Ok(())
    }

    fn skip(&mut self, offset: Offset, id: &EventId, reason: &str) {
        self.flush.head.seen.unreadable += 1;
        let mut place = offset.to_be_bytes().to_vec();
        place.extend_from_slice(&id.receipt.command.to_be_bytes());
        place.extend_from_slice(&id.index.to_be_bytes());
        let skipped = Skipped { event: id.to_string(), reason: reason.to_owned() };
        self.flush.put(Space::Unreadable, place, Some(json(&skipped)));
    }

    fn finish(mut self, head: &Head) -> Folded {
        self.remember();
        self.sweep();
        self.close(head);
        Folded { flush: self.flush, news: self.news }
    }

    fn remember(&mut self) {
        for writer in &self.memory.changed_writers {
            let entry = json(&self.memory.writers[writer]);
            self.flush.put(Space::Writers, writer.as_bytes().to_vec(), Some(entry));
        }
        for stream in &self.memory.changed_streams {
            let entry = json(&self.memory.streams[stream]);
            self.flush.put(Space::Streams, stream.as_bytes().to_vec(), Some(entry));
        }
        for (number, stream) in &self.memory.numbered {
            self.flush.put(Space::Keys, number.to_be_bytes().to_vec(), Some(stream.as_bytes().to_vec()));
        }
        self.flush.head.keys = self.memory.keys;
    }

    /// Deletes idempotency keys that are absent already by their number, unless they were accepted anew.
    fn sweep(&mut self) {
        for (number, stream) in &self.batch.expired {
            let is_same = |entry: &StreamEntry| entry.number == Some(*number);
            if self.memory.streams.get(stream).is_some_and(is_same) {
                self.flush.put(Space::Streams, stream.as_bytes().to_vec(), None);
            }
            self.flush.put(Space::Keys, number.to_be_bytes().to_vec(), None);
            self.flush.head.swept = *number;
        }
    }

    /// Writes the cells of the projections that hold, and takes those that broke out of the live set.
    fn close(&mut self, head: &Head) {
        let opened = std::mem::take(&mut self.cells.open);
        for ((projection, key), cell) in self.batch.slots.keys.iter().zip(opened) {
            let holds = self.cells.broken[*projection].is_none();
            if let (true, Some(cell)) = (holds, cell) {
                let space = self.batch.projections[*projection].space();
                self.flush.put(space, key.clone(), cell.close());
            }
        }
        for (projection, broken) in self.batch.projections.iter().zip(&mut self.cells.broken) {
            let Some((event, reason)) = broken.take() else {
                continue;
            };
            let broken = Broken { position: head.position, event: event.to_string(), reason };
            let live = self.flush.head.projections.get_mut(&projection.definition.name);
            live.expect("a batch folds only what its head says is live").broken = Some(broken);
            self.flush.head.epoch = Epoch::random();
        }
    }
}

/// The key under which a void command is found by its receipt.
pub fn refused_key(writer: Uuid, seq: u64, command: u32) -> Blob {
    let mut key = writer.as_bytes().to_vec();
    key.extend_from_slice(&seq.to_be_bytes());
    key.extend_from_slice(&command.to_be_bytes());
    key
}

fn json(value: &impl serde::Serialize) -> Blob {
    serde_json::to_vec(value).expect("an entry serialises to JSON")
}
