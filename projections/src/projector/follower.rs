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
use refold_domain::log::{End, EventLog, Offset};
use std::convert::Infallible;
use std::sync::Arc;
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
        keep_on(self.place.partition, &self.progress, || self.follow(heard.resubscribe())).await;
    }

    async fn follow(&self, mut heard: broadcast::Receiver<Heard>) -> Result<Infallible, Halt> {
        let mut head = self.stored().await?;
        let mut end = self.compare(&head).await?;
        self.progress.restarted(self.place.partition, head.clone());
        goes_on(self.place.partition, &self.progress);
        let (mut looks, mut comparisons) = (every(LOOK_WAIT), every(COMPARE_WAIT));
        let mut standstill = None;
        loop {
            // In this order, so that a simulated schedule is the same each time.
            head = tokio::select! {
                biased;
                heard = heard.recv() => match heard {
                    Ok(Heard::Flush(bulletin)) => self.hear(head, &bulletin).await?,
                    Ok(Heard::Nothing) | Err(_) => self.look(head).await?,
                },
                _ = looks.tick() => self.look(head).await?,
                _ = comparisons.tick() => {
                    end = self.compare(&head).await?;
                    head
                }
            };
            standstill = self.watch(standstill, head.position.offset, end);
        }
    }

    /// What the store holds of the partition.
    async fn stored(&self) -> Result<Head, Halt> {
        let loaded = self.store.load(self.place.partition, Wanted::new()).await;
        let head = loaded.context("cannot read the store")?.head;
        head.ok_or(Halt::Waits("the store holds nothing of it yet: it waits for a process that folds it"))
    }

    /// Whether the log bears the store out, and how far it reaches at least.
    async fn compare(&self, head: &Head) -> Result<Offset, Halt> {
        let bounds = self.log.bounds(self.place.partition).await.context("cannot read the log")?;
        belongs(self.place.log, head, bounds)?;
        drop(resume(self.log.as_ref(), self.place.partition, head).await?);
        Ok(match bounds.end {
            End::Last(end) | End::AtLeast(end) => end,
            End::Empty => head.position.offset,
        })
    }

    /// Tells that the partition does not move though the log does: whoever folds it may not be able to say so himself.
    fn watch(&self, before: Option<Standstill>, at: Offset, end: Offset) -> Option<Standstill> {
        if end <= at {
            moves(self.place.partition, &self.progress);
            return None;
        }
        let Some(still) = before.filter(|before| before.at == at) else {
            moves(self.place.partition, &self.progress);
            return Some(Standstill { at, since: Instant::now() });
        };
        if still.since.elapsed() < STANDSTILL_WAIT {
            return Some(still);
        }
        let reason = format!("it stands at offset {at} though the log has {end}; {STANDSTILL}");
        self.progress.set_condition(self.place.partition, Condition::Behind(reason));
        if self.progress.complain(self.place.partition, STANDSTILL) {
            tracing::warn!(self.place.partition, "{STANDSTILL}");
        }
        Some(still)
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
