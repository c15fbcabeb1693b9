//! A log in memory that can be cut, replaced and made to deliver records twice.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Offset, Records, Risk};
use tokio::sync::watch;

/// A log of one partition.
pub(crate) struct MemoryLog {
    records: watch::Sender<Vec<(Offset, Bytes)>>,
    /// How often each record is delivered.
    deliveries: usize,
}

impl MemoryLog {
    pub(crate) fn new(records: Vec<(Offset, Bytes)>) -> Self {
        Self { records: watch::Sender::new(records), deliveries: 1 }
    }

    /// A log that delivers each record this many times.
    pub(crate) fn redelivering(records: Vec<(Offset, Bytes)>, deliveries: usize) -> Self {
        Self { deliveries, ..Self::new(records) }
    }

    pub(crate) fn push(&self, offset: Offset, bytes: Bytes) {
        self.records.send_modify(|records| records.push((offset, bytes)));
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, _partition: u32, record: Bytes) -> Result<(), AppendError> {
        let next = self.records.borrow().last().map_or(0, |(offset, _)| offset + 1);
        self.push(next, record);
        Ok(())
    }

    async fn read(&self, _partition: u32, from: Offset) -> Result<Records, LogError> {
        let deliveries = self.deliveries;
        let state = (self.records.subscribe(), from);
        let read = futures::stream::unfold(state, move |(mut records, from)| async move {
            let is_there = |records: &Vec<(Offset, Bytes)>| records.iter().any(|(offset, _)| *offset >= from);
            let found = match records.wait_for(is_there).await {
                Ok(found) => found.iter().find(|(offset, _)| *offset >= from).cloned(),
                Err(_) => None,
            };
            let (offset, bytes) = found?;
            let again = vec![Ok((offset, bytes)); deliveries];
            Some((futures::stream::iter(again), (records, offset + 1)))
        });
        Ok(read.flatten().boxed())
    }

    async fn bounds(&self, _partition: u32) -> Result<Bounds, LogError> {
        let records = self.records.borrow();
        let end = records.last().map_or(End::Empty, |(offset, _)| End::Last(*offset));
        Ok(Bounds { first: records.first().map(|(offset, _)| *offset), end })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        Ok(Vec::new())
    }
}
