//! One schedule: a world with a broker, a store, processes and clients, broken for a while and then healed.

use super::check;
use super::client::{Answer, Asked, Client, Seen};
use super::dump::Dump;
use super::faults::Faults;
use super::log::Broker;
use super::many::Fed;
use super::model::Model;
use super::peers;
use super::process::{Process, Ready};
use super::store::Shared;
use super::store::at_once;
use super::turnstile::Turnstile;
use crate::settings::role::Role;
use futures::FutureExt;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use refold_domain::{rule, stream};
use refold_projections::progress::Condition;
use refold_projections::store::{MemoryStore, Snapshot, Store, Wanted};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many partitions the log has.
pub(super) const PARTITIONS: u32 = 2;
/// How many ticks a schedule may take to come to rest once all is well.
const SETTLE_TICKS: u32 = 50_000;
/// How long, by the paused clock, it may take.
const SETTLE_TIME: Duration = Duration::from_secs(900);
/// When nothing was appended for so long, no writer is about to try again.
const RETRIES_TIME: Duration = Duration::from_secs(2);
/// How many keys a partition remembers in a schedule that is to see them forgotten.
const FEW_KEYS: u64 = 3;

/// What processes find outside of themselves.
pub(super) struct Outside {
    pub turnstile: Arc<Turnstile>,
    pub faults: Arc<Faults>,
    pub broker: Arc<Broker>,
    pub store: Arc<Shared>,
    pub peers: Arc<peers::Shared>,
    pub partitions: u32,
}

pub(super) struct World {
    outside: Arc<Outside>,
    /// By slot: the process that stands there.
    processes: Mutex<Vec<Option<Arc<Process>>>>,
    started: Mutex<u32>,
    asked: Mutex<Vec<Asked>>,
    seen: Mutex<Vec<Seen>>,
    fed: Mutex<Vec<Fed>>,
    complaints: Mutex<Vec<String>>,
    waiting_clients: AtomicUsize,
    healed: Notify,
    snapshots: Mutex<Vec<Snapshot>>,
}

/// What came of a schedule.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What tells this history from any other.
    pub digest: u64,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    pub trace: Vec<String>,
}

/// Runs the schedule of a seed.
pub(super) fn run(seed: u64, is_traced: bool) -> Outcome {
    let mut rng = SmallRng::seed_from_u64(seed);
    let memory = if rng.random_ratio(1, 3) { FEW_KEYS } else { stream::KEYS_REMEMBERED };
    rule::remember_keys(memory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O");
    let world = World::new(&mut rng, is_traced);
    let broken = runtime.block_on(world.live(&mut rng)).err();
    rule::remember_keys(stream::KEYS_REMEMBERED);
    let turnstile = world.turnstile();
    Outcome { digest: turnstile.digest(), broken, trace: turnstile.trace() }
}

impl Outside {
    /// Whether the store has folded what the log does not hold.
    fn store_has_diverged(&self) -> bool {
        (0..self.partitions).any(|partition| {
            let loaded = at_once(self.store.memory.load(partition, Wanted::new()));
            let head = loaded.ok().and_then(|loaded| loaded.head);
            let end = self.broker.ends()[partition as usize];
            head.is_some_and(|head| !self.broker.holds(partition, head.position) || Some(head.target) > end)
        })
    }
}

impl World {
    fn new(rng: &mut SmallRng, is_traced: bool) -> Arc<Self> {
        let turnstile = Arc::new(Turnstile::new(rng.random(), is_traced));
        let faults = Arc::new(Faults::draw(rng));
        turnstile.note(|| format!("{faults:?}"));
        let broker = Arc::new(Broker::new(Arc::clone(&turnstile), Arc::clone(&faults), PARTITIONS));
        let store = Arc::new(Shared {
            turnstile: Arc::clone(&turnstile),
            faults: Arc::clone(&faults),
            memory: MemoryStore::default(),
            odd: Mutex::default(),
            put_back: AtomicUsize::new(0),
        });
        let peers = Arc::new(peers::Shared {
            turnstile: Arc::clone(&turnstile),
            faults: Arc::clone(&faults),
            roster: Mutex::default(),
            listeners: Mutex::default(),
        });
        let slots = rng.random_range(1..=3);
        Arc::new(Self {
            outside: Arc::new(Outside { turnstile, faults, broker, store, peers, partitions: PARTITIONS }),
            processes: Mutex::new(vec![None; slots]),
            started: Mutex::new(0),
            asked: Mutex::default(),
            seen: Mutex::default(),
            fed: Mutex::default(),
            complaints: Mutex::default(),
            waiting_clients: AtomicUsize::new(0),
            healed: Notify::new(),
            snapshots: Mutex::default(),
        })
    }

    async fn live(self: &Arc<Self>, rng: &mut SmallRng) -> Result<(), String> {
        let clients = rng.random_range(1..=4);
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            tasks.spawn(Client::new(self, number).run(rng.random_range(2..=8)));
        }
        let chaos_ticks = rng.random_range(100..=600);
        self.turnstile().delay_answers(self.outside.faults.answers_late);
        for _ in 0..chaos_ticks {
            self.turnstile().tick().await;
            self.break_something();
            self.turnstile().let_one_go();
            if self.waiting_clients.load(Ordering::Relaxed) == clients as usize {
                break;
            }
        }
        self.heal();
        self.until("the clients have their answers", || {
            while let Some(ended) = tasks.try_join_next() {
                ended.expect("a client does not panic");
            }
            tasks.is_empty()
        })
        .await?;
        self.come_to_rest().await?;
        self.settle().await?;
        let model = self.hold_to_account()?;
        if !model.has_lost {
            self.answer_for_all_receipts()?;
        }
        let before = self.dump(&model)?;
        self.empty_store();
        self.settle().await?;
        let after = self.dump(&model)?;
        before.iter().zip(&after).try_for_each(|(before, after)| before.same(after))
    }

    /// Lets the world go on until something holds.
    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
        let began = Instant::now();
        for _ in 0..SETTLE_TICKS {
            if holds() {
                return Ok(());
            }
            if began.elapsed() > SETTLE_TIME {
                break;
            }
            self.turnstile().tick().await;
            self.turnstile().let_one_go();
            self.look_after()?;
        }
        Err(format!("it never comes to this: {what}"))
    }

    /// Waits until no writer tries any more.
    async fn come_to_rest(&self) -> Result<(), String> {
        let mut last = (self.changes_count(), Instant::now());
        self.until("the writers rest", || {
            if last.0 != self.changes_count() {
                last = (self.changes_count(), Instant::now());
            }
            last.1.elapsed() > RETRIES_TIME
        })
        .await
    }

    /// Waits until every process has folded the log to its end.
    async fn settle(&self) -> Result<(), String> {
        self.until("every process has folded the log to its end", || {
            let ends = self.outside.broker.ends();
            let has_ended = |ready: &Ready| ready.progress.position().offsets == ends;
            let is_stored = |partition| self.head_offset(partition) == ends[partition as usize];
            self.serving().len() == self.processes().len()
                && self.serving().iter().all(|process| process.ready().is_some_and(|ready| has_ended(&ready)))
                && (0..PARTITIONS).all(is_stored)
        })
        .await
    }

    fn head_offset(&self, partition: u32) -> Option<u64> {
        let loaded = at_once(self.outside.store.memory.load(partition, Wanted::new())).ok()?;
        loaded.head.filter(|head| head.is_caught_up()).map(|head| head.position.offset)
    }

    /// Lets happen what may happen between two calls.
    fn break_something(self: &Arc<Self>) {
        let (faults, turnstile) = (&self.outside.faults, self.turnstile());
        self.outside.broker.land_late(turnstile.now());
        let slot = turnstile.below(self.processes().len());
        let process = self.processes()[slot].clone();
        match process {
            None if turnstile.rolls(faults.start) => self.start(slot),
            Some(process) if turnstile.rolls(faults.kill) => {
                turnstile.note(|| format!("process {} is killed", process.number));
                process.kill();
                self.processes.lock().expect("unpoisoned")[slot] = None;
            }
            Some(process) if turnstile.rolls(faults.pause) => {
                let ticks = 10 + turnstile.below(200) as u64;
                turnstile.note(|| format!("process {} stands still for {ticks} ticks", process.number));
                turnstile.pause(process.number, ticks);
            }
            _ => {}
        }
        self.break_storage();
    }

    fn break_storage(&self) {
        let (faults, turnstile) = (&self.outside.faults, self.turnstile());
        let memory = &self.outside.store.memory;
        let mut snapshots = self.snapshots.lock().expect("unpoisoned");
        let has_begun = matches!(at_once(memory.catalogue()), Ok(Some(_)));
        if has_begun && turnstile.rolls(20) {
            snapshots.push(memory.snapshot());
        }
        if turnstile.rolls(faults.empty) {
            self.empty_store();
        }
        if turnstile.rolls(faults.roll_back) && !snapshots.is_empty() {
            turnstile.note(|| "the store is rolled back".into());
            self.outside.store.roll_back(&snapshots[turnstile.below(snapshots.len())]);
        }
        if turnstile.rolls(faults.lose) {
            self.outside.broker.lose(u32::from(turnstile.rolls(500)), 1 + turnstile.below(3));
        }
    }

    fn empty_store(&self) {
        let memory = &self.outside.store.memory;
        if let Ok(Some(catalogue)) = at_once(memory.catalogue()) {
            self.turnstile().note(|| "the store is emptied".into());
            drop(self.outside.store.empty(catalogue));
        }
    }

    fn heal(self: &Arc<Self>) {
        let turnstile = self.turnstile();
        turnstile.note(|| "all is well again".into());
        self.outside.faults.heal();
        turnstile.wake_all();
        turnstile.delay_answers(0);
        self.outside.broker.land_late(u64::MAX);
        let slots = self.processes().len();
        for slot in 0..slots {
            if self.processes()[slot].is_none() {
                self.start(slot);
            }
        }
        self.healed.notify_waiters();
    }

    /// What whoever runs the service does: reads what is said at `/readyz` and follows it.
    fn look_after(&self) -> Result<(), String> {
        if let Some(complaint) = self.complaints.lock().expect("unpoisoned").first() {
            return Err(complaint.clone());
        }
        for process in self.processes().iter().flatten() {
            if let Some(panic) = process.panicked() {
                return Err(panic);
            }
            let Some(ready) = process.ready() else { continue };
            for partition in 0..PARTITIONS {
                if let Condition::Stopped { reason, .. } = ready.progress.state(partition).condition {
                    if self.outside.faults.lose == 0 {
                        return Err(format!("a partition stopped though nothing was lost: {reason}"));
                    }
                    if self.outside.store_has_diverged() {
                        self.empty_store();
                    }
                }
            }
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, slot: usize) {
        let mut started = self.started.lock().expect("unpoisoned");
        *started += 1;
        // Somebody must fold; the others may.
        let role = if slot == 0 || self.turnstile().rolls(500) { Role::All } else { Role::Api };
        let process = Process::start(&self.outside, *started, role);
        self.turnstile().note(|| format!("process {started} ({role}) is started"));
        self.processes.lock().expect("unpoisoned")[slot] = Some(process);
    }

    fn hold_to_account(&self) -> Result<Model, String> {
        if let Some(odd) = self.outside.store.odd.lock().expect("unpoisoned").clone() {
            return Err(odd);
        }
        let asked = self.asked.lock().expect("unpoisoned");
        let seen = self.seen.lock().expect("unpoisoned");
        let model = check::all(PARTITIONS, &self.outside.broker.changes(), &asked, &seen)?;
        if !model.has_lost {
            self.fed.lock().expect("unpoisoned").iter().try_for_each(|fed| fed.follows(&model))?;
        }
        Ok(model)
    }

    /// Nobody may wait for ever for what every process has folded.
    fn answer_for_all_receipts(&self) -> Result<(), String> {
        let asked = self.asked.lock().expect("unpoisoned");
        let receipts = asked.iter().filter_map(|asked| match &asked.answer {
            Answer::Recorded(recorded) => Some(recorded.receipt),
            Answer::Failed(_) | Answer::None => None,
        });
        let receipts: Vec<_> = receipts.collect();
        for process in self.serving() {
            let ready = process.ready().ok_or("nobody serves")?;
            let is_judged =
                |receipt| ready.progress.judged(&self.outside.store.memory, receipt).now_or_never();
            if let Some(receipt) = receipts.iter().find(|receipt| is_judged(receipt).is_none()) {
                return Err(format!("process {} has folded {receipt:?}, but waits for it", process.number));
            }
        }
        Ok(())
    }

    /// What the store holds, which must be what the log means.
    fn dump(&self, model: &Model) -> Result<Vec<Dump>, String> {
        let ready = self.serving()[0].ready().ok_or("nobody serves")?;
        let mut dumps = Vec::new();
        for partition in &model.partitions {
            let dump = Dump::take(&self.outside.store.memory, partition.number, &ready.projections);
            let dump = dump.ok_or("the store is empty")?;
            dump.follows(partition)?;
            dumps.push(dump);
        }
        Ok(dumps)
    }

    pub(super) fn turnstile(&self) -> &Arc<Turnstile> {
        &self.outside.turnstile
    }

    pub(super) fn store(&self) -> &Arc<Shared> {
        &self.outside.store
    }

    pub(super) fn changes_count(&self) -> usize {
        self.outside.broker.changes_count()
    }

    pub(super) fn is_healed(&self) -> bool {
        self.outside.faults.is_healed()
    }

    /// Waits until all is well.
    pub(super) async fn healed(&self) {
        let healed = self.healed.notified();
        if !self.is_healed() {
            self.waiting_clients.fetch_add(1, Ordering::Relaxed);
            healed.await;
        }
    }

    /// The processes that take requests.
    pub(super) fn serving(&self) -> Vec<Arc<Process>> {
        let is_ready = |process: &Arc<Process>| process.ready().is_some();
        self.processes().into_iter().flatten().filter(is_ready).collect()
    }

    pub(super) fn asked(&self, asked: Asked) {
        self.asked.lock().expect("unpoisoned").push(asked);
    }

    pub(super) fn fed(&self, fed: Fed) {
        self.fed.lock().expect("unpoisoned").push(fed);
    }

    pub(super) fn saw(&self, seen: Seen) {
        self.seen.lock().expect("unpoisoned").push(seen);
    }

    pub(super) fn complain(&self, complaint: String) {
        self.complaints.lock().expect("unpoisoned").push(complaint);
    }

    fn processes(&self) -> Vec<Option<Arc<Process>>> {
        self.processes.lock().expect("unpoisoned").clone()
    }
}
