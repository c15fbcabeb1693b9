//! What each event type looks like: the fields that definitions may name, and which of its data is current and public.

mod value;

pub use value::Value;

use crate::{detections, foods, introductions, pictures, purchases, users};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Every event type that this binary knows.
pub const EVENT_TYPES: &[&EventType] = &[
    &introductions::INTRODUCED,
    &introductions::REVISED,
    &introductions::WITHDRAWN,
    &foods::OBSERVED,
    &purchases::RECORDED,
    &detections::DETECTED,
    &pictures::REGISTERED,
    &users::REGISTERED,
    &users::PASSWORD_CHANGED,
    &users::DISABLED,
    &users::ENABLED,
];

/// A type of event.
#[derive(Debug)]
pub struct EventType {
    /// The name on the wire, in the past tense: `food.observed`.
    pub name: &'static str,
    /// The fields of its data.
    pub fields: &'static [Field],
    /// Whether each event of it names what it is about: its key.
    pub has_key: bool,
    /// The aggregate whose state it changes, if it belongs to one.
    pub aggregate: Option<Aggregate>,
    /// How to bring older data up to date: the first entry turns version 1 into version 2, and so on.
    pub upcasters: &'static [Upcaster],
}

/// Turns data of one version into data of the next.
pub type Upcaster = fn(serde_json::Value) -> Result<serde_json::Value, String>;

/// The aggregate that an event belongs to.
#[derive(Debug)]
pub struct Aggregate {
    /// The first part of its streams' names.
    pub system: &'static str,
    /// The state, as JSON, after an event of this type and data happened to the state before it.
    pub apply: fn(state: Option<&str>, kind: &str, data: &str) -> Result<String, String>,
}

/// A field of an event's data.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the data.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be absent.
    pub optional: bool,
    /// Whether it is a secret, kept from every view and answer.
    pub private: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number from 0 to `max`.
    Integer {
        /// The largest value; it keeps every sum within 128 bits.
        max: i64,
    },
    /// A time, RFC 3339 in UTC.
    Time,
    /// A JSON array, whatever stands in it.
    List,
    /// A JSON array of objects, each with these fields; there is at least one.
    Objects(&'static [Field]),
}

/// Why an event's data cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Of a type that only a newer binary can have written: no type is ever taken out of [`EVENT_TYPES`].
    #[error("the event type {0:?} is not known to this binary")]
    Unknown(String),
    /// Written by a newer binary.
    #[error("{kind} has version {v}, this binary reads up to {known}")]
    Newer {
        /// The event's type.
        kind: &'static str,
        /// The version found.
        v: u32,
        /// The newest version known.
        known: u32,
    },
    /// Its data does not fit its type.
    #[error("{0}")]
    Malformed(String),
}

impl Field {
    /// A field that is always there.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: false, private: false }
    }

    /// A field that may be absent.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: true, private: false }
    }

    /// A secret that is always there.
    pub const fn private(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: false, private: true }
    }
}

/// The event type of this name.
///
/// # Errors
/// [`Unreadable::Unknown`]
pub fn find(name: &str) -> Result<&'static EventType, Unreadable> {
    let found = EVENT_TYPES.iter().copied().find(|kind| kind.name == name);
    found.ok_or_else(|| Unreadable::Unknown(name.to_owned()))
}

impl EventType {
    /// The version that this binary writes.
    pub fn version(&self) -> u32 {
        u32::try_from(self.upcasters.len()).expect("fewer versions than 2^32") + 1
    }

    /// The place of a field among [`Self::fields`].
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The data's JSON text without private fields, as it may be shown to anybody.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`], without any of the data.
    pub fn public<'a>(&self, data: &'a str) -> Result<Cow<'a, str>, Unreadable> {
        if !has_secrets(self.fields) {
            return Ok(Cow::Borrowed(data));
        }
        let is_none = |_| Unreadable::Malformed(format!("the data of {} is no object", self.name));
        let mut shown = serde_json::from_str(data).map_err(is_none)?;
        remove_secrets(self.fields, &mut shown);
        Ok(Cow::Owned(serde_json::Value::Object(shown).to_string()))
    }

    /// The data's JSON text, brought up to the newest version.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn current<'a>(&'static self, v: u32, data: &'a RawValue) -> Result<Cow<'a, str>, Unreadable> {
        let known = self.version();
        if v > known {
            return Err(Unreadable::Newer { kind: self.name, v, known });
        }
        if v == known {
            return Ok(Cow::Borrowed(data.get()));
        }
        let Some(older) = v.checked_sub(1) else {
            return Err(Unreadable::Malformed(format!("{} has no version 0", self.name)));
        };
        let parsed = serde_json::from_str(data.get()).map_err(malformed)?;
        let mut steps = self.upcasters.iter().skip(older as usize);
        let current = steps.try_fold(parsed, |data, upcast| upcast(data)).map_err(Unreadable::Malformed)?;
        Ok(Cow::Owned(current.to_string()))
    }
}

fn has_secrets(fields: &[Field]) -> bool {
    let within = |kind| if let Kind::Objects(fields) = kind { has_secrets(fields) } else { false };
    fields.iter().any(|field| field.private || within(field.kind))
}

fn remove_secrets(fields: &[Field], object: &mut serde_json::Map<String, serde_json::Value>) {
    for field in fields {
        if field.private {
            object.shift_remove(field.name);
        } else if let Kind::Objects(fields) = field.kind
            && let Some(objects) = object.get_mut(field.name).and_then(serde_json::Value::as_array_mut)
        {
            let objects = objects.iter_mut().filter_map(serde_json::Value::as_object_mut);
            objects.for_each(|object| remove_secrets(fields, object));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn malformed(error: serde_json::Error) -> Unreadable {
    Unreadable::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
