//! The gate as one would say it: the whole history in lists, searched anew for every question.
//!
//! No store, no batches, nothing forgotten. It is told what was put on the log in words of its own and never
//! looks at a record's bytes, except to see whether two are the same.

use crate::logs::{Command, Commit, Content, Event, Reads, Sent};
use jiff::Timestamp;
use refold_domain::commit::Guard;
use refold_domain::hash::Hash;
use refold_domain::receipt::{EventId, Receipt};
use refold_domain::{schema, stream};
use refold_projections::gate::{Duplicate, Place, Void};
use refold_projections::state::{Seen, StreamEntry, Verdict, WriterEntry};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Everything that ever happened in a partition.
pub(crate) struct Model {
    place: Place,
    keys_remembered: u64,
    admitted: Vec<Admitted>,
    moves: Vec<Move>,
    /// The accepted events that can be read, in log order.
    pub(crate) events: Vec<Happened>,
    states: BTreeMap<String, (State, Receipt, u64)>,
    /// Why commits are void, by offset.
    pub(crate) duplicates: BTreeMap<u64, Duplicate>,
    /// Why commands are void, by offset and place.
    pub(crate) voids: BTreeMap<(u64, u32), Void>,
    /// How the commands of each admitted commit were judged.
    pub(crate) verdicts: Vec<(Uuid, u64, Vec<Verdict>)>,
    /// Tallies.
    pub(crate) seen: Seen,
}

struct Admitted {
    writer: Uuid,
    seq: u64,
    bytes: Vec<u8>,
}

struct Move {
    stream: String,
    next: u64,
    receipt: Receipt,
    offset: u64,
    hash: Option<Hash>,
    number: Option<u64>,
}

type State = Option<String>;

/// An event that counts.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) id: EventId,
    pub(crate) time: Timestamp,
    pub(crate) event: Event,
}

impl Model {
    pub(crate) fn new(place: Place, keys_remembered: u64) -> Self {
        Self {
            place,
            keys_remembered,
            admitted: Vec::new(),
            moves: Vec::new(),
            events: Vec::new(),
            states: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            voids: BTreeMap::new(),
            verdicts: Vec::new(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn pass(&mut self, sent: &Sent) {
        match &sent.content {
            Content::Opening => {}
            Content::Stray => self.seen.foreign += 1,
            Content::Commit(commit) => match self.duplicate(commit, &sent.bytes) {
                Some(duplicate) => {
                    self.seen.duplicates += 1;
                    self.seen.forks += u64::from(duplicate == Duplicate::Fork);
                    self.duplicates.insert(sent.offset, duplicate);
                }
                None => self.admit(sent.offset, commit, &sent.bytes),
            },
        }
    }

    /// The highest number of a writer that was admitted, 0 if none was.
    pub(crate) fn last(&self, writer: Uuid) -> u64 {
        self.numbers(writer).into_iter().max().unwrap_or(0)
    }

    fn numbers(&self, writer: Uuid) -> Vec<u64> {
        self.admitted.iter().filter(|it| it.writer == writer).map(|it| it.seq).collect()
    }

    fn duplicate(&self, commit: &Commit, bytes: &[u8]) -> Option<Duplicate> {
        let last = self.last(commit.writer);
        if commit.seq > last {
            return None;
        }
        let same = |it: &&Admitted| it.writer == commit.writer && it.seq == commit.seq;
        Some(match self.admitted.iter().find(same) {
            None if commit.seq == 0 => Duplicate::Repeated,
            None => Duplicate::Late,
            Some(first) if commit.seq == last && first.bytes != bytes => Duplicate::Fork,
            Some(_) => Duplicate::Repeated,
        })
    }

    fn admit(&mut self, offset: u64, commit: &Commit, bytes: &[u8]) {
        self.seen.commits += 1;
        self.seen.gaps += u64::from(commit.seq != self.last(commit.writer) + 1);
        let (writer, seq) = (commit.writer, commit.seq);
        self.admitted.push(Admitted { writer, seq, bytes: bytes.to_vec() });
        let mut verdicts = Vec::new();
        for (index, command) in (0..).zip(&commit.commands) {
            let receipt = Receipt { partition: self.place.partition, writer, seq, command: index };
            match self.void(command) {
                Some(void) => {
                    self.seen.voids += 1;
                    self.voids.insert((offset, index), void);
                    verdicts.push(Verdict::Void);
                }
                None => {
                    self.accept(offset, receipt, commit.time, command);
                    verdicts.push(Verdict::Accepted);
                }
            }
        }
        self.verdicts.push((writer, seq, verdicts));
    }

    fn void(&self, command: &Command) -> Option<Void> {
        let mut names: Vec<_> = command.guards.iter().map(|guard| guard.stream.clone()).collect();
        names.sort();
        names.dedup();
        if names.len() < command.guards.len() || command.guards.iter().any(|it| it.next <= it.expected) {
            return Some(Void::Malformed);
        }
        if names.iter().any(|name| stream::partition(name, self.place.partitions) != self.place.partition) {
            return Some(Void::Misrouted);
        }
        let fails = |guard: &&Guard| self.at(&guard.stream) != guard.expected;
        command.guards.iter().find(fails).map(|Guard { stream, expected, .. }| Void::Guard {
            stream: stream.clone(),
            expected: *expected,
            at: self.at(stream),
        })
    }

    /// Where a stream stands, as far as it is remembered.
    pub(crate) fn at(&self, stream: &str) -> u64 {
        self.last_move(stream).map_or(0, |it| it.next)
    }

    fn last_move(&self, stream: &str) -> Option<&Move> {
        let last = self.moves.iter().rev().find(|it| it.stream == stream)?;
        let is_forgotten = last.number.is_some_and(|it| self.keys() - it >= self.keys_remembered);
        (!is_forgotten).then_some(last)
    }

    /// How many idempotency keys were accepted.
    pub(crate) fn keys(&self) -> u64 {
        self.moves.iter().filter(|it| it.number.is_some()).count() as u64
    }

    fn accept(&mut self, offset: u64, receipt: Receipt, time: Timestamp, command: &Command) {
        self.seen.accepted += 1;
        for Guard { stream, next, .. } in &command.guards {
            let number = stream.starts_with("idem:").then(|| self.keys() + 1);
            let (stream, next, hash) = (stream.clone(), *next, command.hash);
            self.moves.push(Move { stream, next, receipt, offset, hash, number });
        }
        for (index, event) in (0..).zip(&command.events) {
            if matches!(event.reads, Reads::Never | Reads::NotByItsAggregate) {
                self.seen.unreadable += 1;
                continue;
            }
            let happened = Happened { id: EventId { receipt, index }, time, event: event.clone() };
            self.apply(offset, &happened);
            self.events.push(happened);
        }
    }

    fn apply(&mut self, offset: u64, happened: &Happened) {
        let event = &happened.event;
        let Some(aggregate) = &schema::find(&event.kind).unwrap().aggregate else {
            return;
        };
        let stream = format!("{}:{}", aggregate.system, event.key.as_deref().unwrap());
        let before = self.states.get(&stream).and_then(|(state, ..)| state.clone());
        let after = (aggregate.apply)(before.as_deref(), &event.kind, &event.data).unwrap();
        let first = self.states.get(&stream).map_or((happened.id.receipt, offset), |it| (it.1, it.2));
        self.states.insert(stream, (Some(after), first.0, first.1));
    }

    /// What is remembered of each stream.
    pub(crate) fn streams(&self) -> BTreeMap<String, StreamEntry> {
        let mut entries = BTreeMap::new();
        for (stream, (state, first, offset)) in &self.states {
            let Receipt { writer, seq, command, .. } = *first;
            let (at, offset, state) = (0, *offset, state.clone());
            let entry = StreamEntry { at, writer, seq, command, offset, hash: None, number: None, state };
            entries.insert(stream.clone(), entry);
        }
        for name in self.moves.iter().map(|it| &it.stream) {
            let Some(Move { next, receipt, offset, hash, number, .. }) = self.last_move(name) else {
                continue;
            };
            let entry = StreamEntry {
                at: *next,
                writer: receipt.writer,
                seq: receipt.seq,
                command: receipt.command,
                offset: *offset,
                hash: *hash,
                number: *number,
                state: self.states.get(name).and_then(|(state, ..)| state.clone()),
            };
            entries.insert(name.clone(), entry);
        }
        entries
    }

    /// What is remembered of each writer.
    pub(crate) fn writers(&self) -> BTreeMap<Uuid, WriterEntry> {
        let entry = |last: &Admitted| {
            let mut missing = Vec::new();
            let mut before = 0;
            for seq in self.numbers(last.writer) {
                if seq > before + 1 {
                    missing.push((before + 1, seq - 1));
                }
                before = seq;
            }
            (last.writer, WriterEntry { seq: last.seq, hash: Hash::of(&last.bytes), missing })
        };
        self.admitted.iter().map(entry).collect()
    }
}
