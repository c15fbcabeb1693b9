//! What becomes of a command: it counts, or it does not, or nobody knows.

use crate::writer::WriteError;
use refold_domain::commit::Event;
use refold_domain::decision::{NewEvent, Rejection};
use refold_domain::log::Offset;
use refold_domain::receipt::{EventId, Receipt};
use refold_domain::schema::{self, EventType};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A command that counts.
#[derive(Debug)]
pub struct Recorded {
    /// Where it stands on the log.
    pub receipt: Receipt,
    /// Whether it was recorded now, or which repeat this was.
    pub origin: Origin,
    /// Where its commit stands: for repeats.
    pub offset: Option<Offset>,
    /// Its events.
    pub events: Vec<RecordedEvent>,
}

/// Where a command that counts comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was recorded now.
    New,
    /// It had been recorded under the same idempotency key, and is answered as it was then.
    RepeatedKey,
    /// It had been recorded under another key or none; what it is about tells that it is the same.
    RepeatedContent,
}

/// An event of a command that counts.
#[derive(Debug)]
pub struct RecordedEvent {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub kind: Cow<'static, str>,
    /// What it is about.
    pub key: Option<String>,
    /// Its data as JSON, without private fields.
    pub data: Box<RawValue>,
}

/// Why a command does not count, or is not known to.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It was answered no.
    #[error("{}", .0.reason())]
    Rejected(Rejection),
    /// Another command was recorded under the same idempotency key.
    #[error("another command was recorded under this Idempotency-Key")]
    KeyReused,
    /// It is larger than a commit may be.
    #[error("{0}")]
    TooLarge(WriteError),
    /// Too many commands are waiting: it was not recorded.
    #[error("{0}; this one was not recorded")]
    Overloaded(WriteError),
    /// It was not recorded and never will be.
    #[error("{0}")]
    NotRecorded(String),
    /// It may be recorded, now or later.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// The store is too far behind to decide it: it was not recorded.
    #[error("{0}; the command was not recorded")]
    Behind(String),
    /// Others were faster each time it was decided: it was not recorded.
    #[error("others changed the same thing each time this command was decided; it was not recorded")]
    Contended,
    /// The broker acknowledged it and then lost it.
    #[error("the broker acknowledged the command {0} and then lost it")]
    Lost(Receipt),
    /// Something is broken.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Recorded {
    /// Whether it had been recorded before.
    pub fn is_repeat(&self) -> bool {
        self.origin != Origin::New
    }

    pub(super) fn now(receipt: Receipt, events: Vec<NewEvent>) -> anyhow::Result<Self> {
        let event = |(index, NewEvent { kind, key, data }): (u32, NewEvent)| {
            let data = public(schema::find(kind)?, data)?;
            Ok(RecordedEvent { id: EventId { receipt, index }, kind: kind.into(), key, data })
        };
        let events = (0..).zip(events).map(event).collect::<anyhow::Result<_>>()?;
        Ok(Self { receipt, origin: Origin::New, offset: None, events })
    }
}

impl RecordedEvent {
    /// One that was read from the log again.
    pub(super) fn recalled(id: EventId, event: &Event<'_>) -> anyhow::Result<Self> {
        let kind = schema::find(&event.kind)?;
        let current = kind.current(event.v, event.data)?.into_owned();
        let data = public(kind, RawValue::from_string(current)?)?;
        Ok(Self { id, kind: kind.name.into(), key: event.key.as_deref().map(str::to_owned), data })
    }
}

/// Data without private fields: no handler has a use for them, and no answer may have them.
fn public(kind: &EventType, data: Box<RawValue>) -> anyhow::Result<Box<RawValue>> {
    match kind.public(data.get())? {
        Cow::Borrowed(_) => Ok(data),
        Cow::Owned(shown) => Ok(RawValue::from_string(shown)?),
    }
}

impl CommandError {
    /// Whether the command may be recorded, now or later.
    pub fn may_be_recorded(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::Failed(_))
    }
}

impl From<WriteError> for CommandError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TooLarge(_) | WriteError::TooLargeForLog(_) => Self::TooLarge(error),
            WriteError::Full => Self::Overloaded(error),
            WriteError::NotRecorded(reason) => Self::NotRecorded(reason),
            WriteError::Unknown(reason) => Self::OutcomeUnknown(reason),
        }
    }
}
