//! Series: counts or sums for each minute, hour, day or month.
//!
//! A cell is one step of one line: its key is the line's fields and the time at which the step begins, its value a
//! whole number. It merges by addition. Steps in which nothing happened have no cell; a query can ask for them.

use super::select::{prefix, timed};
use super::{Blob, Cell, Gaps, Item, Query, Selection, View, key, members, whole};
use crate::definition::{self, Amount, Every, FieldRef};
use anyhow::Context;
use jiff::Timestamp;
use refold_domain::schema::Value;
use refold_domain::validation::FieldError;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Counts or sums by the values of some fields and step of time.
#[derive(Debug)]
pub(super) struct Series {
    every: Every,
    /// Without it, each item counts one.
    sum: Option<Arc<Amount>>,
    by: Vec<FieldRef>,
    time: Option<FieldRef>,
}

/// Cells by their keys.
type Cells = BTreeMap<Blob, Blob>;

struct Sum {
    of: Option<Arc<Amount>>,
    sum: u128,
}

impl Series {
    pub(super) fn new(series: &definition::Series) -> Self {
        let definition::Series { every, sum, by, time } = series.clone();
        Self { every, sum: sum.map(Arc::new), by, time }
    }

    /// The first step to be filled, if anything says which: the page before, the query, or the cells.
    fn first(&self, query: &Query, line: &[u8], after: Option<&[u8]>, cells: &Cells) -> Option<Timestamp> {
        if let Some(after) = after {
            return self.every.next(step(line, after)?);
        }
        let Some(from) = query.from else { return step(line, cells.keys().next()?) };
        let start = self.every.start(from);
        if start < from { self.every.next(start) } else { Some(start) }
    }
}

impl View for Series {
    fn kind(&self) -> &'static str {
        "series"
    }

    fn fields(&self) -> Vec<String> {
        self.by.iter().map(|field| field.name.to_owned()).collect()
    }

    fn key(&self, item: &Item<'_, '_>) -> Option<Blob> {
        if let Some(sum) = &self.sum {
            item.amount(sum)?;
        }
        let start = self.every.start(item.time(self.time.as_ref()));
        let mut made = item.key(&self.by);
        key::push(&mut made, &Value::Time(start));
        Some(made)
    }

    fn reads_before(&self) -> bool {
        true
    }

    fn open(&self, before: Option<&[u8]>) -> anyhow::Result<Box<dyn Cell>> {
        Ok(Box::new(Sum { of: self.sum.clone(), sum: before.map_or(Ok(0), read)? }))
    }

    fn merge(&self, one: Blob, other: Blob) -> anyhow::Result<Blob> {
        Ok(write(add(read(&one)?, read(&other)?)?))
    }

    fn select(&self, query: &Query) -> Result<Selection, FieldError> {
        timed(&self.by, query)
    }

    fn fill(&self, query: &Query, gaps: &Gaps<'_>, cells: &mut Cells) {
        // Selecting has seen that the query names one line.
        let Some(line) = prefix(&self.by, query).ok().filter(|_| query.fill) else { return };
        // Behind the last cell there may be others, unless these are all.
        let last = cells.keys().next_back().and_then(|key| step(&line, key));
        let is_wanted = |start: &Timestamp| match query.until.filter(|_| gaps.is_all) {
            Some(until) => *start < until,
            None => last.is_some_and(|last| *start <= last),
        };
        let first = self.first(query, &line, gaps.after, cells);
        let steps = std::iter::successors(first, |start| self.every.next(*start));
        let key = |start| {
            let mut made = line.clone();
            key::push(&mut made, &Value::Time(start));
            made
        };
        for key in steps.take_while(is_wanted).take(gaps.limit).map(key) {
            cells.entry(key).or_insert_with(|| write(0));
        }
    }

    fn show(&self, mut key: &[u8], value: &[u8]) -> anyhow::Result<Option<Json>> {
        let mut members = members(&self.by, &mut key)?;
        members.insert("from".into(), super::shown(&key::pop(&mut key)?));
        members.insert("value".into(), whole(read(value)?));
        Ok(Some(Json::Object(members)))
    }
}

impl Cell for Sum {
    fn fold(&mut self, item: &Item<'_, '_>) -> anyhow::Result<()> {
        let amount = match &self.of {
            Some(of) => item.amount(of).context("an event without a number is in a cell of a series")?,
            None => 1,
        };
        self.sum = add(self.sum, amount.into())?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Option<Blob> {
        Some(write(self.sum))
    }
}

/// The step that a key of this line names.
fn step(line: &[u8], key: &[u8]) -> Option<Timestamp> {
    match key::pop(&mut key.strip_prefix(line)?) {
        Ok(Value::Time(start)) => Some(start),
        _ => None,
    }
}

/// An amount is below 2^63, so it takes more than 2^65 of them to come here to an error.
fn add(one: u128, other: u128) -> anyhow::Result<u128> {
    one.checked_add(other).context("a sum is over 2^128")
}

fn write(sum: u128) -> Blob {
    sum.to_string().into_bytes()
}

fn read(value: &[u8]) -> anyhow::Result<u128> {
    let text = std::str::from_utf8(value).context("a sum in the store is no text")?;
    text.parse().with_context(|| format!("a sum in the store is no number: {text:?}"))
}
