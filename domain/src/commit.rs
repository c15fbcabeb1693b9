//! The record on the log: one writer's commands, packed into one message that is stored whole or not at all.
//!
//! A record is one JSON object on one line, so that any broker's own tools can show it. There are three:
//! the [`Genesis`] that opens each partition, the [`Ready`] that says all partitions are open, and the
//! [`Commit`]. The format has one version for all of them; [`Record::decode`] is the only reader and the place
//! where older versions are brought up to date.

use crate::hash::Hash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::num::NonZeroU32;
use uuid::Uuid;

/// The version of the format that this binary writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The most bytes that a record's own frame takes, apart from its commands.
pub const FRAME_BYTES_MAX: usize = 256;

/// One record of the log, borrowed from its bytes.
#[derive(Debug)]
pub enum Record<'a> {
    /// The first record of a partition.
    Genesis(Genesis),
    /// Partition 0's statement that every partition has its genesis.
    Ready(Ready),
    /// Commands.
    Commit(Commit<'a>),
}

/// The first record of each partition: which log this is, and how many partitions it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// The log's id.
    pub log: Uuid,
    /// The number of partitions of the log.
    pub partitions: NonZeroU32,
    /// The partition that this record opens.
    pub partition: u32,
}

/// Every partition of the log has its genesis; from now on an empty partition is lost history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The log's id.
    pub log: Uuid,
}

/// What one writer appended at once.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The log that this commit was written for; in another log it is void.
    pub log: Uuid,
    /// The writer's id.
    pub writer: Uuid,
    /// The writer's number for this commit within the partition, from 1 without holes.
    pub seq: u64,
    /// The writer's clock when it formed the commit.
    pub time: Timestamp,
    /// The commands, judged in this order.
    pub commands: Vec<Command<'a>>,
}

/// A request to record something; it counts whole or not at all.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command<'a> {
    /// What must hold for the command to count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// The hash of the parsed command, so that a repeat can be told from another command under the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// The W3C trace context of the request.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Cow<'a, str>>,
    /// What happened, if the command counts.
    #[serde(borrow, default)]
    pub events: Vec<Event<'a>>,
}

/// `[stream, expected, next]`: the command counts only if the stream stands at `expected`; then it moves to `next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(String, u64, u64)", from = "(String, u64, u64)")]
pub struct Guard {
    /// The stream's name; see [`crate::stream`].
    pub stream: String,
    /// Where the stream must stand; 0 where it was never moved.
    pub expected: u64,
    /// Where the command moves it; above `expected`.
    pub next: u64,
}

/// A fact, in the past tense.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event<'a> {
    /// The type, such as `food.observed`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The version of the type's data.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub v: u32,
    /// The aggregate or thing that it is about.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'a, str>>,
    /// The data, as its type's schema describes it.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// Why bytes are not a record that this binary can judge.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer binary: reading on would judge differently from it.
    #[error("the record has version {v}, this binary reads up to {VERSION}")]
    Newer {
        /// The record's version.
        v: u32,
        /// The log that it was written for; in another log it is as void as any.
        log: Uuid,
    },
    /// Not a record of Refold at all.
    #[error("not a record of refold: {0}")]
    Foreign(String),
}

impl Guard {
    /// A guard that moves `stream` from `expected` to the next number.
    pub fn step(stream: String, expected: u64) -> Self {
        Self { stream, expected, next: expected.saturating_add(1) }
    }
}

impl<'a> Record<'a> {
    /// Reads a record of any version up to [`VERSION`].
    ///
    /// # Errors
    /// [`DecodeError::Newer`] where a newer binary wrote it, [`DecodeError::Foreign`] where it is no record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match serde_json::from_slice::<Wire<'a>>(bytes) {
            Ok(wire) if wire.v == VERSION => wire.into_record(),
            Ok(wire) => Err(wrong_version(wire.v, wire.log)),
            Err(error) => Err(match serde_json::from_slice::<VersionOnly>(bytes) {
                Ok(VersionOnly { v, log }) if v != VERSION => wrong_version(v, log),
                _ => DecodeError::Foreign(error.to_string()),
            }),
        }
    }
}

fn wrong_version(v: u32, log: Uuid) -> DecodeError {
    if v > VERSION {
        DecodeError::Newer { v, log }
    } else {
        // Version 1 is the first; a version that replaces it is upcast here.
        DecodeError::Foreign(format!("version {v} never existed"))
    }
}

impl Genesis {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let opens = Opens { partitions: self.partitions, partition: self.partition };
        encode(&Wire { genesis: Some(opens), ..Wire::of(self.log) })
    }
}

impl Ready {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(&Wire { ready: Some(true), ..Wire::of(self.log) })
    }
}

impl Command<'_> {
    /// The command's bytes, to be packed by [`pack`].
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

/// Packs encoded commands into the bytes of a commit, without reading them again.
pub fn pack<'c>(
    log: Uuid,
    writer: Uuid,
    seq: u64,
    time: Timestamp,
    commands: impl Iterator<Item = &'c [u8]>,
) -> Vec<u8> {
    let mut bytes = format!(
        r#"{{"v":{VERSION},"log":"{log}","writer":"{writer}","seq":{seq},"time":"{time}","commands":["#
    )
    .into_bytes();
    for (index, command) in commands.enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(command);
    }
    bytes.extend_from_slice(b"]}");
    bytes
}

/// Every record as it stands on the wire; which fields are there says which record it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    v: u32,
    log: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    genesis: Option<Opens>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    commands: Option<Vec<Command<'a>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opens {
    partitions: NonZeroU32,
    partition: u32,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
    log: Uuid,
}

impl<'a> Wire<'a> {
    fn of(log: Uuid) -> Self {
        Self {
            v: VERSION,
            log,
            genesis: None,
            ready: None,
            writer: None,
            seq: None,
            time: None,
            commands: None,
        }
    }

    fn into_record(self) -> Result<Record<'a>, DecodeError> {
        let log = self.log;
        match (self.genesis, self.ready, self.writer, self.seq, self.time, self.commands) {
            (None, None, Some(writer), Some(seq), Some(time), Some(commands)) => {
                Ok(Record::Commit(Commit { log, writer, seq, time, commands }))
            }
            (Some(Opens { partitions, partition }), None, None, None, None, None) => {
                Ok(Record::Genesis(Genesis { log, partitions, partition }))
            }
            (None, Some(true), None, None, None, None) => Ok(Record::Ready(Ready { log })),
            _ => Err(DecodeError::Foreign("neither a commit nor a genesis nor ready".into())),
        }
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a record serialises to JSON")
}

fn first_version() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference")]
fn is_first_version(v: &u32) -> bool {
    *v == 1
}

impl From<Guard> for (String, u64, u64) {
    fn from(guard: Guard) -> Self {
        (guard.stream, guard.expected, guard.next)
    }
}

impl From<(String, u64, u64)> for Guard {
    fn from((stream, expected, next): (String, u64, u64)) -> Self {
        Self { stream, expected, next }
    }
}

#[cfg(test)]
mod tests;
