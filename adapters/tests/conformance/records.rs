//! Writing and reading records.

use bytes::Bytes;
use futures::StreamExt;
use refold_domain::log::{EventLog, Offset, Records};
use std::time::Duration;
use tokio::time::timeout;

/// How long a record may keep a test waiting, in seconds; only a broken log takes that long.
const WAIT_SECONDS: u64 = 30;

/// The next so many records.
pub(crate) async fn take(records: &mut Records, count: usize) -> Vec<(Offset, Bytes)> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let next = timeout(Duration::from_secs(WAIT_SECONDS), records.next()).await;
        taken.push(next.expect("a record in time").expect("no end").unwrap());
    }
    taken
}

/// The bytes of the next so many records of a partition from its start.
pub(crate) async fn contents(log: &dyn EventLog, partition: u32, count: usize) -> Vec<Bytes> {
    let records = take(&mut log.read(partition, 0).await.unwrap(), count).await;
    records.into_iter().map(|(_, record)| record).collect()
}

/// Appends texts one after the other.
pub(crate) async fn append_all(log: &dyn EventLog, partition: u32, texts: &[&str]) {
    for text in texts {
        log.append(partition, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    }
}
