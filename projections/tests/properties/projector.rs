//! The projector follows the log, whatever happens to it, to the log and to the store.

use crate::driver::{dump, projections};
use crate::log::MemoryLog;
use crate::logs::{
    Command, Commit, GENESIS, KEYS_REMEMBERED, LOG, PLACE, Reads, Sent, encode, event_of, genesis, log,
};
use crate::model::Model;
use crate::{block_on, cases, redis};
use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use refold_domain::commit::Guard;
use refold_domain::log::{AppendError, Bounds, EventLog, LogError, Offset, Records, Risk};
use refold_domain::receipt::Receipt;
use refold_domain::rule;
use refold_projections::catalogue::Projection;
use refold_projections::definition;
use refold_projections::gate::Place;
use refold_projections::progress::{Condition, Progress};
use refold_projections::projector::Projector;
use refold_projections::state::{Head, StreamEntry, Verdict};
use refold_projections::store::{Blob, Flush, Flushed, Loaded, MemoryStore, Range, Scanned, Store, Wanted};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

const ALONE: Place = Place { log: LOG, partitions: 1, partition: 0 };
/// How long a test waits for what must come.
const WAIT_MAX: Duration = Duration::from_secs(60);
const WRITER: Uuid = Uuid::from_u128(1);

fn food(seq: u64, food: &str) -> Bytes {
    let event = event_of("food.observed", None, format!(r#"{{"food":"{food}"}}"#), Reads::Always);
    let stale = Guard { stream: "intro:7".into(), expected: 7, next: 8 };
    let commands = vec![
        Command { guards: vec![], hash: None, events: vec![event] },
        Command { guards: vec![stale], hash: None, events: vec![] },
    ];
    encode(LOG, &Commit { writer: WRITER, seq, time: Timestamp::UNIX_EPOCH, commands }).into()
}

/// The genesis at 0 and these foods behind it.
fn foods(foods: &[&str]) -> Vec<(Offset, Bytes)> {
    let behind = (1..).zip(foods).map(|(at, name)| (at, food(at, name)));
    std::iter::once((0, genesis(ALONE).into())).chain(behind).collect()
}

/// A projector at work until it is dropped.
struct Running {
    progress: Arc<Progress>,
    store: Arc<dyn Store>,
    projections: Arc<Vec<Projection>>,
    place: Place,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An empty store of each kind that a projector must not tell apart.
async fn stores() -> [Arc<dyn Store>; 2] {
    [Arc::new(MemoryStore::default()), Arc::new(redis::store().await)]
}

fn start(place: Place, log: &Arc<impl EventLog + 'static>, store: Arc<dyn Store>) -> Running {
    let progress = Arc::new(Progress::new(place.log, place.partitions));
    let projections = Arc::new(projections(definition::defaults()));
    let projector = Projector {
        place,
        log: Arc::clone(log) as _,
        store: Arc::clone(&store),
        projections: Arc::clone(&projections),
        progress: Arc::clone(&progress),
    };
    Running { progress, store, projections, place, task: tokio::spawn(projector.run()) }
}

impl Running {
    async fn reach(&self, offset: Offset) -> Head {
        let reached = tokio::time::timeout(WAIT_MAX, self.progress.reach(self.place.partition, offset)).await;
        assert!(reached.is_ok(), "{:?}", self.progress.state(self.place.partition));
        Head::clone(&self.progress.state(self.place.partition).head.unwrap())
    }

    /// Waits until the projector has stopped, and says why and what helps.
    async fn stopped(&self) -> (String, String) {
        let mut states = self.progress.subscribe(self.place.partition);
        let is_stopped = |state: &refold_projections::progress::State| {
            matches!(state.condition, Condition::Stopped { .. })
        };
        let state =
            tokio::time::timeout(WAIT_MAX, states.wait_for(is_stopped)).await.unwrap().unwrap().clone();
        let Condition::Stopped { reason, remedy } = state.condition else {
            unreachable!("it was waited for")
        };
        (reason, remedy)
    }

    async fn held(&self) -> BTreeMap<String, BTreeMap<Blob, Blob>> {
        dump(&*self.store, self.place.partition, &self.projections).await
    }

    async fn count(&self, food: &str) -> Option<String> {
        let mut key = Vec::new();
        refold_projections::view::key::push_text(&mut key, food);
        let count = self.held().await["view/food_counts/1"].get(&key).cloned();
        count.map(|count| String::from_utf8(count).unwrap())
    }
}

#[tokio::test]
async fn it_folds_what_is_there_and_what_comes() {
    for store in stores().await {
        let log = Arc::new(MemoryLog::new(foods(&["pie", "cake"])));
        let running = start(ALONE, &log, store);
        running.reach(2).await;
        log.push(3, food(3, "pie"));
        let head = running.reach(3).await;
        assert_eq!((head.target, head.is_caught_up()), (2, true));
        assert_eq!((running.count("pie").await.as_deref(), running.count("tart").await), (Some("2"), None));
    }
}

/// Of a clock that stands while there is work: time passes only where all wait for it.
#[tokio::test(start_paused = true)]
async fn records_gather_unless_somebody_waits() {
    let log = Arc::new(MemoryLog::new(foods(&["pie"])));
    let running = start(ALONE, &log, Arc::new(MemoryStore::default()));
    running.reach(1).await;
    let mut states = running.progress.subscribe(0);
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    let mut flushes = 0;
    for at in 2..100 {
        log.push(at, food(at, "pie"));
        clock.tick().await;
        flushes += u32::from(states.has_changed().unwrap());
        states.mark_unchanged();
    }
    assert!((10..33).contains(&flushes), "98 records in as many milliseconds took {flushes} flushes");
    for at in 100..110 {
        let pushed = tokio::time::Instant::now();
        log.push(at, food(at, "pie"));
        running.reach(at).await;
        assert_eq!(pushed.elapsed(), Duration::ZERO, "somebody waited for record {at}");
    }
}

#[tokio::test]
async fn an_empty_log_answers_at_once() {
    for store in stores().await {
        let log = Arc::new(MemoryLog::new(foods(&[])));
        let running = start(ALONE, &log, store);
        assert!(running.reach(0).await.is_caught_up());
    }
}

#[tokio::test]
async fn it_goes_on_from_the_store() {
    for store in stores().await {
        let log = Arc::new(MemoryLog::new(foods(&["pie"])));
        let first = start(ALONE, &log, Arc::clone(&store)).reach(1).await;
        log.push(2, food(2, "pie"));
        let again = start(ALONE, &log, store);
        let head = again.reach(2).await;
        // Neither folded anew nor counted twice; and no new target to wait for.
        assert_eq!((head.epoch, head.target), (first.epoch, 1));
        assert_eq!(again.count("pie").await.as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn receipts_are_answered_once_the_store_has_them() {
    for store in stores().await {
        let log = Arc::new(MemoryLog::new(foods(&["pie"])));
        let receipt = |seq, command| Receipt { partition: 0, writer: WRITER, seq, command };
        let verdicts = |running: &Running| {
            let (progress, store) = (Arc::clone(&running.progress), Arc::clone(&running.store));
            async move {
                let mut verdicts = Vec::new();
                for receipt in [receipt(1, 0), receipt(1, 1), receipt(2, 0), receipt(4, 0), receipt(5, 1)] {
                    verdicts.push(progress.verdict(&*store, &receipt).await.unwrap());
                }
                verdicts
            }
        };
        let first = start(ALONE, &log, Arc::clone(&store));
        let waiting = tokio::spawn(verdicts(&first));
        first.reach(1).await;
        assert!(!waiting.is_finished());
        // The broker loses 2 and 3, and 2 comes late.
        for (offset, seq) in [(2, 4), (3, 2), (4, 5)] {
            log.push(offset, food(seq, "pie"));
        }
        let expected = [Verdict::Accepted, Verdict::Void, Verdict::Lost, Verdict::Accepted, Verdict::Void];
        assert_eq!(waiting.await.unwrap(), expected);
        drop(first);
        // A process started later knows them from the store.
        let again = start(ALONE, &log, store);
        again.reach(4).await;
        assert_eq!(verdicts(&again).await, expected);
        let unknown = Receipt { partition: 9, ..receipt(1, 0) };
        assert!(again.progress.verdict(&*again.store, &unknown).await.is_err());
    }
}

/// Stops on the second log with what it has from the first, and says what helps.
async fn stops_after(first: Vec<(Offset, Bytes)>, second: Vec<(Offset, Bytes)>, told: &str, help: &str) {
    for store in stores().await {
        let end = first.last().unwrap().0;
        let held = {
            let running = start(ALONE, &Arc::new(MemoryLog::new(first.clone())), Arc::clone(&store));
            running.reach(end).await;
            running.held().await
        };
        let running = start(ALONE, &Arc::new(MemoryLog::new(second.clone())), store);
        let (reason, remedy) = running.stopped().await;
        assert!(reason.contains(told) && remedy.contains(help), "{reason}; {remedy}");
        assert_eq!(running.held().await, held);
    }
}

#[tokio::test]
async fn a_log_that_is_not_the_folded_one_any_more_stops_it() {
    let all = foods(&["pie", "cake", "tart"]);
    stops_after(all.clone(), all[..3].to_vec(), "ends before offset 3", "refold store empty").await;
    let mut other = all.clone();
    other[3].1 = food(3, "stew");
    stops_after(all.clone(), other, "offset 3 is not the one", "refold store empty").await;
    let mut holed = all.clone();
    holed[3].0 = 4;
    stops_after(all.clone(), holed, "offset 3 is not the one", "refold store empty").await;
    stops_after(all.clone(), all[1..].to_vec(), "history was deleted", "restore the log").await;
    stops_after(all, Vec::new(), "history was deleted", "restore the log").await;
}

#[tokio::test]
async fn a_log_without_its_genesis_stops_it() {
    for first in
        [genesis(PLACE), genesis(Place { log: WRITER, ..ALONE }), food(1, "pie").to_vec(), b"x".to_vec()]
    {
        let log = Arc::new(MemoryLog::new(vec![(0, first.into())]));
        let running = start(ALONE, &log, Arc::new(MemoryStore::default()));
        let (reason, remedy) = running.stopped().await;
        assert!(
            reason.contains("not its genesis") && remedy.contains("restore the log"),
            "{reason}; {remedy}"
        );
    }
}

#[tokio::test]
async fn another_logs_store_stops_it() {
    for store in stores().await {
        start(ALONE, &Arc::new(MemoryLog::new(foods(&[]))), Arc::clone(&store)).reach(0).await;
        let place = Place { log: WRITER, ..ALONE };
        let log = Arc::new(MemoryLog::new(vec![(0, genesis(place).into())]));
        let (reason, remedy) = start(place, &log, store).stopped().await;
        assert!(
            reason.contains("belongs to the log") && remedy.contains("refold store empty"),
            "{reason}; {remedy}"
        );
    }
}

#[tokio::test]
async fn a_newer_record_stops_it_behind_all_that_it_can_read() {
    let newer_event = String::from_utf8(food(2, "cake").to_vec())
        .unwrap()
        .replace(r#""type":"food.observed""#, r#""type":"food.observed","v":2"#);
    let unknown_event =
        String::from_utf8(food(2, "cake").to_vec()).unwrap().replace("food.observed", "food.eaten");
    let newer_record = format!(r#"{{"v":2,"log":"{LOG}","anything":1}}"#);
    for newer in [newer_event, unknown_event, newer_record] {
        let log = Arc::new(MemoryLog::new(foods(&["pie"])));
        log.push(2, newer.into());
        log.push(3, food(3, "pie"));
        let running = start(ALONE, &log, Arc::new(MemoryStore::default()));
        let (reason, remedy) = running.stopped().await;
        assert!(reason.contains("at offset 2") && remedy.contains("newer refold"), "{reason}; {remedy}");
        assert_eq!(running.reach(1).await.position.offset, 1);
        assert_eq!(running.count("pie").await.as_deref(), Some("1"));
    }
}

/// A store that fails, before or after it has done what it was asked.
struct Failing {
    store: MemoryStore,
    flushes: AtomicUsize,
}

#[async_trait]
impl Store for Failing {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        self.store.load(partition, wanted).await
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.store.scan(partition, range).await
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        match self.flushes.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => anyhow::bail!("no room"),
            1 => {
                self.store.flush(partition, flush).await?;
                anyhow::bail!("no answer")
            }
            _ => self.store.flush(partition, flush).await,
        }
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        self.store.catalogue().await
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.store.reset(catalogue).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_without_an_answer_is_repeated_and_counts_once() {
    let log = Arc::new(MemoryLog::new(foods(&["pie"])));
    let store = Failing { store: MemoryStore::default(), flushes: AtomicUsize::new(0) };
    let running = start(ALONE, &log, Arc::new(store));
    for seq in 2..6 {
        running.reach(seq - 1).await;
        log.push(seq, food(seq, "pie"));
    }
    running.reach(5).await;
    assert_eq!(running.count("pie").await.as_deref(), Some("5"));
    assert_eq!(running.progress.state(0).condition, Condition::Running);
}

/// A log that answers one reader, and no other.
struct ReadOnce {
    log: MemoryLog,
    reads: AtomicUsize,
}

#[async_trait]
impl EventLog for ReadOnce {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        self.log.append(partition, record).await
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        if self.reads.fetch_add(1, Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
        self.log.read(partition, from).await
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        self.log.check().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_does_not_run_before_the_log_bears_its_new_store_out() {
    let log = ReadOnce { log: MemoryLog::new(foods(&["pie"])), reads: AtomicUsize::new(0) };
    let running = start(ALONE, &Arc::new(log), Arc::new(MemoryStore::default()));
    // Time goes on once nobody has anything left to do.
    assert!(tokio::time::timeout(WAIT_MAX, running.progress.reach(0, 0)).await.is_err());
    assert!(running.store.load(0, Wanted::new()).await.unwrap().head.is_some());
    assert_eq!(running.progress.state(0).condition, Condition::Starting);
}

#[tokio::test]
async fn a_store_emptied_or_rolled_back_meanwhile_is_folded_forward_again() {
    let log = Arc::new(MemoryLog::new(foods(&["pie", "pie"])));
    let store = Arc::new(MemoryStore::default());
    let running = start(ALONE, &log, Arc::clone(&store) as _);
    running.reach(2).await;
    let early = store.snapshot();
    for seq in 3..5 {
        log.push(seq, food(seq, "pie"));
    }
    running.reach(4).await;
    let held = running.held().await;
    store.restore(&early);
    log.push(5, food(5, "cake"));
    running.reach(5).await;
    store.reset(Vec::new()).await.unwrap();
    log.push(6, food(6, "cake"));
    running.reach(6).await;
    assert_eq!(running.count("pie").await.as_deref(), Some("4"));
    assert_eq!(running.count("cake").await.as_deref(), Some("2"));
    assert_ne!(running.held().await, held);
}

#[tokio::test]
async fn two_projectors_of_one_partition_count_once() {
    for store in stores().await {
        let log = Arc::new(MemoryLog::new(foods(&["pie"])));
        let one = start(ALONE, &log, Arc::clone(&store));
        let other = start(ALONE, &log, store);
        for seq in 2..50 {
            log.push(seq, food(seq, "pie"));
            if seq % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        one.reach(49).await;
        other.reach(49).await;
        assert_eq!(one.count("pie").await.as_deref(), Some("49"));
    }
}

fn records(log: &[Sent]) -> Vec<(Offset, Bytes)> {
    let genesis = (GENESIS, genesis(PLACE).into());
    let behind = log.iter().map(|sent| (sent.offset, sent.bytes.clone().into()));
    std::iter::once(genesis).chain(behind).collect()
}

/// A head, but for what is different each time that a log is folded.
fn comparable(head: &Head) -> Head {
    Head { target: 0, epoch: serde_json::from_str("\"0000000000000000\"").unwrap(), ..head.clone() }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn keys_swept_away_change_nothing(log in log(), at in 0usize..40) {
        rule::remember_keys(KEYS_REMEMBERED);
        block_on(async {
            let all = records(&log);
            let mut model = Model::new(PLACE, KEYS_REMEMBERED);
            log.iter().for_each(|sent| model.pass(sent));
            let (early, late) = all.split_at((at % all.len()) + 1);
            let growing = Arc::new(MemoryLog::new(early.to_vec()));
            let running = start(PLACE, &growing, Arc::new(MemoryStore::default()));
            running.reach(early.last().unwrap().0).await;
            for (offset, bytes) in late {
                growing.push(*offset, bytes.clone());
                running.reach(*offset).await;
            }
            let head = running.reach(all.last().unwrap().0).await;
            prop_assert_eq!((head.seen, head.keys), (model.seen, model.keys()));
            let held = running.held().await;
            // Record by record a sweep is never far behind.
            let behind = head.keys.saturating_sub(KEYS_REMEMBERED).saturating_sub(head.swept);
            prop_assert!(late.is_empty() || behind < 2 * KEYS_REMEMBERED + 9, "{head:?}");
            prop_assert!(held["keys"].keys().all(|key| **key > head.swept.to_be_bytes()[..]));
            let parse = |(key, entry): (&Blob, &Blob)| {
                (String::from_utf8(key.clone()).unwrap(), serde_json::from_slice::<StreamEntry>(entry).unwrap())
            };
            let mut streams: BTreeMap<_, _> = held["streams"].iter().map(parse).collect();
            let forgotten = streams.extract_if(.., |_, entry| !entry.is_remembered(head.keys)).collect::<Vec<_>>();
            prop_assert_eq!(streams, model.streams());
            prop_assert!(forgotten.iter().all(|(_, entry)| entry.number > Some(head.swept)), "{forgotten:?}");
            Ok(())
        })?;
    }

    #[test]
    fn an_emptied_store_is_folded_anew_to_the_same_bytes(log in log(), at in 0usize..40) {
        block_on(async {
            let all = records(&log);
            let end = all.last().unwrap().0;
            // Once as it comes, delivered twice and with a restart in the middle; and once in one go.
            for store in stores().await {
                let (early, late) = all.split_at((at % all.len()) + 1);
                let twice = Arc::new(MemoryLog::redelivering(early.to_vec(), 2));
                start(PLACE, &twice, Arc::clone(&store)).reach(early.last().unwrap().0).await;
                let running = start(PLACE, &twice, Arc::clone(&store));
                for (offset, bytes) in late {
                    twice.push(*offset, bytes.clone());
                }
                let head = running.reach(end).await;
                let held = running.held().await;
                drop(running);
                store.reset(Vec::new()).await.unwrap();
                let again = start(PLACE, &Arc::new(MemoryLog::new(all.clone())), store);
                let anew = again.reach(end).await;
                prop_assert_eq!(comparable(&anew), comparable(&head));
                prop_assert_eq!(again.held().await, held);
            }
            Ok(())
        })?;
    }
}
