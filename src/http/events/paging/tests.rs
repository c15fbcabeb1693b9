//! A page costs what it may and no more, and whoever turns all pages sees each event once.

use super::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use refold_domain::commit::{Genesis, pack};
use refold_domain::decision::encode;
use refold_domain::foods::Food;
use refold_domain::hash::Hash;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Offset, Records, Risk};
use refold_domain::receipt::log_digits;
use refold_projections::progress::Progress;
use refold_projections::state::{Head, Mark};
use refold_projections::store::{Flush, MemoryStore, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use uuid::Uuid;

const LOG: Uuid = Uuid::from_u128(7);
const RECORDS: usize = 2 * PAGE_RECORDS_MAX + PAGE_RECORDS_MAX / 2;

/// A log of one partition that holds these records.
struct Held(Vec<Bytes>);

#[async_trait]
impl EventLog for Held {
    async fn append(&self, _partition: u32, _record: Bytes) -> Result<(), AppendError> {
        Err(AppendError::Refused("it only holds".into()))
    }

    async fn read(&self, _partition: u32, from: Offset) -> Result<Records, LogError> {
        let records: Vec<_> =
            (0..).zip(self.0.clone()).skip_while(|(offset, _)| *offset < from).map(Ok).collect();
        Ok(stream::iter(records).chain(stream::pending()).boxed())
    }

    async fn bounds(&self, _partition: u32) -> Result<Bounds, LogError> {
        Ok(Bounds { first: Some(0), end: End::Last(self.0.len() as u64 - 1) })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        Ok(Vec::new())
    }
}

/// A food a record, all of them passed by the store.
async fn foods() -> (Sources, Reading) {
    let genesis = Genesis { log: LOG, partitions: NonZeroU32::MIN, partition: 0 };
    let observed = Food::parse(&serde_json::json!({"food": "pie"})).unwrap().observed();
    let command = encode(Vec::new(), None, None, &[observed]);
    let commit =
        |seq| pack(LOG, Uuid::from_u128(1), seq, Timestamp::UNIX_EPOCH, std::iter::once(command.as_slice()));
    let commits = (1..=RECORDS as u64).map(|seq| Bytes::from(commit(seq)));
    let records: Vec<_> = std::iter::once(Bytes::from(genesis.encode())).chain(commits).collect();
    let mark = |offset: u64| Mark { offset, hash: Hash(0) };
    let head = Head { position: mark(RECORDS as u64), ..Head::first(LOG, mark(0), 0, BTreeMap::new()) };
    let store = MemoryStore::default();
    store.flush(0, Arc::new(Flush { from: None, head, changes: BTreeMap::new() })).await.unwrap();
    let progress = Arc::new(Progress::new(LOG, 1));
    let sources = Sources { log: Arc::new(Held(records)), store: Arc::new(store), progress };
    (sources, Reading { log: log_digits(LOG), passed: vec![Passed::record(RECORDS as u64)] })
}

/// The events of each page.
async fn pages(wanted: &Wanted, limit: usize) -> Vec<Vec<CloudEvent>> {
    let (sources, until) = foods().await;
    let mut paging = Paging::begin(Reading::start(log_digits(LOG), 1));
    let mut pages = Vec::new();
    while !paging.is_done(wanted, &until) {
        pages.push(paging.page(&sources, wanted, &until, limit).await.unwrap());
    }
    pages
}

#[tokio::test]
async fn a_page_reads_no_more_than_it_may_where_almost_nothing_is_wanted() {
    let wanted = Wanted { types: vec!["purchase.recorded".into()], partition: None };
    let pages = pages(&wanted, 10).await;
    assert!(pages.iter().all(Vec::is_empty));
    assert!(pages.len() > RECORDS / (PAGE_RECORDS_MAX + PIECE.records), "{} pages", pages.len());
}

#[tokio::test]
async fn every_event_is_on_one_page() {
    let wanted = Wanted { types: Vec::new(), partition: Some(0) };
    let pages = pages(&wanted, 997).await;
    let (last, full) = pages.split_last().unwrap();
    assert!(full.iter().all(|page| page.len() == 997) && last.len() <= 997);
    let ids: BTreeSet<_> = pages.iter().flatten().map(|event| event.id.clone()).collect();
    assert_eq!((ids.len(), pages.iter().map(Vec::len).sum::<usize>()), (RECORDS, RECORDS));
}
