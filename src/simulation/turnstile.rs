//! Everything that touches the log or the store goes through here, one call at a time, in an order drawn by the seed.
//!
//! The clock is paused, so a tick of a millisecond passes only when every task waits for something. Then one of
//! the waiting calls has its effect, or one answer finds its way back. Which one is drawn from the calls in the
//! order of their callers' names, never in the order of their coming, so a seed is a history.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

/// What passes between two calls.
const TICK: Duration = Duration::from_millis(1);
/// How long it may be quiet before it is looked around again.
const QUIET: Duration = Duration::from_millis(50);

/// Who calls. Their order decides what a draw means, so it must not depend on anything random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Actor {
    /// The number of the process' start, or 0 for what is outside of all processes.
    pub process: u32,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    Start,
    Writer,
    Projector,
    Peers,
    Client(u32),
}

/// What happens to a call whose process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It changes something: it may be on its way already, and still arrive.
    Changes,
    /// It only asks.
    Asks,
}

/// A caller's way to the turnstile.
#[derive(Debug)]
pub(super) struct Caller {
    pub actor: Actor,
    /// By partition: calls on different ones may be made at the same time, in whichever order they come.
    calls: Mutex<BTreeMap<u32, u64>>,
}

type Key = (Actor, u32, u64);
type Answer = Box<dyn FnOnce() + Send>;
type Request = Box<dyn FnOnce() -> Answer + Send>;

enum Waiting {
    Request { what: &'static str, kind: Kind, run: Request },
    Answer(Answer),
}

/// The turnstile, and the one source of chance.
pub(super) struct Turnstile {
    held: Mutex<Held>,
    arrived: Notify,
}

struct Held {
    rng: SmallRng,
    tick: u64,
    waiting: BTreeMap<Key, Waiting>,
    paused: BTreeMap<u32, u64>,
    dead: BTreeSet<u32>,
    answers_late: u32,
    digest: u64,
    trace: Option<Vec<String>>,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.process, self.role) {
            (0, Role::Client(client)) => write!(f, "client {client}"),
            (process, Role::Client(client)) => write!(f, "process {process} for client {client}"),
            (process, role) => write!(f, "process {process} {role:?}"),
        }
    }
}

impl Caller {
    pub(super) fn new(process: u32, role: Role) -> Self {
        Self { actor: Actor { process, role }, calls: Mutex::default() }
    }

    /// The number of its next call on a partition.
    fn next(&self, partition: u32) -> u64 {
        let mut calls = self.calls.lock().expect("unpoisoned");
        let number = calls.entry(partition).or_default();
        *number += 1;
        *number
    }
}

impl Turnstile {
    pub(super) fn new(seed: u64, is_traced: bool) -> Self {
        let held = Held {
            rng: SmallRng::seed_from_u64(seed),
            tick: 0,
            waiting: BTreeMap::new(),
            paused: BTreeMap::new(),
            dead: BTreeSet::new(),
            answers_late: 0,
            digest: 0,
            trace: is_traced.then(Vec::new),
        };
        Self { held: Mutex::new(held), arrived: Notify::new() }
    }

    /// Waits for this call's turn, lets it have its effect, and waits for the answer to come back.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        caller: &Caller,
        partition: u32,
        (what, kind): (&'static str, Kind),
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (send, answer) = oneshot::channel();
        let run = move || -> Answer {
            let result = effect();
            Box::new(move || drop(send.send(result)))
        };
        let key = (caller.actor, partition, caller.next(partition));
        self.held().waiting.insert(key, Waiting::Request { what, kind, run: Box::new(run) });
        self.arrived.notify_one();
        match answer.await {
            Ok(result) => result,
            // Its process is dead; nobody is there to go on.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until every task waits, and lets a millisecond pass.
    pub(super) async fn tick(&self) {
        if self.held().waiting.is_empty() {
            drop(timeout(QUIET, self.arrived.notified()).await);
        }
        sleep(TICK).await;
        let mut held = self.held();
        held.tick += 1;
        let tick = held.tick;
        held.paused.retain(|_, until| *until > tick);
    }

    /// Lets one of the waiting calls go on.
    pub(super) fn let_one_go(&self) {
        let (key, waiting) = {
            let mut held = self.held();
            let paused = |key: &Key| held.paused.contains_key(&key.0.process);
            let ready: Vec<Key> = held.waiting.keys().filter(|key| !paused(key)).copied().collect();
            if ready.is_empty() {
                return;
            }
            let drawn = held.rng.random_range(0..ready.len());
            let waiting = held.waiting.remove(&ready[drawn]).expect("it was just listed");
            (ready[drawn], waiting)
        };
        match waiting {
            Waiting::Answer(answer) => answer(),
            Waiting::Request { what, run, .. } => {
                self.note(|| format!("{} {what} {}", key.0, key.1));
                let answer = run();
                if self.chance(|held| held.answers_late) {
                    self.held().waiting.insert(key, Waiting::Answer(answer));
                } else {
                    answer();
                }
            }
        }
    }

    /// Forgets what a dead process waits for; what it has sent off may arrive all the same.
    pub(super) fn bury(&self, process: u32) {
        let mut held = self.held();
        held.dead.insert(process);
        let keys: Vec<Key> = held.waiting.keys().filter(|key| key.0.process == process).copied().collect();
        for key in keys {
            let is_sent = matches!(held.waiting[&key], Waiting::Request { kind: Kind::Changes, .. });
            if !is_sent || held.rng.random_bool(0.5) {
                held.waiting.remove(&key);
            }
        }
    }

    /// Keeps a process from the log and the store for so many ticks; what it knows grows old.
    pub(super) fn pause(&self, process: u32, ticks: u64) {
        let mut held = self.held();
        let until = held.tick + ticks;
        held.paused.insert(process, until);
    }

    /// Ends all pauses.
    pub(super) fn wake_all(&self) {
        self.held().paused.clear();
    }

    /// How often, in a thousand, an answer comes later than its effect.
    pub(super) fn delay_answers(&self, per_mille: u32) {
        self.held().answers_late = per_mille;
    }

    pub(super) fn now(&self) -> u64 {
        self.held().tick
    }

    /// True so often in a thousand.
    pub(super) fn rolls(&self, per_mille: u32) -> bool {
        self.chance(|_| per_mille)
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: usize) -> usize {
        self.held().rng.random_range(0..end)
    }

    /// A source of chance of its own, for somebody whose draws must not disturb the others'.
    pub(super) fn fork(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.held().rng.random())
    }

    /// Adds a line to the history.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let line = line();
        let mut held = self.held();
        let tick = held.tick;
        // Added up, for within one tick the order may differ: tokio wakes those who watch the same thing as it likes,
        // and they all come to stand at the turnstile before anything else happens.
        let mut hasher = DefaultHasher::new();
        (tick, &line).hash(&mut hasher);
        held.digest = held.digest.wrapping_add(hasher.finish());
        if let Some(trace) = &mut held.trace {
            trace.push(format!("{tick:>6}  {line}"));
        }
    }

    /// What tells this history from any other.
    pub(super) fn digest(&self) -> u64 {
        self.held().digest
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.held().trace.clone().unwrap_or_default()
    }

    fn chance(&self, per_mille: impl FnOnce(&Held) -> u32) -> bool {
        let mut held = self.held();
        let per_mille = per_mille(&held);
        per_mille > 0 && held.rng.random_ratio(per_mille.min(1000), 1000)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no effect panics while it holds the turnstile")
    }
}
