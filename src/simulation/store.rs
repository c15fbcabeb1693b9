//! A store in memory behind a connection that fails before, after and instead of what it is asked to do.

use super::faults::Faults;
use super::turnstile::{Caller, Kind, Turnstile};
use anyhow::{anyhow, bail};
use async_trait::async_trait;
use futures::FutureExt;
use refold_domain::log::Offset;
use refold_domain::rule::{self, Rule};
use refold_projections::store::{
    Blob, Flush, Flushed, Loaded, MemoryStore, Range, Scanned, Snapshot, Store, Wanted,
};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The store as all processes share it.
pub(super) struct Shared {
    pub turnstile: Arc<Turnstile>,
    pub faults: Arc<Faults>,
    pub memory: MemoryStore,
    /// What no store may come to.
    pub odd: Mutex<Option<String>>,
    pub put_back: AtomicUsize,
}

/// A caller's connection to the store.
pub(super) struct Connection {
    pub shared: Arc<Shared>,
    pub caller: Arc<Caller>,
}

impl Shared {
    pub(super) fn empty(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.put_back.fetch_add(1, Ordering::Relaxed);
        at_once(self.memory.reset(catalogue))
    }

    pub(super) fn roll_back(&self, snapshot: &Snapshot) {
        self.put_back.fetch_add(1, Ordering::Relaxed);
        self.memory.restore(snapshot);
    }

    /// How often the store was emptied or rolled back.
    pub(super) fn put_back_count(&self) -> usize {
        self.put_back.load(Ordering::Relaxed)
    }

    /// How far each partition's state has to come before it answers.
    pub(super) fn targets(&self, partitions: u32) -> Vec<Option<Offset>> {
        (0..partitions).map(|partition| self.target(partition)).collect()
    }

    fn maybe_down(&self) -> anyhow::Result<()> {
        if self.turnstile.rolls(self.faults.now(self.faults.store_down)) {
            bail!("simulated: the store is away");
        }
        Ok(())
    }

    fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        if self.turnstile.rolls(self.faults.now(self.faults.flush_fails)) {
            self.turnstile.note(|| "not flushed".into());
            bail!("simulated: the store did not answer");
        }
        let flushed = self.apply(partition, flush)?;
        self.turnstile.note(|| format!("{flushed:?}"));
        if self.turnstile.rolls(self.faults.now(self.faults.flush_unheard)) {
            self.turnstile.note(|| "its answer is lost".into());
            bail!("simulated: the store's answer was lost");
        }
        Ok(flushed)
    }

    fn apply(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        let target = self.target(partition);
        let flushed = self.store(partition, flush);
        if target.is_some_and(|target| self.target(partition) != Some(target)) {
            *self.odd.lock().expect("unpoisoned") =
                Some("a state has another target than it was created with".into());
        }
        flushed
    }

    fn target(&self, partition: u32) -> Option<Offset> {
        at_once(self.memory.load(partition, Wanted::new())).ok()?.head.map(|head| head.target)
    }

    fn store(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        let flushing = self.memory.flush(partition, flush);
        // A store without this rule writes in two steps, and somebody dies between them.
        if !rule::holds(Rule::FlushIsAtomic)
            && self.turnstile.rolls(self.faults.now(self.faults.flush_unheard))
        {
            return flushing.now_or_never().unwrap_or_else(|| Err(anyhow!("simulated: the store died")));
        }
        at_once(flushing)
    }
}

#[async_trait]
impl Store for Connection {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        let shared = Arc::clone(&self.shared);
        let load = move || shared.maybe_down().and_then(|()| at_once(shared.memory.load(partition, wanted)));
        self.shared.turnstile.call(&self.caller, partition, ("loads", Kind::Asks), load).await
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        let shared = Arc::clone(&self.shared);
        let scan = move || shared.maybe_down().and_then(|()| at_once(shared.memory.scan(partition, range)));
        self.shared.turnstile.call(&self.caller, partition, ("scans", Kind::Asks), scan).await
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        let shared = Arc::clone(&self.shared);
        let apply = move || shared.flush(partition, flush);
        self.shared.turnstile.call(&self.caller, partition, ("flushes", Kind::Changes), apply).await
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        let shared = Arc::clone(&self.shared);
        let read = move || shared.maybe_down().and_then(|()| at_once(shared.memory.catalogue()));
        self.shared.turnstile.call(&self.caller, 0, ("reads the catalogue", Kind::Asks), read).await
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let reset = move || shared.empty(catalogue);
        self.shared.turnstile.call(&self.caller, 0, ("empties the store", Kind::Changes), reset).await
    }
}

/// Ends what waits for nothing outside of itself, as a store in memory does.
pub(super) fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}
