//! What deciding a command comes to: something to record, something already recorded, or a rejection.

use crate::commit::{Command, Event, Guard};
use crate::hash::Hash;
use crate::schema::{self, EventType};
use serde::Serialize;
use serde_json::value::RawValue;

/// What a command that is not rejected comes to.
#[derive(Debug)]
pub enum Decision {
    /// These events are to be recorded, if the guards hold.
    Record {
        /// What must still hold when the log judges the command.
        guards: Vec<Guard>,
        /// What happened.
        events: Vec<NewEvent>,
    },
    /// The very same command was recorded before: the answer is that of the command that last moved this stream.
    Repeat {
        /// The stream that the first command moved.
        stream: String,
    },
}

/// A command answered no. A value, not an error: the world is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such thing.
    NotFound(String),
    /// There was such a thing, and it was withdrawn.
    Gone(String),
    /// The client knows an older version, or one that never was.
    Stale(String),
    /// It clashes with what is recorded.
    Conflict(String),
}

/// An event that is not on the log yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's type, such as `food.observed`.
    pub kind: &'static str,
    /// The aggregate or thing that it is about.
    pub key: Option<String>,
    /// The data as JSON, as the type's schema describes it.
    pub data: Box<RawValue>,
}

/// The versions of a thing that the client accepts to change (`If-Match`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Expected {
    /// Whichever version there is.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

impl NewEvent {
    /// An event of type `kind` with `data` as its data.
    pub fn new(kind: &'static str, key: Option<String>, data: &impl Serialize) -> Self {
        let data = serde_json::value::to_raw_value(data).expect("an event serialises to JSON");
        Self { kind, key, data }
    }

    /// An event of type `kind` about nothing that has a key, with data that were serialised to JSON before.
    pub fn written(kind: &'static str, data: &[u8]) -> Self {
        Self { kind, key: None, data: serde_json::from_slice(data).expect("what was serialised is JSON") }
    }

    fn on_wire(&self) -> Event<'_> {
        Event {
            kind: self.kind.into(),
            v: schema::find(self.kind).map_or(1, EventType::version),
            key: self.key.as_deref().map(Into::into),
            data: &self.data,
        }
    }
}

impl Expected {
    /// Whether `version` is among those expected.
    pub fn includes(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

impl Rejection {
    /// The sentence for the client.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotFound(reason) | Self::Gone(reason) | Self::Stale(reason) | Self::Conflict(reason) => {
                reason
            }
        }
    }
}

/// The command as it goes to the log.
pub fn encode(guards: Vec<Guard>, hash: Option<Hash>, trace: Option<&str>, events: &[NewEvent]) -> Vec<u8> {
    let events = events.iter().map(NewEvent::on_wire).collect();
    Command { guards, hash, trace: trace.map(Into::into), events }.encode()
}
