//! Commands that are overtaken between their look and the log's verdict, at the worst moment: when their time is up.

use super::*;
use crate::genesis;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use refold_domain::commit::pack;
use refold_domain::log::{AppendError, Bounds, LogError, Records, Risk};
use refold_projections::gate::Place;
use refold_projections::projector::Projector;
use refold_projections::store::{Blob, Flush, Flushed, Loaded, MemoryStore, Range, Scanned, Space, Wanted};
use std::num::NonZeroU32;
use std::sync::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, yield_now};
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(5);
const KEY: &str = "idem:somebody:key";
const STREAM: &str = "introduction:7";
const RIVAL: Uuid = Uuid::from_u128(7);

/// A log of one partition in memory. What is in `faster` comes before the next append, which then takes so long that
/// the time of whoever sent it is up.
#[derive(Default)]
struct Overtaken {
    records: watch::Sender<Vec<Bytes>>,
    faster: Mutex<Option<Bytes>>,
}

#[async_trait]
impl EventLog for Overtaken {
    async fn append(&self, _: u32, record: Bytes) -> Result<(), AppendError> {
        let faster = self.faster.lock().unwrap().take();
        if let Some(faster) = faster {
            self.records.send_modify(|records| records.push(faster));
            tokio::time::advance(WAIT * 2).await;
        }
        self.records.send_modify(|records| records.push(record));
        Ok(())
    }

    async fn read(&self, _: u32, from: Offset) -> Result<Records, LogError> {
        // A log that is elsewhere does not answer at once.
        yield_now().await;
        let next = futures::stream::unfold((self.records.subscribe(), from), async |(mut records, from)| {
            let at = usize::try_from(from).unwrap();
            let record = records.wait_for(|records| records.len() > at).await.ok()?[at].clone();
            Some((Ok((from, record)), (records, from + 1)))
        });
        Ok(next.boxed())
    }

    async fn bounds(&self, _: u32) -> Result<Bounds, LogError> {
        let last = self.records.borrow().len().checked_sub(1).map(|last| last as Offset);
        Ok(Bounds { first: last.map(|_| 0), end: last.map_or(End::Empty, End::Last) })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        Ok(Vec::new())
    }
}

/// Commands on a log of their own, with a projector that runs until this is dropped.
struct World {
    id: Uuid,
    log: Arc<Overtaken>,
    commands: Commands,
    projector: AbortHandle,
}

impl World {
    async fn new() -> Self {
        let overtaken = Arc::new(Overtaken::default());
        let log: Arc<dyn EventLog> = Arc::clone(&overtaken) as _;
        let id = genesis::open(log.as_ref(), NonZeroU32::MIN).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let progress = Arc::new(Progress::new(id, 1));
        let projector = Projector {
            place: Place { log: id, partitions: 1, partition: 0 },
            log: Arc::clone(&log),
            store: Arc::clone(&store),
            projections: Arc::default(),
            progress: Arc::clone(&progress),
        };
        let projector = tokio::spawn(projector.run()).abort_handle();
        progress.reach(0, 1).await;
        let writer = Arc::new(Writer::start(&log, id, 1, 10));
        let commands = Commands {
            log,
            store,
            progress,
            writer,
            append_wait: WAIT * 10,
            verdict_wait: WAIT,
            recalled: Arc::default(),
        };
        Self { id, log: overtaken, commands, projector }
    }

    /// Somebody appends a command that moves `stream` before the next one.
    fn overtake(&self, stream: &str, hash: Hash) {
        let guards = vec![Guard::step(stream.to_owned(), 0)];
        let command = decision::encode(guards, Some(hash), None, &[pie()]);
        let commit = pack(self.id, RIVAL, 1, jiff::Timestamp::UNIX_EPOCH, [&command[..]].into_iter());
        *self.log.faster.lock().unwrap() = Some(commit.into());
    }

    /// Moves the stream one on from wherever it stands, under the key.
    async fn execute(&self) -> Result<Recorded, CommandError> {
        let request = Request {
            partition_key: Some("7".into()),
            events: 1,
            idempotency: Some(KEY.into()),
            hash: Some(Hash::of(b"mine")),
            trace: None,
            streams: vec![STREAM.into()],
        };
        let decide = |streams: &Streams| {
            let at = streams.get(STREAM).map_or(0, |entry| entry.at);
            Ok(Decision::Record { guards: vec![Guard::step(STREAM.into(), at)], events: vec![pie()] })
        };
        self.commands.execute(&request, decide).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.projector.abort();
    }
}

fn pie() -> NewEvent {
    NewEvent::new("food.observed", None, &serde_json::json!({"food": "pie"}))
}

#[tokio::test(start_paused = true)]
async fn one_that_was_overtaken_by_itself_is_answered_as_the_first() {
    let world = World::new().await;
    world.overtake(KEY, Hash::of(b"mine"));
    let recorded = world.execute().await.unwrap();
    assert_eq!((recorded.receipt.writer, recorded.origin), (RIVAL, Origin::RepeatedKey));
    assert_eq!(recorded.events[0].data.get(), r#"{"food":"pie"}"#);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_overtaken_under_its_key_by_another_is_told_so() {
    let world = World::new().await;
    world.overtake(KEY, Hash::of(b"another's"));
    let outcome = world.execute().await;
    assert!(matches!(outcome, Err(CommandError::KeyReused)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_overtaken_by_others_until_its_time_was_up_is_contended() {
    let world = World::new().await;
    world.overtake(STREAM, Hash::of(b"another's"));
    let outcome = world.execute().await;
    assert!(matches!(outcome, Err(CommandError::Contended)), "{outcome:?}");
    // With time left it is decided anew.
    assert_eq!(world.execute().await.unwrap().origin, Origin::New);
}

/// A store in which nobody finds a verdict, but the projector, which has the one within.
struct Unjudged(Arc<dyn Store>);

#[async_trait]
impl Store for Unjudged {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        anyhow::ensure!(!wanted.contains_key(&Space::Writers), "out of descriptors");
        self.0.load(partition, wanted).await
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.0.scan(partition, range).await
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        self.0.flush(partition, flush).await
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        self.0.catalogue().await
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.0.reset(catalogue).await
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_verdict_cannot_be_read_may_count() {
    let mut world = World::new().await;
    world.commands.store = Arc::new(Unjudged(Arc::clone(&world.commands.store)));
    let outcome = world.execute().await;
    let Err(CommandError::OutcomeUnknown(reason)) = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("on the log") && reason.contains("out of descriptors"), "{reason}");
    // It does count: a repeat finds it.
    assert_eq!(world.execute().await.unwrap().origin, Origin::RepeatedKey);
}
