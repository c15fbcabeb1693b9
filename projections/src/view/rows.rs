//! Rows: the events themselves, by some fields, ordered by a time.

use super::select::{timed, without_gaps};
use super::{Blob, Cell, Item, Query, Selection, View, entry, key};
use crate::definition::{self, FieldRef};
use anyhow::bail;
use refold_domain::receipt::EventId;
use refold_domain::schema::Value;
use refold_domain::validation::FieldError;
use serde_json::Value as Json;

/// Rows ordered by key fields, then time, then partition, writer, seq, command and index.
#[derive(Debug)]
pub(super) struct Rows {
    by: Vec<FieldRef>,
    time: Option<FieldRef>,
}

#[derive(Default)]
struct Row(Option<Blob>);

impl Rows {
    pub(super) fn new(rows: &definition::Rows) -> Self {
        Self { by: rows.by.clone(), time: rows.time.clone() }
    }
}

impl View for Rows {
    fn kind(&self) -> &'static str {
        "rows"
    }

    fn fields(&self) -> Vec<String> {
        self.by.iter().map(|field| field.name.to_owned()).collect()
    }

    fn key(&self, item: &Item<'_, '_>) -> Option<Blob> {
        let mut made = item.key(&self.by);
        key::push(&mut made, &Value::Time(item.time(self.time.as_ref())));
        push_id(&mut made, &item.event.id);
        Some(made)
    }

    fn reads_before(&self) -> bool {
        false
    }

    fn open(&self, _before: Option<&[u8]>) -> anyhow::Result<Box<dyn Cell>> {
        Ok(Box::<Row>::default())
    }

    fn merge(&self, _one: Blob, _other: Blob) -> anyhow::Result<Blob> {
        bail!("two partitions hold the same row, though its key names the partition")
    }

    fn select(&self, query: &Query) -> Result<Selection, FieldError> {
        without_gaps(query)?;
        Ok(Selection { reverse: !query.oldest_first, ..timed(&self.by, query)? })
    }

    fn show(&self, _key: &[u8], value: &[u8]) -> anyhow::Result<Option<Json>> {
        Ok(Some(serde_json::from_slice(value)?))
    }
}

impl Cell for Row {
    fn fold(&mut self, item: &Item<'_, '_>) -> anyhow::Result<()> {
        self.0 = Some(entry(item.event));
        Ok(())
    }

    fn close(self: Box<Self>) -> Option<Blob> {
        self.0
    }
}

fn push_id(key: &mut Blob, id: &EventId) {
    key.extend_from_slice(&id.receipt.partition.to_be_bytes());
    key.extend_from_slice(id.receipt.writer.as_bytes());
    key.extend_from_slice(&id.receipt.seq.to_be_bytes());
    key.extend_from_slice(&id.receipt.command.to_be_bytes());
    key.extend_from_slice(&id.index.to_be_bytes());
}
