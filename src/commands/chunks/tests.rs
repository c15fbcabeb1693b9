//! Many facts on a log that fails after some of their chunks, in processes that die there.

use super::*;
use crate::genesis;
use crate::writer::Writer;
use async_trait::async_trait;
use bytes::Bytes;
use refold_adapters::embedded::EmbeddedLog;
use refold_domain::foods::{Food, OBSERVED};
use refold_domain::lines::{CHUNK_LINES_MAX, chunk_hash};
use refold_domain::log::{AppendError, Bounds, EventLog, LogError, Offset, Records, Risk};
use refold_domain::stream;
use refold_projections::gate::Place;
use refold_projections::progress::Progress;
use refold_projections::projector::Projector;
use refold_projections::store::{MemoryStore, Store};
use std::future::pending;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::{TempDir, tempdir};
use tokio::task::JoinSet;
use uuid::Uuid;

const PARTITIONS: u32 = 3;
/// How many chunks are recorded; the last is not full.
const CHUNKS: usize = 5;
const LINES: usize = (CHUNKS - 1) * CHUNK_LINES_MAX + 1;
/// How long a log that works may take.
const WAIT: Duration = Duration::from_secs(60);
/// How long one is waited for that does not.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// How a log fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Refuses,
    Hangs,
    /// It stores, but says nothing.
    HangsAfterwards,
}

/// A log that fails after so many appends.
struct Fragile {
    log: EmbeddedLog,
    left: AtomicUsize,
    failure: Mutex<Failure>,
    _directory: TempDir,
}

impl Fragile {
    async fn new() -> (Arc<Self>, Uuid) {
        let directory = tempdir().unwrap();
        let log = EmbeddedLog::open(directory.path(), PARTITIONS).unwrap();
        let failure = Mutex::new(Failure::Refuses);
        let fragile = Self { log, left: AtomicUsize::new(usize::MAX), failure, _directory: directory };
        let id = genesis::open(&fragile, NonZeroU32::new(PARTITIONS).unwrap()).await.unwrap();
        (Arc::new(fragile), id)
    }

    fn fail_after(&self, appends: usize, failure: Failure) {
        *self.failure.lock().unwrap() = failure;
        self.left.store(appends, Ordering::Relaxed);
    }
}

#[async_trait]
impl EventLog for Fragile {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let take = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return self.log.append(partition, record).await;
        }
        let failure = *self.failure.lock().unwrap();
        match failure {
            Failure::Refuses => return Err(AppendError::Refused("it is told to".into())),
            Failure::Hangs => {}
            Failure::HangsAfterwards => self.log.append(partition, record).await?,
        }
        pending().await
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        self.log.read(partition, from).await
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        self.log.check().await
    }
}

/// A process; it dies when this is dropped.
struct Process {
    commands: Commands,
    _projectors: JoinSet<()>,
}

impl Process {
    /// On a store that is empty, and soon folded.
    async fn start(log: &Arc<Fragile>, id: Uuid, append_wait: Duration) -> Self {
        let log: Arc<dyn EventLog> = Arc::clone(log) as _;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let progress = Arc::new(Progress::new(id, PARTITIONS));
        let mut projectors = JoinSet::new();
        for partition in 0..PARTITIONS {
            let projector = Projector {
                place: Place { log: id, partitions: PARTITIONS, partition },
                log: Arc::clone(&log),
                store: Arc::clone(&store),
                projections: Arc::default(),
                progress: Arc::clone(&progress),
            };
            projectors.spawn(projector.run());
        }
        let writer = Arc::new(Writer::start(&log, id, PARTITIONS, 100));
        let commands = Commands {
            log,
            store,
            progress,
            writer,
            append_wait,
            verdict_wait: WAIT,
            recalled: Arc::default(),
        };
        let process = Self { commands, _projectors: projectors };
        process.catch_up().await;
        process
    }

    async fn catch_up(&self) {
        for partition in 0..PARTITIONS {
            self.commands.pass_end(partition, tokio::time::Instant::now() + WAIT).await.unwrap();
        }
    }

    /// How many commands count.
    async fn accepted(&self) -> u64 {
        self.catch_up().await;
        let head = |partition| self.commands.progress.state(partition).head.unwrap();
        (0..PARTITIONS).map(|partition| head(partition).seen.accepted).sum()
    }

    async fn record(&self, lines: &Lines, key: Option<&str>) -> Result<Vec<Receipt>, Incomplete> {
        self.commands.record_facts(&OBSERVED, lines, &chunks(lines, key)).await
    }
}

fn lines(food: &str) -> Lines {
    let mut lines = Lines::default();
    let food = Food { food: food.into() };
    (1..).take(LINES).for_each(|number| lines.push(number, &food));
    lines
}

/// The chunks, each in the partition that its number says.
fn chunks(lines: &Lines, key: Option<&str>) -> Vec<Chunk> {
    let chunk = |(number, part): (u32, Range<usize>)| {
        let partition_key = number.to_string();
        let idempotency = |key| stream::idempotency_of_part("", "POST /foods", &partition_key, key, number);
        let request = Request {
            idempotency: key.map(idempotency),
            partition_key: key.map(|_| partition_key.clone()),
            events: part.len(),
            hash: Some(chunk_hash(lines.hash(), number)),
            trace: None,
            streams: Vec::new(),
        };
        Chunk { lines: part, request }
    };
    (0..).zip(lines.chunks()).map(chunk).collect()
}

/// How many lines so many chunks may have: the last one has fewer.
fn lines_of(chunks: usize) -> [usize; 2] {
    [chunks * CHUNK_LINES_MAX, (chunks.max(1) - 1) * CHUNK_LINES_MAX + usize::from(chunks > 0)]
}

#[tokio::test]
async fn a_repeat_finishes_what_is_missing() {
    let pies = lines("pie");
    let mut cut_off = 0;
    for failure in [Failure::Refuses, Failure::Hangs, Failure::HangsAfterwards] {
        for appends in 0..CHUNKS {
            let (log, id) = Fragile::new().await;
            let wait = if failure == Failure::Refuses { WAIT } else { SHORT_WAIT };
            let process = Process::start(&log, id, wait).await;
            log.fail_after(appends, failure);
            let outcome = process.record(&pies, Some("k")).await;
            // Chunks of one partition may ride in one commit.
            let Err(Incomplete { recorded, unknown, .. }) = outcome else { continue };
            cut_off += 1;
            drop(process);
            log.fail_after(usize::MAX, failure);

            let process = Process::start(&log, id, WAIT).await;
            let before = usize::try_from(process.accepted().await).unwrap();
            let place =
                format!("{failure:?} after {appends}: told {recorded} and {unknown}, there are {before}");
            let is_told = |lines: usize| (recorded..=recorded + unknown).contains(&lines);
            assert!(lines_of(before).into_iter().any(is_told), "{place}");

            let receipts = process.record(&pies, Some("k")).await.unwrap();
            assert_eq!(process.accepted().await, CHUNKS as u64, "{place}");
            assert_eq!(process.record(&pies, Some("k")).await.unwrap(), receipts, "{place}");
            let other = process.record(&lines("soup"), Some("k")).await.unwrap_err();
            assert!(matches!(other.cause, CommandError::KeyReused) && other.recorded == 0, "{other:?}");
            assert_eq!(process.accepted().await, CHUNKS as u64, "{place}");
        }
    }
    assert!(cut_off >= CHUNKS, "chunks never went one by one: {cut_off}");
}

#[tokio::test]
async fn who_gets_beyond_the_first_chunk_is_alone_with_the_key() {
    let (log, id) = Fragile::new().await;
    let process = Process::start(&log, id, WAIT).await;
    log.fail_after(1, Failure::Refuses);
    let cut_off = process.record(&lines("pie"), Some("k")).await.unwrap_err();
    assert_eq!((cut_off.recorded, cut_off.unknown), (CHUNK_LINES_MAX, 0));
    let other = process.record(&lines("soup"), Some("k")).await.unwrap_err();
    assert!(matches!(other.cause, CommandError::KeyReused), "{other:?}");
    assert_eq!((other.recorded, other.unknown), (0, 0));
}

#[tokio::test]
async fn without_a_key_it_is_told_how_many_lines_are_recorded() {
    let (log, id) = Fragile::new().await;
    let process = Process::start(&log, id, WAIT).await;
    let pies = lines("pie");
    assert_eq!(process.record(&pies, None).await.unwrap().len(), PARTITIONS as usize);
    log.fail_after(0, Failure::Refuses);
    let nothing = process.record(&pies, None).await.unwrap_err();
    assert!(matches!(nothing.cause, CommandError::NotRecorded(_)), "{nothing:?}");
    assert_eq!((nothing.recorded, nothing.unknown, nothing.has_key), (0, 0, false));
    log.fail_after(1, Failure::Hangs);
    let process = Process::start(&log, id, SHORT_WAIT).await;
    let part = process.record(&pies, None).await.unwrap_err();
    assert!(part.unknown > 0 && part.recorded + part.unknown <= LINES, "{part:?}");
}

#[tokio::test]
async fn the_last_receipt_is_the_last_on_the_log() {
    let (log, id) = Fragile::new().await;
    let process = Process::start(&log, id, WAIT).await;
    let one = |food: &str, key: &str| {
        let mut lines = Lines::default();
        lines.push(1, &Food { food: food.into() });
        let chunk = chunks(&lines, Some(key)).remove(0);
        (lines, chunk)
    };
    let record = async |food: &str, key: &str| {
        let (lines, chunk) = one(food, key);
        let recorded = process.commands.record_chunk(&OBSERVED, &lines, &chunk).await.unwrap();
        (recorded, chunk.request.idempotency.unwrap())
    };
    record("first", "first").await;
    let (new, stream) = record("new", "new").await;
    record("last", "last").await;
    for (food, is_last) in [("first", false), ("last", true)] {
        let (repeat, repeated) = record(food, food).await;
        assert!(repeat.is_repeat());
        let mut latest = Latest::default();
        latest.note(&new, Some(&stream));
        latest.note(&repeat, Some(&repeated));
        let expected = if is_last { repeat.receipt } else { new.receipt };
        assert_eq!(process.commands.receipts(&latest).await.unwrap(), [expected], "{food}");
    }
}
