//! The brokers under test, one line each, and what a case needs of them.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use refold_adapters::embedded::EmbeddedLog;
use refold_domain::log::{EventLog, Offset, Records};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

pub(crate) const PARTITIONS: u32 = 3;

/// How long a record may keep a test waiting, in seconds; only a broken log takes that long.
const WAIT_SECONDS: u64 = 30;

/// A broker, and what it does not promise.
pub(crate) struct Broker {
    pub(crate) name: &'static str,
    /// Whether `bounds` tells the last offset.
    pub(crate) knows_its_end: bool,
    pub(crate) open: for<'a> fn(&'a Place) -> BoxFuture<'a, Arc<dyn EventLog>>,
}

pub(crate) const BROKERS: &[Broker] = &[Broker { name: "embedded", knows_its_end: true, open: embedded }];

/// Where one log lives, however often it is opened.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

/// A log of its own for one case.
pub(crate) struct UnderTest {
    pub(crate) broker: &'static Broker,
    place: Place,
}

impl UnderTest {
    pub(crate) async fn open(&self) -> Arc<dyn EventLog> {
        (self.broker.open)(&self.place).await
    }
}

/// Runs a case with each broker.
pub(crate) async fn each(case: impl AsyncFn(UnderTest)) {
    for broker in BROKERS {
        println!("broker: {}", broker.name);
        case(UnderTest { broker, place: Place { dir: tempfile::tempdir().unwrap() } }).await;
    }
}

fn embedded(place: &Place) -> BoxFuture<'_, Arc<dyn EventLog>> {
    let log = EmbeddedLog::open(place.dir.path(), PARTITIONS).unwrap();
    async move { Arc::new(log) as Arc<dyn EventLog> }.boxed()
}

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
