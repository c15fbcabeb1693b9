//! What a log means, told as plainly as possible: no batches, no store, everything kept.
//!
//! It shares the format with the product, and nothing of the gate or the views.

use super::log::Change;
use bytes::Bytes;
use refold_domain::commit::{Commit, Guard, Record};
use refold_domain::hash::Hash;
use refold_domain::log::Offset;
use refold_domain::receipt::Receipt;
use refold_domain::rule;
use refold_projections::state::Seen;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The meaning of a log as it stood at some time.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub partitions: Vec<Partition>,
    /// Commits that the broker lost after they were stored.
    pub lost: BTreeSet<(u32, Uuid, u64)>,
    /// Whether the broker lost anything.
    pub has_lost: bool,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub number: u32,
    pub log: Option<Uuid>,
    pub records: Vec<(Offset, Bytes)>,
    /// Every command of every commit that was admitted, in log order.
    pub commands: Vec<Command>,
    pub streams: BTreeMap<String, Stream>,
    pub keys: u64,
    pub seen: Seen,
    writers: BTreeMap<Uuid, Writer>,
}

#[derive(Debug)]
struct Writer {
    last: u64,
    hash: Hash,
    admitted: BTreeSet<u64>,
}

/// Where a stream stands, and which command moved it there.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub at: u64,
    pub receipt: Receipt,
    pub offset: Offset,
    pub hash: Option<Hash>,
    pub number: Option<u64>,
    /// For an introduction: its version, and whether it was withdrawn.
    pub introduction: Option<(u64, bool)>,
}

/// A command on the log.
#[derive(Debug)]
pub(super) struct Command {
    pub receipt: Receipt,
    pub offset: Offset,
    pub trace: String,
    pub hash: Option<Hash>,
    pub counts: bool,
    pub events: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct Event {
    pub kind: String,
    pub key: Option<String>,
    pub data: Json,
    /// As views keep it.
    pub entry: Json,
}

impl Model {
    pub(super) fn new(partitions: u32) -> Self {
        let partition = |number| Partition { number, ..Partition::default() };
        Self { partitions: (0..partitions).map(partition).collect(), lost: BTreeSet::new(), has_lost: false }
    }

    /// Takes in what happened to the log.
    pub(super) fn pass(&mut self, change: &Change) {
        match change {
            Change::Append { partition, offset, bytes } => {
                self.partitions[*partition as usize].pass(*offset, bytes);
            }
            Change::Lose { partition, from } => self.lose(*partition, *from),
        }
    }

    fn lose(&mut self, number: u32, from: Offset) {
        self.has_lost = true;
        let partition = &mut self.partitions[number as usize];
        let records = std::mem::take(&mut partition.records);
        *partition = Partition { number, ..Partition::default() };
        for (offset, bytes) in records {
            if offset < from {
                partition.pass(offset, &bytes);
            } else if let Ok(Record::Commit(commit)) = Record::decode(&bytes) {
                self.lost.insert((number, commit.writer, commit.seq));
            }
        }
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.partitions.iter().flat_map(|partition| &partition.commands)
    }

    /// A view, folded from what counts up to these offsets.
    pub(super) fn view(&self, name: &str, offsets: &[Option<Offset>]) -> Vec<Json> {
        let passed = self.partitions.iter().zip(offsets).flat_map(|(partition, upto)| {
            let has_passed = move |command: &&Command| upto.is_some_and(|upto| command.offset <= upto);
            partition.commands.iter().filter(|command| command.counts).take_while(has_passed)
        });
        let events = passed.flat_map(|command| &command.events);
        match name {
            "food_counts" => counts(events, "food.observed", "food"),
            "introductions" => latest(events),
            "introduction_history" => rows(events, "introduction."),
            "purchases_by_day" => rows(events, "purchase."),
            "revenue_by_day" => by_day(events, |scoop| number(scoop, "quantity") * number(scoop, "price")),
            "scoops_by_day" => by_day(events, |scoop| number(scoop, "quantity")),
            // Nobody in the simulation registers pictures.
            "picture_weights" => Vec::new(),
            "detections" => rows(events, "vehicle."),
            "suspicious_vehicles" => rows(events.filter(|event| event.data["category"] == "SUV"), "vehicle."),
            "vehicles_per_make" => counts(events, "vehicle.detected", "make"),
            other => panic!("the model does not know {other}"),
        }
    }
}

fn counts<'e>(events: impl Iterator<Item = &'e Event>, kind: &str, field: &str) -> Vec<Json> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for event in events.filter(|event| event.kind == kind) {
        *counts.entry(event.data[field].as_str().expect("a text")).or_default() += 1;
    }
    counts.into_iter().map(|(text, count)| json!({field: text, "count": count})).collect()
}

fn latest<'e>(events: impl Iterator<Item = &'e Event>) -> Vec<Json> {
    let mut latest = BTreeMap::new();
    for event in events.filter(|event| event.kind.starts_with("introduction.")) {
        if event.kind == "introduction.withdrawn" {
            latest.remove(&event.key);
        } else {
            latest.insert(&event.key, event.entry.clone());
        }
    }
    latest.into_values().collect()
}

fn rows<'e>(events: impl Iterator<Item = &'e Event>, kinds: &str) -> Vec<Json> {
    events.filter(|event| event.kind.starts_with(kinds)).map(|event| event.entry.clone()).collect()
}

/// What the scoops of each shop, flavour and day come to.
fn by_day<'e>(events: impl Iterator<Item = &'e Event>, amount: impl Fn(&Json) -> u64) -> Vec<Json> {
    let mut sums = BTreeMap::<_, u64>::new();
    for Event { data, .. } in events.filter(|event| event.kind == "purchase.recorded") {
        let text = |value: &Json| value.as_str().expect("a text").to_owned();
        let (shop, time) = (text(&data["shop_id"]), text(&data["timestamp"]));
        let day = time.split('T').next().expect("a day").to_owned();
        for scoop in data["scoops"].as_array().expect("scoops") {
            *sums.entry((shop.clone(), text(&scoop["type"]), day.clone())).or_default() += amount(scoop);
        }
    }
    let line = |((shop, flavour, day), sum)| json!({"shop_id": shop, "type": flavour, "from": format!("{day}T00:00:00Z"), "value": sum});
    sums.into_iter().map(line).collect()
}

fn number(scoop: &Json, name: &str) -> u64 {
    scoop[name].as_u64().expect("a number")
}

impl Partition {
    fn pass(&mut self, offset: Offset, bytes: &Bytes) {
        self.records.push((offset, bytes.clone()));
        match Record::decode(bytes) {
            Ok(Record::Genesis(genesis)) if self.log.is_none() => self.log = Some(genesis.log),
            Ok(Record::Genesis(_)) => {}
            Ok(Record::Ready(ready)) if Some(ready.log) == self.log => {}
            Ok(Record::Commit(commit)) if Some(commit.log) == self.log => self.commit(offset, bytes, &commit),
            _ => self.seen.foreign += 1,
        }
    }

    fn commit(&mut self, offset: Offset, bytes: &Bytes, commit: &Commit<'_>) {
        let hash = Hash::of(bytes);
        let fresh = || Writer { last: 0, hash, admitted: BTreeSet::new() };
        let writer = self.writers.entry(commit.writer).or_insert_with(fresh);
        if commit.seq <= writer.last {
            self.seen.duplicates += 1;
            let is_fork = commit.seq == writer.last && hash != writer.hash;
            self.seen.forks += u64::from(is_fork);
            return;
        }
        self.seen.gaps += u64::from(commit.seq != writer.last + 1);
        self.seen.commits += 1;
        (writer.last, writer.hash) = (commit.seq, hash);
        writer.admitted.insert(commit.seq);
        for (command, index) in commit.commands.iter().zip(0..) {
            let receipt =
                Receipt { partition: self.number, writer: commit.writer, seq: commit.seq, command: index };
            self.command(offset, receipt, &commit.time.to_string(), command);
        }
    }

    fn command(
        &mut self,
        offset: Offset,
        receipt: Receipt,
        time: &str,
        command: &refold_domain::commit::Command<'_>,
    ) {
        let counts = command.guards.iter().all(|guard| self.at(&guard.stream) == guard.expected);
        let events: Vec<_> =
            (0..).zip(&command.events).map(|(i, event)| Event::read(receipt, i, time, event)).collect();
        if counts {
            self.seen.accepted += 1;
            command
                .guards
                .iter()
                .for_each(|guard| self.move_on(offset, receipt, command.hash, guard, &events));
        } else {
            self.seen.voids += 1;
        }
        let trace = command.trace.as_deref().unwrap_or_default().to_owned();
        self.commands.push(Command { receipt, offset, trace, hash: command.hash, counts, events });
    }

    fn move_on(
        &mut self,
        offset: Offset,
        receipt: Receipt,
        hash: Option<Hash>,
        guard: &Guard,
        events: &[Event],
    ) {
        let is_key = guard.stream.starts_with("idem:");
        self.keys += u64::from(is_key);
        let introduction = events.last().filter(|_| guard.stream.starts_with("intro:"));
        let introduction = introduction.map(|event| {
            let version = event.data["version"].as_u64().expect("a version");
            (version, event.kind == "introduction.withdrawn")
        });
        let number = is_key.then_some(self.keys);
        let stream = Stream { at: guard.next, receipt, offset, hash, number, introduction };
        self.streams.insert(guard.stream.clone(), stream);
    }

    fn at(&self, stream: &str) -> u64 {
        self.stream(stream).map_or(0, |stream| stream.at)
    }

    /// A stream, unless it is a key that is too old to be known.
    pub(super) fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name).filter(|stream| self.remembers(stream.number))
    }

    pub(super) fn remembers(&self, number: Option<u64>) -> bool {
        number.is_none_or(|number| self.keys - number < rule::keys_remembered())
    }

    /// The commit's number was passed over and never counts any more.
    pub(super) fn has_passed_over(&self, writer: Uuid, seq: u64) -> bool {
        self.writers.get(&writer).is_some_and(|known| seq < known.last && !known.admitted.contains(&seq))
    }
}

impl Event {
    fn read(receipt: Receipt, index: u32, time: &str, event: &refold_domain::commit::Event<'_>) -> Self {
        let data: Json = serde_json::from_str(event.data.get()).expect("JSON");
        let entry =
            json!({"id": format!("{receipt}.{index}"), "time": time, "type": event.kind, "data": data});
        Self { kind: event.kind.to_string(), key: event.key.as_deref().map(str::to_owned), data, entry }
    }
}
