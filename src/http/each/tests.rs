//! Lines on a log that confirms nothing: how many of them are under way, of however many bodies.

use super::*;
use crate::genesis;
use crate::writer::Writer;
use async_trait::async_trait;
use bytes::Bytes;
use poem::Request;
use refold_adapters::embedded::EmbeddedLog;
use refold_domain::commit::Guard;
use refold_domain::decision::NewEvent;
use refold_domain::log::{AppendError, Bounds, EventLog, LogError, Offset, Records, Risk};
use refold_projections::gate::Place;
use refold_projections::progress::Progress;
use refold_projections::projector::Projector;
use refold_projections::store::MemoryStore;
use serde::Deserialize;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::tempdir;

/// Longer than anything here takes.
const WAIT: Duration = Duration::from_secs(600);
const BODIES: usize = 3;
static DECIDED: AtomicUsize = AtomicUsize::new(0);

/// A log that at some moment stops to confirm.
struct Stuck {
    log: EmbeddedLog,
    is_stuck: AtomicBool,
}

#[async_trait]
impl EventLog for Stuck {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        if self.is_stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.log.append(partition, record).await
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

/// A command about something of its own.
#[derive(Debug, Serialize, Deserialize)]
struct Thing(usize);

impl Single for Thing {
    fn key(&self) -> String {
        self.0.to_string()
    }

    fn stream(&self) -> String {
        format!("thing:{}", self.0)
    }

    fn decide(&self, _recorded: Option<Hash>) -> Result<Decision, Rejection> {
        DECIDED.fetch_add(1, Ordering::Relaxed);
        let events = vec![NewEvent::new("food.observed", None, &serde_json::json!({"food": "pie"}))];
        Ok(Decision::Record { guards: vec![Guard::step(self.stream(), 0)], events })
    }
}

#[tokio::test]
async fn all_bodies_together_have_so_many_lines_under_way() {
    let dir = tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 1).unwrap();
    let stuck = Arc::new(Stuck { log, is_stuck: AtomicBool::new(false) });
    let log: Arc<dyn EventLog> = Arc::clone(&stuck) as _;
    let id = genesis::open(log.as_ref(), NonZeroU32::MIN).await.unwrap();
    let (store, progress) = (Arc::new(MemoryStore::default()), Arc::new(Progress::new(id, 1)));
    let place = Place { log: id, partitions: 1, partition: 0 };
    let projector = Projector {
        place,
        log: Arc::clone(&log),
        store: Arc::clone(&store) as _,
        projections: Arc::default(),
        progress: Arc::clone(&progress),
    };
    let projector = tokio::spawn(projector.run());
    progress.reach(0, 1).await;
    stuck.is_stuck.store(true, Ordering::Relaxed);
    let writer = Arc::new(Writer::start(&log, id, 1, BODIES * LINES_AT_ONCE));
    let commands = Arc::new(Commands {
        log,
        store,
        progress,
        writer,
        append_wait: WAIT,
        verdict_wait: WAIT,
        recalled: Arc::default(),
    });
    let turns = Arc::new(Semaphore::new(LINES_AT_ONCE));
    let bodies: Vec<_> = (0..BODIES)
        .map(|body| {
            let mut lines = Lines::default();
            (0..LINES_AT_ONCE).for_each(|line| lines.push(1, &Thing(body * LINES_AT_ONCE + line)));
            let many = Many::<Thing>::of(lines, Arc::clone(&turns));
            let (commands, call) =
                (Arc::clone(&commands), Call::of(&Request::default(), "POST /things").unwrap());
            tokio::spawn(async move { each(&commands, &call, &many).await.map(drop) })
        })
        .collect();
    while DECIDED.load(Ordering::Relaxed) < LINES_AT_ONCE {
        tokio::task::yield_now().await;
    }
    // Whatever else could begin has the time to.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(DECIDED.load(Ordering::Relaxed), LINES_AT_ONCE);
    bodies.iter().for_each(tokio::task::JoinHandle::abort);
    projector.abort();
}
