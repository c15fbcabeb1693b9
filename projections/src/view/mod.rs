//! What every kind of view can do: fold events into cells, merge the cells of partitions, show them.
//!
//! A view is an ordered map of cells. Each event goes into one cell; a cell's value is absolute, so writing it
//! twice does no harm; and the cells that partitions have under one key merge into the answer. A kind of view
//! is one file below, and one line in [`of`].

mod counts;
pub mod key;
mod latest;
mod rows;

use crate::definition::{self, Definition};
use crate::store::{Blob, Limit, Range, Space};
use jiff::Timestamp;
use refold_domain::receipt::EventId;
use refold_domain::schema::{EventType, Kind, Value};
use refold_domain::validation::FieldError;
use refold_domain::{nearest, time};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// An event as views see it: read, upcast, and without private fields.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its id.
    pub id: EventId,
    /// The time of its commit.
    pub time: Timestamp,
    /// Its type.
    pub kind: &'static EventType,
    /// What it is about.
    pub key: Option<&'a str>,
    /// Its data as JSON.
    pub data: &'a str,
    /// The values of its type's fields.
    pub values: Vec<Value<'a>>,
}

impl Event<'_> {
    /// Whether it can be shown as it is kept. Lists are kept as they came, and JSON text may nest too deeply
    /// or hold what is no value; one such entry would spoil every page that it stands on.
    ///
    /// # Errors
    /// What cannot be read again.
    pub fn check(&self) -> serde_json::Result<()> {
        let has_list = self.values.iter().any(|value| matches!(value, Value::List(_)));
        if has_list { serde_json::from_slice(&entry(self)).map(|_: serde_json::Value| ()) } else { Ok(()) }
    }
}

/// A kind of view, made for one definition.
pub trait View: Debug + Send + Sync {
    /// The kind's name, as definitions and answers have it.
    fn kind(&self) -> &'static str;

    /// The fields by which a query may select, in the order of the key.
    fn fields(&self) -> Vec<String>;

    /// The key of the cell that an event goes into; `None` where the event does not concern the view.
    fn key(&self, event: &Event<'_>) -> Option<Blob>;

    /// Whether a cell's new value depends on what it held before.
    fn reads_before(&self) -> bool;

    /// A cell that held `before`.
    ///
    /// # Errors
    /// Where the store holds what is no value of this view.
    fn open(&self, before: Option<&[u8]>) -> anyhow::Result<Box<dyn Cell>>;

    /// The value that two partitions' cells of one key come to.
    ///
    /// # Errors
    /// Where the store holds what is no value of this view.
    fn merge(&self, one: Blob, other: Blob) -> anyhow::Result<Blob>;

    /// The cells that a query asks for.
    ///
    /// # Errors
    /// The part of the query that is wrong, for whoever asked.
    fn select(&self, query: &Query) -> Result<Selection, FieldError>;

    /// A cell as JSON; `None` where it stands for something taken away.
    ///
    /// # Errors
    /// Where the store holds what is no value of this view.
    fn show(&self, key: &[u8], value: &[u8]) -> anyhow::Result<Option<serde_json::Value>>;
}

/// A cell of a view while events are folded into it.
pub trait Cell: Send {
    /// Takes in an event.
    ///
    /// # Errors
    /// Where it would overflow; the view then leaves the live set.
    fn fold(&mut self, event: &Event<'_>) -> anyhow::Result<()>;

    /// The value to keep; `None` where the cell is to go.
    fn close(self: Box<Self>) -> Option<Blob>;
}

/// What is asked of a view.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Values of key fields, as texts, by name.
    pub by: BTreeMap<String, String>,
    /// For rows: the first time wanted.
    pub from: Option<Timestamp>,
    /// For rows: the first time not wanted any more.
    pub until: Option<Timestamp>,
    /// For rows: the oldest first, rather than the newest.
    pub oldest_first: bool,
}

/// The part of a view that a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The first key.
    pub from: std::ops::Bound<Blob>,
    /// The last key.
    pub to: std::ops::Bound<Blob>,
    /// Whether the last key comes first.
    pub reverse: bool,
}

impl Query {
    /// The name of a time that is given, if there is one.
    fn a_time(&self) -> Option<&'static str> {
        self.from.map(|_| "from").or(self.until.map(|_| "until"))
    }
}

/// The view that a definition asks for.
pub fn of(definition: &Definition) -> Box<dyn View> {
    match &definition.view {
        definition::View::Counts(counts) => Box::new(counts::Counts::new(counts)),
        definition::View::Rows(rows) => Box::new(rows::Rows::new(rows)),
        definition::View::Latest(latest) => Box::new(latest::Latest::new(latest)),
    }
}

impl Selection {
    /// Every key that starts with `prefix`, in ascending order.
    pub fn prefix(prefix: Blob) -> Self {
        let to = crate::store::after_prefix(&prefix);
        Self { from: std::ops::Bound::Included(prefix), to, reverse: false }
    }

    /// The range to read, of one space, going on after `cursor`.
    pub fn range(&self, space: Space, cursor: Option<Blob>, limit: Limit) -> Range {
        use std::ops::Bound::Excluded;
        let (mut from, mut to) = (self.from.clone(), self.to.clone());
        if let Some(cursor) = cursor {
            *(if self.reverse { &mut to } else { &mut from }) = Excluded(cursor);
        }
        Range { space, from, to, reverse: self.reverse, limit }
    }

    /// Whether one key comes after another.
    pub fn is_after(&self, key: &[u8], other: &[u8]) -> bool {
        if self.reverse { key < other } else { key > other }
    }
}

/// A key made of the query's values for the first of these fields.
///
/// # Errors
/// A field that is no key field, a value that is none of its field, or a field left out before another.
fn prefix(fields: &[definition::FieldRef], query: &Query) -> Result<Blob, FieldError> {
    let names = fields.iter().map(|field| field.name);
    if let Some(unknown) = query.by.keys().find(|name| !names.clone().any(|known| known == *name)) {
        return Err(wrong(unknown, nearest::unknown("key field", unknown, names)));
    }
    let mut made = Blob::new();
    let mut left_out = None;
    for field in fields {
        match (query.by.get(field.name), left_out) {
            (Some(text), None) => key::push(&mut made, &parse(field, text)?),
            (Some(_), Some(before)) => {
                return Err(wrong(field.name, format!("can be given only together with {before}")));
            }
            (None, _) => left_out = left_out.or(Some(field.name)),
        }
    }
    Ok(made)
}

/// A query's text as a value of the field.
fn parse<'t>(field: &definition::FieldRef, text: &'t str) -> Result<Value<'t>, FieldError> {
    match field.kind {
        Kind::Integer { .. } => {
            text.parse().map(Value::Integer).map_err(|_| "must be a whole number".to_owned())
        }
        Kind::Time => time::parse(text).map(Value::Time),
        Kind::Text | Kind::List => Ok(Value::Text(text.into())),
    }
    .map_err(|reason| wrong(field.name, reason))
}

/// Refuses times, for views that are not ordered by them.
///
/// # Errors
/// The time that was given.
fn without_times(query: &Query) -> Result<(), FieldError> {
    match query.a_time() {
        Some(name) => Err(wrong(name, "can be given only for a view of rows")),
        None => Ok(()),
    }
}

fn wrong(name: &str, reason: impl Into<String>) -> FieldError {
    FieldError { field: name.to_owned(), reason: reason.into() }
}

/// A value of a key as JSON.
fn shown(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Absent | Value::List(_) => serde_json::Value::Null,
        Value::Text(text) => text.as_ref().into(),
        Value::Integer(number) => (*number).into(),
        Value::Time(time) => time.to_string().into(),
    }
}

/// An event as it is kept in rows and entries.
fn entry(event: &Event<'_>) -> Blob {
    // Ids, times and type names need no escapes, and the data is JSON already.
    let Event { id, time, kind, data, .. } = event;
    format!(r#"{{"id":"{id}","time":"{time}","type":"{}","data":{data}}}"#, kind.name).into_bytes()
}
