//! A batch of records on its way into the store: read, planned, judged, folded.
//!
//! First every event is read once and given the cells that it goes into, so that all keys that the batch needs
//! are known and one read of the store brings them. Then the gate judges command after command, and the events
//! of those that count are folded. What comes out is one [`Flush`].

use crate::catalogue::Projection;
use crate::gate::{Duplicate, Judgement, Memory, Place, Void};
use crate::state::{Broken, Epoch, Head, Mark, StreamEntry, Verdict};
use crate::store::{Blob, Flush, Loaded, Space, Wanted};
use crate::view::{Cell, Event};
use anyhow::Context;
use bytes::Bytes;
use refold_domain::commit::{self, Commit, DecodeError};
use refold_domain::hash::Hash;
use refold_domain::log::Offset;
use refold_domain::receipt::{EventId, Receipt};
use refold_domain::schema::{self, EventType, Unreadable};
use refold_domain::stream;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// A record of the log, read.
#[derive(Debug)]
pub struct Record<'r> {
    mark: Mark,
    content: Content<'r>,
}

#[derive(Debug)]
enum Content<'r> {
    /// A commit, and the data of its events by command.
    Commit(Commit<'r>, Vec<Vec<Result<Data<'r>, String>>>),
    /// Says something about the log, and nothing to a view.
    Ready,
    /// No record of this log.
    Foreign,
}

#[derive(Debug)]
struct Data<'r> {
    kind: &'static EventType,
    text: Cow<'r, str>,
}

/// A batch that knows which keys it needs.
#[derive(Debug)]
pub struct Batch<'d> {
    place: Place,
    records: &'d [Record<'d>],
    projections: &'d [Projection],
    /// By record that is a commit, by command.
    plans: Vec<Vec<Vec<Plan<'d>>>>,
    slots: Slots,
    expired: Vec<(u64, String)>,
}

/// An event and the cells that it goes into, or why it cannot be read.
#[derive(Debug)]
enum Plan<'d> {
    Fold { event: Event<'d>, aggregate: Option<String>, slots: Vec<usize> },
    Skip(EventId, Cow<'d, str>),
}

/// The cells of a batch, each once.
#[derive(Debug, Default)]
struct Slots {
    places: HashMap<(usize, Blob), usize>,
    keys: Vec<(usize, Blob)>,
}

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

/// Reads records; where one is too new for this binary, those before it and why it cannot go on.
pub fn read(log: Uuid, records: &[(Offset, Bytes)]) -> (Vec<Record<'_>>, Option<String>) {
    let mut read = Vec::with_capacity(records.len());
    for (offset, bytes) in records {
        match Content::read(log, bytes) {
            Ok(content) => {
                let mark = Mark { offset: *offset, hash: Hash::of(bytes) };
                read.push(Record { mark, content });
            }
            Err(newer) => return (read, Some(format!("at offset {offset}: {newer}"))),
        }
    }
    (read, None)
}

/// How many commands these records hold.
pub fn commands(records: &[Record<'_>]) -> usize {
    let count = |record: &Record<'_>| match &record.content {
        Content::Commit(commit, _) => commit.commands.len(),
        Content::Ready | Content::Foreign => 0,
    };
    records.iter().map(count).sum()
}

impl<'r> Content<'r> {
    fn read(log: Uuid, bytes: &'r [u8]) -> Result<Self, String> {
        match commit::Record::decode(bytes) {
            Ok(commit::Record::Commit(commit)) => {
                let by_command = |command: &commit::Command<'r>| command.events.iter().map(data).collect();
                let events = commit.commands.iter().map(by_command).collect::<Result<_, Unreadable>>();
                Ok(Self::Commit(commit, events.map_err(|newer| newer.to_string())?))
            }
            Ok(commit::Record::Ready(ready)) if ready.log == log => Ok(Self::Ready),
            Err(DecodeError::Newer { log: of, .. }) if of != log => Ok(Self::Foreign),
            Err(newer @ DecodeError::Newer { .. }) => Err(newer.to_string()),
            // A genesis that is not a partition's first record is void.
            Ok(_) | Err(DecodeError::Foreign(_)) => Ok(Self::Foreign),
        }
    }
}

fn data<'r>(event: &commit::Event<'r>) -> Result<Result<Data<'r>, String>, Unreadable> {
    let Some(kind) = schema::find(&event.kind) else {
        return Ok(Err(format!("unknown event type {:?}", event.kind)));
    };
    match kind.current(event.v, event.data) {
        Ok(text) => Ok(Ok(Data { kind, text })),
        Err(Unreadable::Malformed(reason)) => Ok(Err(reason)),
        Err(newer) => Err(newer),
    }
}

impl<'d> Batch<'d> {
    /// Plans where each event goes on top of `head`. `expired` are idempotency keys that are old enough to be
    /// swept away.
    pub fn plan(
        place: Place,
        head: &Head,
        projections: &'d [Projection],
        records: &'d [Record<'d>],
        expired: Vec<(u64, String)>,
    ) -> Self {
        let live = projections.iter().enumerate();
        let live: Vec<_> = live.filter(|(_, projection)| head.is_live(&projection.definition.name)).collect();
        let mut slots = Slots::default();
        let plans = records.iter().map(|record| match &record.content {
            Content::Commit(commit, events) => plan_commit(place, &live, &mut slots, commit, events),
            Content::Ready | Content::Foreign => Vec::new(),
        });
        let plans = plans.collect();
        Self { place, records, projections, plans, slots, expired }
    }

    /// The keys that judging and folding the batch need.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::new();
        let mut want = |space, key| wanted.entry(space).or_default().push(key);
        for (record, plans) in self.records.iter().zip(&self.plans) {
            let Content::Commit(commit, _) = &record.content else {
                continue;
            };
            want(Space::Writers, commit.writer.as_bytes().to_vec());
            let guards = commit.commands.iter().flat_map(|command| &command.guards);
            guards.for_each(|guard| want(Space::Streams, guard.stream.as_bytes().to_vec()));
            let aggregates = plans.iter().flatten().filter_map(Plan::aggregate);
            aggregates.for_each(|stream| want(Space::Streams, stream.as_bytes().to_vec()));
        }
        self.expired.iter().for_each(|(_, stream)| want(Space::Streams, stream.as_bytes().to_vec()));
        for (projection, key) in &self.slots.keys {
            let projection = &self.projections[*projection];
            if projection.view.reads_before() {
                want(projection.space(), key.clone());
            }
        }
        for keys in wanted.values_mut() {
            keys.sort_unstable();
            keys.dedup();
        }
        wanted
    }

    /// Judges and folds the batch on top of `head`, with what was loaded of the keys that it wanted.
    ///
    /// # Errors
    /// Where the store holds what cannot be read. A projection that cannot fold an event is no error: it leaves
    /// the live set.
    pub fn fold(&self, head: &Head, loaded: &Loaded) -> anyhow::Result<Folded> {
        let memory = Memory::read(loaded, head.keys)?;
        let cells = Cells::new(self, loaded);
        let flush = Flush { from: Some(head.version()), head: head.clone(), changes: BTreeMap::new() };
        let mut folding = Folding { batch: self, memory, cells, flush, news: Vec::new() };
        for (record, plans) in self.records.iter().zip(&self.plans) {
            folding.record(record, plans);
        }
        Ok(folding.finish(head))
    }
}

fn plan_commit<'d>(
    place: Place,
    live: &[(usize, &Projection)],
    slots: &mut Slots,
    commit: &'d Commit<'d>,
    events: &'d [Vec<Result<Data<'d>, String>>],
) -> Vec<Vec<Plan<'d>>> {
    let mut planned = Vec::with_capacity(events.len());
    for (command, (on_wire, read)) in (0..).zip(commit.commands.iter().zip(events)) {
        let receipt = Receipt { partition: place.partition, writer: commit.writer, seq: commit.seq, command };
        let mut plans = Vec::with_capacity(read.len());
        for (index, (event, data)) in (0..).zip(on_wire.events.iter().zip(read)) {
            let id = EventId { receipt, index };
            plans.push(match data {
                Ok(data) => Plan::new(live, slots, id, commit, event.key.as_deref(), data),
                Err(reason) => Plan::Skip(id, Cow::Borrowed(reason)),
            });
        }
        planned.push(plans);
    }
    planned
}

impl<'d> Plan<'d> {
    fn new(
        live: &[(usize, &Projection)],
        slots: &mut Slots,
        id: EventId,
        commit: &Commit<'_>,
        key: Option<&'d str>,
        data: &'d Data<'d>,
    ) -> Self {
        let kind = data.kind;
        let values = match kind.read(&data.text) {
            Ok(values) => values,
            Err(unreadable) => return Self::Skip(id, Cow::Owned(unreadable.to_string())),
        };
        let aggregate = match (&kind.aggregate, key) {
            (None, _) => None,
            (Some(aggregate), Some(key)) => Some(stream::name(aggregate.system, key)),
            (Some(_), None) => return Self::Skip(id, Cow::Borrowed("it has no key")),
        };
        let event = Event { id, time: commit.time, kind, key, data: &data.text, values };
        let mut places = Vec::new();
        for (index, projection) in live {
            if projection.takes(kind, &event.values) {
                places.extend(projection.view.key(&event).map(|key| slots.place(*index, key)));
            }
        }
        Self::Fold { event, aggregate, slots: places }
    }

    fn aggregate(&self) -> Option<&str> {
        match self {
            Self::Fold { aggregate, .. } => aggregate.as_deref(),
            Self::Skip(..) => None,
        }
    }
}

impl Slots {
    fn place(&mut self, projection: usize, key: Blob) -> usize {
        let next = self.keys.len();
        let place = *self.places.entry((projection, key.clone())).or_insert(next);
        if place == next {
            self.keys.push((projection, key));
        }
        place
    }
}

impl Memory {
    fn read(loaded: &Loaded, keys: u64) -> anyhow::Result<Self> {
        let mut memory = Self { keys, ..Self::default() };
        for (key, value) in loaded.values.get(&Space::Writers).into_iter().flatten() {
            let writer = Uuid::from_slice(key).context("the store holds a writer without an id")?;
            memory.writers.insert(writer, parse(value)?);
        }
        for (key, value) in loaded.values.get(&Space::Streams).into_iter().flatten() {
            memory.streams.insert(String::from_utf8(key.clone())?, parse(value)?);
        }
        Ok(memory)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(value).context("the store holds an entry that cannot be read")
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

    fn fold(&mut self, slot: usize, event: &Event<'_>) {
        let (projection, _) = self.batch.slots.keys[slot];
        if self.broken[projection].is_some() {
            return;
        }
        if let Err(error) = self.try_fold(slot, event) {
            self.broken[projection] = Some((event.id, format!("{error:#}")));
        }
    }

    fn try_fold(&mut self, slot: usize, event: &Event<'_>) -> anyhow::Result<()> {
        if let Some(cell) = &mut self.open[slot] {
            return cell.fold(event);
        }
        let (projection, key) = &self.batch.slots.keys[slot];
        let projection = &self.batch.projections[*projection];
        let mut cell = projection.view.open(self.loaded.value(&projection.space(), key))?;
        cell.fold(event)?;
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
            Content::Ready => {}
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
            match plan {
                Plan::Fold { event, aggregate, slots } => {
                    slots.iter().for_each(|slot| self.cells.fold(*slot, event));
                    if let Some(stream) = aggregate {
                        self.apply(offset, commit, command, stream, event);
                    }
                }
                Plan::Skip(id, reason) => self.skip(offset, id, reason),
            }
        }
    }

    fn void(&mut self, offset: Offset, commit: &Commit<'_>, command: u32, void: &Void) {
        self.flush.head.seen.voids += 1;
        let mut place = offset.to_be_bytes().to_vec();
        place.extend_from_slice(&command.to_be_bytes());
        self.flush.put(Space::Voids, place, Some(json(void)));
        self.flush.put(Space::Refused, refused_key(commit.writer, commit.seq, command), Some(json(void)));
    }

    /// Brings an aggregate's decision state forward.
    fn apply(&mut self, offset: Offset, commit: &Commit<'_>, command: u32, stream: &str, event: &Event<'_>) {
        let Some(aggregate) = &event.kind.aggregate else {
            return;
        };
        let before = self.memory.streams.get(stream);
        match (aggregate.apply)(before.and_then(|entry| entry.state.as_deref()), event.kind.name, event.data)
        {
            Ok(state) => {
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
                self.memory.streams.entry(stream.to_owned()).or_insert_with(unguarded).state = Some(state);
                self.memory.changed_streams.insert(stream.to_owned());
            }
            Err(reason) => self.skip(offset, &event.id, &reason),
        }
    }

    fn skip(&mut self, offset: Offset, id: &EventId, reason: &str) {
        self.flush.head.seen.unreadable += 1;
        let mut place = offset.to_be_bytes().to_vec();
        place.extend_from_slice(&id.receipt.command.to_be_bytes());
        place.extend_from_slice(&id.index.to_be_bytes());
        let why = serde_json::json!({ "event": id.to_string(), "reason": reason });
        self.flush.put(Space::Unreadable, place, Some(json(&why)));
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
