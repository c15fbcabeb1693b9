//! What a partition remembers besides its views: its head, its writers and its streams.
//!
//! All of it is derived from the log alone. The forms here are JSON in the store; when their meaning changes,
//! [`crate::store::STORE_FORMAT`] is raised and everything is folded anew.

use refold_domain::hash::Hash;
use refold_domain::log::Offset;
use refold_domain::receipt::Receipt;
use refold_domain::rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// A record that was passed: its offset and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where it stands.
    pub offset: Offset,
    /// The hash of its bytes.
    pub hash: Hash,
}

/// A random number that changes with every change of a partition's live set.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch(Hash);

/// The head of a partition's state: how far it has come, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The log's id.
    pub log: Uuid,
    /// The partition's first record.
    pub genesis: Mark,
    /// The last record passed, whatever it was.
    pub position: Mark,
    /// The epoch of the live set.
    pub epoch: Epoch,
    /// The log's end when this state was created; until it is reached views have no answer.
    pub target: Offset,
    /// How many idempotency keys were accepted: the number of the newest.
    pub keys: u64,
    /// Keys with numbers up to this one were swept away.
    pub swept: u64,
    /// What was seen so far.
    pub seen: Seen,
    /// The projections that are folded here, by name.
    pub projections: BTreeMap<String, Live>,
}

/// Tallies over everything a partition has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Commits admitted.
    pub commits: u64,
    /// Commands accepted.
    pub accepted: u64,
    /// Commands void, because a guard did not hold.
    pub voids: u64,
    /// Commits void, because they had been passed before.
    pub duplicates: u64,
    /// Duplicates whose bytes differ from what was passed: two writers share an id.
    pub forks: u64,
    /// Times that a writer's numbers jumped: the broker lost acknowledged commits.
    pub gaps: u64,
    /// Records that are no records of this log.
    pub foreign: u64,
    /// Events that could not be read.
    pub unreadable: u64,
}

/// How a projection stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The generation that is folded.
    pub generation: u32,
    /// Set where the projection broke and left the live set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// Where and why a projection left the live set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The last record that it did fold.
    pub position: Mark,
    /// The id of the event that broke it.
    pub event: String,
    /// What went wrong.
    pub reason: String,
}

/// An event that counts and cannot be read: it goes into no view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its id.
    pub event: String,
    /// Why it cannot be read.
    pub reason: String,
}

/// What is remembered of a writer, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterEntry {
    /// The number of its last commit.
    pub seq: u64,
    /// The hash of that commit's record.
    pub hash: Hash,
    /// Ranges of numbers, both ends included, that the broker lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<(u64, u64)>,
}

/// What is remembered of a stream: where it stands, which command moved it there, and its decision state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEntry {
    /// Where it stands.
    pub at: u64,
    /// The writer of the command that moved it last; the receipt without its partition.
    pub writer: Uuid,
    /// The number of that command's commit.
    pub seq: u64,
    /// The command's place in the commit.
    pub command: u32,
    /// The offset of that commit's record.
    pub offset: Offset,
    /// The command's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// For an idempotency key: its number among the partition's accepted keys, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// For an aggregate: its state as JSON, made by the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// How the gate judged a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// A guard did not hold, or the command was malformed: it never happened.
    Void,
    /// Its commit was acknowledged and then lost by the broker.
    Lost,
}

impl Epoch {
    /// A new epoch, unlike any before it.
    pub fn random() -> Self {
        Self(Hash(rand::random()))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Head {
    /// Where a partition begins that is folded up to `target` before anybody may see it.
    pub fn first(log: Uuid, genesis: Mark, target: Offset, projections: BTreeMap<String, Live>) -> Self {
        Self {
            log,
            genesis,
            position: genesis,
            epoch: Epoch::random(),
            target,
            keys: 0,
            swept: 0,
            seen: Seen::default(),
            projections,
        }
    }

    /// Whether everything that was on the log when this state was created has been folded.
    pub fn is_caught_up(&self) -> bool {
        self.position.offset >= self.target
    }

    /// What must stand in the store for a flush to be made from here.
    pub fn version(&self) -> (Mark, Epoch) {
        (self.position, self.epoch)
    }

    /// How a projection stands, if this generation of it is folded here.
    pub fn live(&self, projection: &str, generation: u32) -> Option<&Live> {
        self.projections.get(projection).filter(|live| live.generation == generation)
    }
}

impl WriterEntry {
    /// How a commit of this writer stands, if it has been passed; its commands may still be void.
    pub fn has_passed(&self, seq: u64) -> Option<Verdict> {
        if seq > self.seq {
            return None;
        }
        let lost = self.missing.iter().any(|(from, to)| (*from..=*to).contains(&seq));
        Some(if lost { Verdict::Lost } else { Verdict::Accepted })
    }
}

impl StreamEntry {
    /// The receipt of the command that moved the stream last.
    pub fn receipt(&self, partition: u32) -> Receipt {
        Receipt { partition, writer: self.writer, seq: self.seq, command: self.command }
    }

    /// Whether the entry counts, when `keys` idempotency keys have been accepted: an old key is absent,
    /// deleted yet or not, so that an emptied store judges the same.
    pub fn is_remembered(&self, keys: u64) -> bool {
        self.number.is_none_or(|number| number.saturating_add(rule::keys_remembered()) > keys)
    }
}
