//! What every kind of view can do: fold events into cells, merge the cells of partitions, show them.
//!
//! A view is an ordered map of cells. Each event goes into one cell, or each object of an array in it does; a
//! cell's value is absolute, so writing it twice does no harm; and the cells that partitions have under one key
//! merge into the answer. A kind of view is one file below, and one line in [`of`].

mod counts;
pub mod key;
mod latest;
mod rows;
mod select;
mod series;
mod sketch;
mod stats;

use crate::definition::{self, Definition, FieldRef};
use crate::store::{Blob, Limit, Range, Space};
use jiff::Timestamp;
use refold_domain::receipt::EventId;
use refold_domain::schema::{EventType, Value};
use refold_domain::validation::FieldError;
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
    /// Its data as JSON, without private fields.
    pub data: &'a str,
    /// The values of its type's fields; none of the private ones.
    pub values: Vec<Value<'a>>,
}

/// What goes into a cell: an event, or one object of an array in it.
#[derive(Debug, Clone, Copy)]
pub struct Item<'e, 'a> {
    /// The event.
    pub event: &'e Event<'a>,
    /// The number of the object; 0 where the event itself is meant.
    pub element: usize,
}

impl<'e, 'a> Item<'e, 'a> {
    /// The value of a field.
    fn value(&self, field: &FieldRef) -> &'e Value<'a> {
        field.value(self.event.kind, &self.event.values, self.element)
    }

    /// The value of a field of times, or else the time of the commit.
    fn time(&self, field: Option<&FieldRef>) -> Timestamp {
        match field.map(|field| self.value(field)) {
            Some(Value::Time(time)) => *time,
            _ => self.event.time,
        }
    }

    /// A key of the values of these fields.
    fn key(&self, fields: &[FieldRef]) -> Blob {
        let mut made = Blob::new();
        fields.iter().for_each(|field| key::push(&mut made, self.value(field)));
        made
    }

    /// What it adds to a sum, if it adds anything.
    fn amount(&self, amount: &definition::Amount) -> Option<u64> {
        amount.of(self.event.kind, &self.event.values, self.element)
    }
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

    /// The key of the cell that an item goes into; `None` where it does not concern the view.
    fn key(&self, item: &Item<'_, '_>) -> Option<Blob>;

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

    /// Puts in what a query wants to see in the gaps between the cells that were read.
    fn fill(&self, _query: &Query, _gaps: &Gaps<'_>, _cells: &mut BTreeMap<Blob, Blob>) {}

    /// What stands for a view of a single cell before it has one; `None` where a view may have several.
    fn single(&self) -> Option<serde_json::Value> {
        None
    }

    /// A cell as JSON; `None` where it stands for something taken away.
    ///
    /// # Errors
    /// Where the store holds what is no value of this view.
    fn show(&self, key: &[u8], value: &[u8]) -> anyhow::Result<Option<serde_json::Value>>;
}

/// A cell of a view while events are folded into it.
pub trait Cell: Send {
    /// Takes in an item.
    ///
    /// # Errors
    /// Where it would overflow; the view then leaves the live set.
    fn fold(&mut self, item: &Item<'_, '_>) -> anyhow::Result<()>;

    /// The value to keep; `None` where the cell is to go.
    fn close(self: Box<Self>) -> Option<Blob>;
}

/// What is asked of a view.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Values of key fields, as texts, by name.
    pub by: BTreeMap<String, String>,
    /// For rows: the first time wanted. For a series: the first time at which a step may begin.
    pub from: Option<Timestamp>,
    /// For rows and series: the first time not wanted any more.
    pub until: Option<Timestamp>,
    /// For rows: the oldest first, rather than the newest.
    pub oldest_first: bool,
    /// For a series: zeros for the steps in which nothing happened.
    pub fill: bool,
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

/// Where there may be gaps to fill.
#[derive(Debug, Clone, Copy)]
pub struct Gaps<'a> {
    /// The key of the cell before the first one, if an earlier page answered it.
    pub after: Option<&'a [u8]>,
    /// Whether the cells that were read are all of the selection, rather than its first.
    pub is_all: bool,
    /// How many cells there may be, counting those that were read.
    pub limit: usize,
}

/// The view that a definition asks for.
pub fn of(definition: &Definition) -> Box<dyn View> {
    match &definition.view {
        definition::View::Counts(counts) => Box::new(counts::Counts::new(counts)),
        definition::View::Stats(stats) => Box::new(stats::Stats::new(stats)),
        definition::View::Series(series) => Box::new(series::Series::new(series)),
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

/// A value of a key as JSON.
fn shown(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Absent | Value::List(_) | Value::Objects(_) => serde_json::Value::Null,
        Value::Text(text) => text.as_ref().into(),
        Value::Integer(number) => (*number).into(),
        Value::Time(time) => time.to_string().into(),
    }
}

/// The members of an answer that name the values in a key, which they take off it.
fn members(
    fields: &[FieldRef],
    key: &mut &[u8],
) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let mut members = serde_json::Map::new();
    for field in fields {
        members.insert(field.name.to_owned(), shown(&key::pop(key)?));
    }
    Ok(members)
}

/// A sum as JSON: a number, or its digits as a text where no program would read the number without a loss.
fn whole(sum: u128) -> serde_json::Value {
    u64::try_from(sum).map_or_else(|_| sum.to_string().into(), Into::into)
}

/// An event as it is kept in rows and entries.
fn entry(event: &Event<'_>) -> Blob {
    // Ids, times and type names need no escapes, and the data is JSON already.
    let Event { id, time, kind, data, .. } = event;
    format!(r#"{{"id":"{id}","time":"{time}","type":"{}","data":{data}}}"#, kind.name).into_bytes()
}
