//! Counts: how many events there are for each value of some fields.

use super::select::timeless;
use super::{Blob, Cell, Item, Query, Selection, View, members};
use crate::definition::{self, FieldRef};
use anyhow::Context;
use refold_domain::validation::FieldError;
use serde_json::Value as Json;

/// The counts by the values of some fields; by none of them, one total.
#[derive(Debug)]
pub(super) struct Counts {
    by: Vec<FieldRef>,
}

struct Count(u64);

impl Counts {
    pub(super) fn new(counts: &definition::Counts) -> Self {
        Self { by: counts.by.clone() }
    }
}

impl View for Counts {
    fn kind(&self) -> &'static str {
        "counts"
    }

    fn fields(&self) -> Vec<String> {
        self.by.iter().map(|field| field.name.to_owned()).collect()
    }

    fn key(&self, item: &Item<'_, '_>) -> Option<Blob> {
        Some(item.key(&self.by))
    }

    fn reads_before(&self) -> bool {
        true
    }

    fn open(&self, before: Option<&[u8]>) -> anyhow::Result<Box<dyn Cell>> {
        Ok(Box::new(Count(before.map_or(Ok(0), read)?)))
    }

    fn merge(&self, one: Blob, other: Blob) -> anyhow::Result<Blob> {
        let sum = read(&one)?.checked_add(read(&other)?).context("a count is over 2^64")?;
        Ok(sum.to_string().into_bytes())
    }

    fn select(&self, query: &Query) -> Result<Selection, FieldError> {
        timeless(&self.by, query)
    }

    fn show(&self, mut key: &[u8], value: &[u8]) -> anyhow::Result<Option<Json>> {
        let mut object = members(&self.by, &mut key)?;
        object.insert("count".into(), read(value)?.into());
        Ok(Some(Json::Object(object)))
    }
}

impl Cell for Count {
    fn fold(&mut self, _item: &Item<'_, '_>) -> anyhow::Result<()> {
        self.0 = self.0.checked_add(1).context("a count is over 2^64")?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Option<Blob> {
        Some(self.0.to_string().into_bytes())
    }
}

fn read(value: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(value).context("a count in the store is no text")?;
    text.parse().with_context(|| format!("a count in the store is no number: {text:?}"))
}
