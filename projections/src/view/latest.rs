//! Latest: the newest event for each key, until an event takes the entry away.
//!
//! By the event's own key the newest is the last one on the log: one key lives in one partition. By another
//! field several partitions may know a key; there the newest is the one of the latest commit time, then of the
//! greatest id, whatever order the partitions are read in.

use super::select::{timeless, without_times, wrong};
use super::{Blob, Cell, Item, Query, Selection, View, entry, key};
use crate::definition::{self, FieldRef};
use anyhow::Context;
use jiff::Timestamp;
use refold_domain::nearest;
use refold_domain::schema::EventType;
use refold_domain::validation::FieldError;
use serde::Deserialize;
use serde_json::Value as Json;

/// The newest event by key.
#[derive(Debug)]
pub(super) struct Latest {
    by: Option<FieldRef>,
    remove_on: Vec<&'static EventType>,
}

/// By the event's own key: what comes last on the log stands.
#[derive(Debug)]
struct LastOfKey {
    remove_on: Vec<&'static EventType>,
    value: Option<Blob>,
}

/// By a field: what is newest stands.
#[derive(Debug)]
struct NewestOfField(Option<Blob>);

/// The name under which a query gives the event's own key.
const KEY: &str = "key";

impl Latest {
    pub(super) fn new(latest: &definition::Latest) -> Self {
        Self { by: latest.by.clone(), remove_on: latest.remove_on.clone() }
    }
}

impl View for Latest {
    fn kind(&self) -> &'static str {
        "latest"
    }

    fn fields(&self) -> Vec<String> {
        vec![self.by.as_ref().map_or_else(|| KEY.to_owned(), |field| field.name.to_owned())]
    }

    fn key(&self, item: &Item<'_, '_>) -> Option<Blob> {
        let mut made = Blob::new();
        match &self.by {
            Some(field) => key::push(&mut made, item.value(field)),
            None => key::push_text(&mut made, item.event.key?),
        }
        Some(made)
    }

    fn reads_before(&self) -> bool {
        self.by.is_some()
    }

    fn open(&self, before: Option<&[u8]>) -> anyhow::Result<Box<dyn Cell>> {
        Ok(match self.by {
            Some(_) => Box::new(NewestOfField(before.map(<[u8]>::to_vec))),
            None => Box::new(LastOfKey { remove_on: self.remove_on.clone(), value: None }),
        })
    }

    fn merge(&self, one: Blob, other: Blob) -> anyhow::Result<Blob> {
        newer(one, other)
    }

    fn select(&self, query: &Query) -> Result<Selection, FieldError> {
        let Some(field) = &self.by else {
            return by_own_key(query);
        };
        timeless(std::slice::from_ref(field), query)
    }

    fn show(&self, _key: &[u8], value: &[u8]) -> anyhow::Result<Option<Json>> {
        Ok(Some(serde_json::from_slice(value)?))
    }
}

fn by_own_key(query: &Query) -> Result<Selection, FieldError> {
    without_times(query)?;
    if let Some(unknown) = query.by.keys().find(|name| *name != KEY) {
        return Err(wrong(unknown, nearest::unknown("key field", unknown, [KEY].into_iter())));
    }
    let mut made = Blob::new();
    if let Some(text) = query.by.get(KEY) {
        key::push_text(&mut made, text);
    }
    Ok(Selection::prefix(made))
}

impl Cell for LastOfKey {
    fn fold(&mut self, item: &Item<'_, '_>) -> anyhow::Result<()> {
        let event = item.event;
        let removes = self.remove_on.iter().any(|kind| kind.name == event.kind.name);
        self.value = (!removes).then(|| entry(event));
        Ok(())
    }

    fn close(self: Box<Self>) -> Option<Blob> {
        self.value
    }
}

impl Cell for NewestOfField {
    fn fold(&mut self, item: &Item<'_, '_>) -> anyhow::Result<()> {
        let entry = entry(item.event);
        self.0 = Some(match self.0.take() {
            Some(before) => newer(before, entry)?,
            None => entry,
        });
        Ok(())
    }

    fn close(self: Box<Self>) -> Option<Blob> {
        self.0
    }
}

fn newer(one: Blob, other: Blob) -> anyhow::Result<Blob> {
    let is_newer = age(&other)? > age(&one)?;
    Ok(if is_newer { other } else { one })
}

/// The time of an entry's commit and the event's id, in an order of numbers rather than of digits.
fn age(entry: &[u8]) -> anyhow::Result<(Timestamp, u32, String, u64, u32, u32)> {
    #[derive(Deserialize)]
    struct Age {
        time: Timestamp,
        id: String,
    }
    let Age { time, id } = serde_json::from_slice(entry).context("an entry in the store cannot be read")?;
    let (receipt, index) = id.rsplit_once('.').context("an entry in the store has no event id")?;
    let receipt: refold_domain::receipt::Receipt = receipt.parse().map_err(anyhow::Error::msg)?;
    let writer = receipt.writer.to_string();
    Ok((time, receipt.partition, writer, receipt.seq, receipt.command, index.parse()?))
}
