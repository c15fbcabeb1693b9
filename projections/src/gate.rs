//! The one place that decides, in log order, what counts.
//!
//! Pure, synchronous and deterministic: the same log gives the same verdicts on every machine, at any time, in
//! batches of any size. All it needs of the past is what it remembers of the writers and streams that a commit
//! names; the projector hands it these as [`Memory`].

use crate::state::{StreamEntry, WriterEntry};
use refold_domain::commit::{Command, Commit, Guard};
use refold_domain::hash::Hash;
use refold_domain::log::Offset;
use refold_domain::rule::{self, Rule};
use refold_domain::stream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// Which partition of which log is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The log's id.
    pub log: Uuid,
    /// How many partitions the log has.
    pub partitions: u32,
    /// The partition.
    pub partition: u32,
}

/// What is remembered of the writers and streams that a batch names, and what judging it has changed.
#[derive(Debug, Default)]
pub struct Memory {
    /// By writer's id; one that is not here was never seen.
    pub writers: BTreeMap<Uuid, WriterEntry>,
    /// By name; one that is not here was never moved.
    pub streams: BTreeMap<String, StreamEntry>,
    /// How many idempotency keys were accepted.
    pub keys: u64,
    /// The writers that changed.
    pub changed_writers: BTreeSet<Uuid>,
    /// The streams that changed.
    pub changed_streams: BTreeSet<String>,
    /// The keys that were given numbers.
    pub numbered: Vec<(u64, String)>,
}

/// How a commit is judged.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was written for another log: void.
    OtherLog,
    /// Its writer went past this number before: void.
    Duplicate(Duplicate),
    /// It counts, command by command.
    Admitted {
        /// Numbers that the writer used before this one and that never came: the broker lost acknowledged commits.
        gap: Option<(u64, u64)>,
        /// A verdict for each command.
        verdicts: Vec<Result<(), Void>>,
    },
}

/// What kind of duplicate a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicate {
    /// Stored again by a retry.
    Repeated,
    /// Not the bytes that were judged under this number: two writers share an id.
    Fork,
    /// It was given up as lost, and comes late.
    Late,
}

/// Why a command is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Void {
    /// The stream of a guard stands elsewhere.
    Guard {
        /// The stream.
        stream: String,
        /// Where the command wanted it.
        expected: u64,
        /// Where it stands.
        at: u64,
    },
    /// A stream is named twice, or a guard does not move it forward.
    Malformed,
    /// A stream lives in another partition.
    Misrouted,
}

impl Place {
    /// Judges a commit, whose record stands at `offset` and has this `hash`.
    pub fn judge(&self, memory: &mut Memory, offset: Offset, hash: Hash, commit: &Commit<'_>) -> Judgement {
        if commit.log != self.log && rule::holds(Rule::OtherLogsAreVoid) {
            return Judgement::OtherLog;
        }
        let gap = match memory.admit(commit, hash) {
            Ok(gap) => gap,
            Err(duplicate) => return Judgement::Duplicate(duplicate),
        };
        let verdicts = commit.commands.iter().zip(0..).map(|(command, index)| {
            self.check(memory, command)?;
            memory.accept(offset, commit, index, command);
            Ok(())
        });
        Judgement::Admitted { gap, verdicts: verdicts.collect() }
    }

    fn check(&self, memory: &Memory, command: &Command<'_>) -> Result<(), Void> {
        let mut named = HashSet::new();
        if command.guards.iter().any(|guard| guard.next <= guard.expected || !named.insert(&guard.stream)) {
            return Err(Void::Malformed);
        }
        let elsewhere = |guard: &Guard| stream::partition(&guard.stream, self.partitions) != self.partition;
        if command.guards.iter().any(elsewhere) {
            return Err(Void::Misrouted);
        }
        command.guards.iter().try_for_each(|guard| memory.allows(guard))
    }
}

impl Memory {
    /// Whether the commit's number is its writer's next one, and which numbers it left out.
    fn admit(&mut self, commit: &Commit<'_>, hash: Hash) -> Result<Option<(u64, u64)>, Duplicate> {
        let seen = self.writers.get(&commit.writer);
        let last = seen.map_or(0, |entry| entry.seq);
        if commit.seq <= last && rule::holds(Rule::DuplicatesAreVoid) {
            let duplicate = seen.map_or(Duplicate::Repeated, |entry| entry.duplicate(commit.seq, hash));
            if duplicate != Duplicate::Late || rule::holds(Rule::LateIsVoid) {
                return Err(duplicate);
            }
        }
        let gap = (commit.seq > last.saturating_add(1)).then(|| (last + 1, commit.seq - 1));
        let mut missing = seen.map(|entry| entry.missing.clone()).unwrap_or_default();
        missing.extend(gap);
        let entry = WriterEntry { seq: commit.seq.max(last), hash, missing };
        self.writers.insert(commit.writer, entry);
        self.changed_writers.insert(commit.writer);
        Ok(gap)
    }

    fn allows(&self, guard: &Guard) -> Result<(), Void> {
        let at = self.stream(&guard.stream).map_or(0, |entry| entry.at);
        if at == guard.expected || !rule::holds(Rule::GuardsMustHold) {
            return Ok(());
        }
        Err(Void::Guard { stream: guard.stream.clone(), expected: guard.expected, at })
    }

    /// What is remembered of a stream; an idempotency key that is too old is not.
    pub fn stream(&self, name: &str) -> Option<&StreamEntry> {
        let entry = self.streams.get(name)?;
        let counts = entry.is_remembered(self.keys) || !rule::holds(Rule::OldKeysAreAbsent);
        counts.then_some(entry)
    }

    fn accept(&mut self, offset: Offset, commit: &Commit<'_>, index: u32, command: &Command<'_>) {
        for guard in &command.guards {
            let number = stream::is_idempotency(&guard.stream).then(|| self.number(&guard.stream));
            let entry = StreamEntry {
                at: guard.next,
                writer: commit.writer,
                seq: commit.seq,
                command: index,
                offset,
                hash: command.hash,
                number,
                state: self.streams.get_mut(&guard.stream).and_then(|entry| entry.state.take()),
            };
            self.streams.insert(guard.stream.clone(), entry);
            self.changed_streams.insert(guard.stream.clone());
        }
    }

    fn number(&mut self, stream: &str) -> u64 {
        self.keys += 1;
        self.numbered.push((self.keys, stream.to_owned()));
        self.keys
    }
}

impl WriterEntry {
    fn duplicate(&self, seq: u64, hash: Hash) -> Duplicate {
        if self.missing.iter().any(|(from, to)| (*from..=*to).contains(&seq)) {
            Duplicate::Late
        } else if seq == self.seq && hash != self.hash {
            Duplicate::Fork
        } else {
            Duplicate::Repeated
        }
    }
}
