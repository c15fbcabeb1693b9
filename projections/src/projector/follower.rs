//! The worker that sees how far another process has moved a partition, and tells it here.
//!
//! It learns of flushes by bulletins, and looks at the store where one is missing. What the store holds it shows only while
//! the log bears it out, as a projector does, so that queries and commands need not know who folds.

use super::halt::{Halt, goes_on, keep_on, moves};
use super::reading::resume;
use super::standing::belongs;
use crate::bulletin::Bulletin;
use crate::gate::Place;
use crate::progress::{Condition, Progress};
use crate::state::Head;
use crate::store::{Store, Wanted};
use anyhow::Context;
use futures::FutureExt;
use futures::future::{Fuse, FusedFuture};
use refold_domain::log::{End, EventLog, Offset};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// How often the store is looked at, for what no bulletin has told.
const LOOK_WAIT: Duration = Duration::from_secs(1);
/// How often it is seen whether the log still holds what the store has folded.
const COMPARE_WAIT: Duration = Duration::from_secs(5);
/// For how long a partition must not have moved, though the log has, before that is told.
const STANDSTILL_WAIT: Duration = Duration::from_secs(10);
/// What is said of it in the log of a process, once for all partitions.
const STANDSTILL: &str =
    "whoever folds it does not get on: see `/readyz` and the log of the processes that fold";

/// The worker of a partition that another process folds.
pub struct Follower {
    /// Which partition of which log.
    pub place: Place,
    /// What the store must be borne out by.
    pub log: Arc<dyn EventLog>,
    /// What the other process flushes to.
    pub store: Arc<dyn Store>,
    /// Who is told.
    pub progress: Arc<Progress>,
}

/// What is heard of a partition that others fold.
#[derive(Debug, Clone)]
pub enum Heard {
    /// What a flush has brought.
    Flush(Arc<Bulletin>),
    /// Something may have been missed.
    Nothing,
}

/// Where a partition stands though the log has more, and since when.
struct Standstill {
    at: Offset,
    since: Instant,
}

impl Follower {
    /// Follows the partition until the future is dropped.
    pub async fn run(self, heard: broadcast::Receiver<Heard>) {
        let standstill = Mutex::default();
        keep_on(self.place.partition, &self.progress, || self.follow(heard.resubscribe(), &standstill)).await;
    }

    async fn follow(
        &self,
        mut heard: broadcast::Receiver<Heard>,
        standstill: &Mutex<Option<Standstill>>,
    ) -> Result<Infallible, Halt> {
        let mut head = self.stored().await?;
        let mut end = self.compare(head.clone()).await?;
        self.progress.restarted(self.place.partition, head.clone());
        goes_on(self.place.partition, &self.progress);
        let (mut looks, mut comparisons) = (every(LOOK_WAIT), every(COMPARE_WAIT));
        // Beside the rest: some brokers take their time, and nobody is to wait for what is heard meanwhile.
        let mut comparison = pin!(Fuse::terminated());
        loop {
            self.watch(standstill, head.position.offset, end);
            // In this order, so that a simulated schedule is the same each time.
            head = tokio::select! {
                biased;
                heard = heard.recv() => match heard {
                    Ok(Heard::Flush(bulletin)) => self.hear(head, &bulletin).await?,
                    Ok(Heard::Nothing) | Err(_) => self.look(head).await?,
                },
                _ = looks.tick() => self.look(head).await?,
                _ = comparisons.tick(), if comparison.is_terminated() => {
                    comparison.set(self.compare(head.clone()).fuse());
                    head
                }
                compared = &mut comparison => {
                    match compared {
                        Ok(found) => end = found,
                        // What was borne out before is shown, as it is where nobody reaches the log.
                        Err(halt) if halt.is_away() => {}
                        Err(halt) => return Err(halt),
                    }
                    head
                }
            };
        }
    }

    /// What the store holds of the partition.
    async fn stored(&self) -> Result<Head, Halt> {
        let loaded = self.store.load(self.place.partition, Wanted::new()).await;
        let head = loaded.context("cannot read the store")?.head;
        head.ok_or(Halt::Waits("the store holds nothing of it yet: it waits for a process that folds it"))
    }

    /// Whether the log bears the store out, and how far it reaches at least.
    async fn compare(&self, head: Head) -> Result<Offset, Halt> {
        let bounds = self.log.bounds(self.place.partition).await.context("cannot read the log")?;
        belongs(self.place.log, &head, bounds)?;
        drop(resume(self.log.as_ref(), self.place.partition, &head).await?);
        Ok(match bounds.end {
            End::Last(end) | End::AtLeast(end) => end,
            End::Empty => head.position.offset,
        })
    }

    /// Tells that the partition does not move though the log does: whoever folds it may not be able to say so himself.
    fn watch(&self, standstill: &Mutex<Option<Standstill>>, at: Offset, end: Offset) {
        let partition = self.place.partition;
        let mut standstill = standstill.lock().unwrap_or_else(PoisonError::into_inner);
        let before = standstill.take();
        let has_moved = before.as_ref().is_some_and(|before| before.at != at);
        if end <= at || has_moved {
            moves(partition, &self.progress);
        }
        if end <= at {
            return;
        }
        let still = before.filter(|before| before.at == at);
        let still = still.unwrap_or_else(|| Standstill { at, since: Instant::now() });
        if still.since.elapsed() >= STANDSTILL_WAIT {
            let reason = format!("it stands at offset {at} though the log has {end}; {STANDSTILL}");
            self.progress.set_condition(partition, Condition::Behind(reason));
            if self.progress.complain(partition, STANDSTILL) {
                tracing::warn!(partition, "{STANDSTILL}");
            }
        }
        *standstill = Some(still);
    }

    async fn hear(&self, head: Head, bulletin: &Bulletin) -> Result<Head, Halt> {
        if !bulletin.is_of(&head) {
            return self.look(head).await;
        }
        let Some((reached, news)) = bulletin.after(&head) else {
            return Ok(head);
        };
        self.progress.heard(self.place.partition, reached.clone(), news);
        Ok(reached)
    }

    /// Sees what the store holds now. One that stands farther back is another, or was rolled back.
    async fn look(&self, head: Head) -> Result<Head, Halt> {
        let stored = self.stored().await?;
        if stored.version() == head.version() {
            return Ok(head);
        }
        if stored.position.offset < head.position.offset || stored.genesis != head.genesis {
            return Err(Halt::StartAgain);
        }
        self.progress.restarted(self.place.partition, stored.clone());
        Ok(stored)
    }
}

fn every(wait: Duration) -> Interval {
    let mut ticks = interval(wait);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
