//! The worker that moves one partition forward: log, gate, fold, store, in this order and one batch at a time.
//!
//! `Projector::step` is all of it; the rest only waits. Whatever goes wrong, the projector starts again from
//! what the store holds: nothing that it keeps in memory is worth saving.

mod follower;
mod halt;
mod reading;
mod standing;

pub use follower::{Follower, Heard};
pub use reading::{Ahead, ahead};

use crate::batch::{self, Batch, Folded};
use crate::catalogue::Projection;
use crate::gate::Place;
use crate::progress::{Condition, Progress};
use crate::state::{Head, Mark};
use crate::store::{Flush, Flushed, Limit, Range, Space, Store, Wanted};
use anyhow::Context;
use bytes::Bytes;
use halt::{Halt, RETRY_WAIT_MAX, RETRY_WAIT_MIN, goes_on, keep_on, moves, retrying, stopped};
use metrics::{Histogram, histogram};
use reading::{first_of, fresh, resume, take};
use standing::belongs;

use refold_domain::commit;
use refold_domain::hash::Hash;
use refold_domain::log::{Bounds, End, EventLog, Offset};
use refold_domain::metric;
use refold_domain::rule::{self, Rule};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a partition that has nothing to fold waits before it looks whether the store still stands where it
/// left it.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// How long after the start of a batch the next one is begun, if nobody waits for it.
const REST: Duration = Duration::from_millis(5);
/// How many idempotency keys become old before they are swept away together.
const SWEEP_KEYS: u64 = 1_000;

static BATCH_RECORDS: LazyLock<Histogram> = LazyLock::new(|| histogram!(metric::PROJECTOR_BATCH_RECORDS));
static FLUSH_SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!(metric::PROJECTOR_FLUSH_SECONDS));

/// The worker of one partition.
pub struct Projector {
    /// Which partition of which log.
    pub place: Place,
    /// Where records come from.
    pub log: Arc<dyn EventLog>,
    /// Where views go.
    pub store: Arc<dyn Store>,
    /// What is folded.
    pub projections: Arc<Vec<Projection>>,
    /// Who is told.
    pub progress: Arc<Progress>,
}

impl Projector {
    /// Follows the partition until the future is dropped.
    pub async fn run(self) {
        keep_on(self.place.partition, &self.progress, || self.follow()).await;
    }

    async fn follow(&self) -> Result<std::convert::Infallible, Halt> {
        let mut head = self.open().await?;
        let mut records = resume(self.log.as_ref(), self.place.partition, &head).await?;
        // Not before: nobody may be shown a store that the log does not bear out.
        self.progress.restarted(self.place.partition, head.clone());
        goes_on(self.place.partition, &self.progress);
        let mut next = Instant::now();
        loop {
            self.rest_until(next).await;
            match timeout(IDLE_WAIT, take(&mut records)).await {
                Ok(batch) => {
                    let batch = batch?;
                    next = Instant::now() + if batch.is_full { Duration::ZERO } else { REST };
                    head = self.step(head, batch.records).await?;
                }
                Err(_) => {
                    self.still_stands(&head).await?;
                    moves(self.place.partition, &self.progress);
                }
            }
        }
    }

    /// Lets records gather, unless somebody waits for them: a flush costs the same for one as for hundreds.
    async fn rest_until(&self, next: Instant) {
        // In this order, so that a simulated schedule is the same each time.
        tokio::select! {
            biased;
            () = self.progress.wanted(self.place.partition) => {}
            () = sleep_until(next) => {}
        }
    }

    /// Starts again where the store was emptied or rolled back, or somebody else went on: without a record to
    /// fold no refused flush would tell.
    async fn still_stands(&self, head: &Head) -> Result<(), Halt> {
        let loaded = self.store.load(self.place.partition, Wanted::new()).await;
        let stored = loaded.context("cannot read the store")?.head;
        let stands = stored.as_ref().map(Head::version) == Some(head.version());
        if stands || !rule::holds(Rule::IdleLooksAtTheStore) { Ok(()) } else { Err(Halt::StartAgain) }
    }

    /// What the store holds of the partition, or its beginning.
    async fn open(&self) -> Result<Head, Halt> {
        let loaded =
            self.store.load(self.place.partition, Wanted::new()).await.context("cannot read the store");
        let bounds = self.log.bounds(self.place.partition).await.context("cannot read the log");
        let (loaded, bounds) = (loaded?, bounds?);
        match loaded.head {
            Some(head) => belongs(self.place.log, &head, bounds).map(|()| head),
            None => self.create(bounds).await,
        }
    }

    async fn create(&self, bounds: Bounds) -> Result<Head, Halt> {
        let first = bounds.first.context("the partition has no genesis yet")?;
        let mut records = self.log.read(self.place.partition, first).await.context("cannot read the log")?;
        let first = first_of(&mut records).await?;
        let genesis = self.genesis(first.context("the log does not hand out its first record")?)?;
        let target = match bounds.end {
            End::Last(end) | End::AtLeast(end) => end,
            End::Empty => genesis.offset,
        };
        let live = self.projections.iter().map(Projection::live).collect();
        let head = Head::first(self.place.log, genesis, target, live);
        self.flush(Flush { from: None, head: head.clone(), changes: BTreeMap::new() }).await?;
        Ok(head)
    }

    fn genesis(&self, (offset, bytes): (Offset, Bytes)) -> Result<Mark, Halt> {
        match commit::Record::decode(&bytes) {
            Ok(commit::Record::Genesis(genesis))
                if genesis.log == self.place.log && genesis.partition == self.place.partition =>
            {
                Ok(Mark { offset, hash: Hash::of(&bytes) })
            }
            _ => Err(stopped(
                format!("the record at offset {offset} is the partition's first, but not its genesis"),
                "restore the log from a backup and take away whatever deletes its records",
            )),
        }
    }

    /// Moves the partition forward by a batch.
    async fn step(&self, head: Head, batch: Vec<(Offset, Bytes)>) -> Result<Head, Halt> {
        let batch = fresh(&head, batch);
        #[expect(clippy::cast_precision_loss, reason = "a batch has far less than 2^52 records")]
        BATCH_RECORDS.record(batch.len() as f64);
        let (records, too_new) = batch::read(self.place.log, &batch);
        let head = if records.is_empty() { head } else { self.fold(head, &records).await? };
        if let Some(reason) = too_new {
            self.leave_alone(reason).await;
        }
        Ok(head)
    }

    /// Waits for ever: no other try of this binary will read what a newer one wrote.
    async fn leave_alone(&self, reason: String) {
        tracing::error!(partition = self.place.partition, "stopped: {reason}");
        let remedy = "start a newer refold; this one leaves the partition alone".to_owned();
        self.tell(Condition::Stopped { reason, remedy });
        std::future::pending::<()>().await;
    }

    async fn fold(&self, head: Head, records: &[batch::Record<'_>]) -> Result<Head, Halt> {
        let expired = self.expired(&head, batch::commands(records)).await?;
        let batch = Batch::plan(self.place, &head, &self.projections, records, expired);
        let loaded =
            self.store.load(self.place.partition, batch.wanted()).await.context("cannot read the store")?;
        let stands_at = loaded.head.as_ref().map(Head::version);
        if stands_at != Some(head.version()) && rule::holds(Rule::RefusedFlushStartsAgain) {
            return Err(Halt::StartAgain);
        }
        let Folded { flush, news } = batch.fold(&head, &loaded)?;
        let (from, reached) = (head.position.offset, flush.head.clone());
        if !rule::holds(Rule::FlushBeforeNews) {
            self.progress.flushed(self.place.partition, from, reached.clone(), news.clone());
        }
        self.flush(flush).await?;
        // It may have been tried again. Not in `flush`: a store just made is nothing to run with before it is read.
        moves(self.place.partition, &self.progress);
        self.report(&head, &reached);
        self.progress.flushed(self.place.partition, from, reached.clone(), news);
        Ok(reached)
    }

    /// Tells of what must not happen on a sound log: somebody must look.
    fn report(&self, before: &Head, after: &Head) {
        let partition = self.place.partition;
        let offsets = (before.position.offset + 1, after.position.offset);
        if after.seen.gaps > before.seen.gaps {
            tracing::error!(
                partition,
                ?offsets,
                "acknowledged commits are missing: the broker lost them, or a record was copied from another partition"
            );
        }
        if after.seen.forks > before.seen.forks {
            tracing::error!(partition, ?offsets, "two writers share an id: a commit is void");
        }
        if after.seen.foreign > before.seen.foreign {
            tracing::error!(
                partition,
                ?offsets,
                "a record is none of this log: it was damaged, or somebody else writes"
            );
        }
    }

    /// Stores a flush, and repeats it as it is while its outcome is unknown.
    async fn flush(&self, flush: Flush) -> Result<(), Halt> {
        let flush = Arc::new(flush);
        let mut wait = RETRY_WAIT_MIN;
        loop {
            let start = Instant::now();
            let outcome = self.store.flush(self.place.partition, Arc::clone(&flush)).await;
            FLUSH_SECONDS.record(start.elapsed().as_secs_f64());
            match outcome {
                Ok(Flushed::Done) => return Ok(()),
                Ok(Flushed::Refused) if rule::holds(Rule::RefusedFlushStartsAgain) => {
                    return Err(Halt::StartAgain);
                }
                Ok(Flushed::Refused) => return Ok(()),
                Err(error) => {
                    let reason = format!("cannot write to the store: {error:#}");
                    self.retrying(&error, &reason);
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                }
            }
        }
    }

    /// Idempotency keys that have become old since the last sweep, once there are enough of them; more than a batch
    /// of so many commands can make old, so that a sweep catches up.
    async fn expired(&self, head: &Head, commands: usize) -> Result<Vec<(u64, String)>, Halt> {
        let last = head.keys.saturating_sub(rule::keys_remembered());
        if last < head.swept.saturating_add(SWEEP_KEYS.min(rule::keys_remembered())) {
            return Ok(Vec::new());
        }
        let range = Range {
            space: Space::Keys,
            from: Bound::Excluded(head.swept.to_be_bytes().to_vec()),
            to: Bound::Included(last.to_be_bytes().to_vec()),
            reverse: false,
            limit: Limit::entries(2 * commands + usize::try_from(SWEEP_KEYS).expect("a small number")),
        };
        let scanned = self.store.scan(self.place.partition, range).await.context("cannot read the store")?;
        let key = |(number, stream): (Vec<u8>, Vec<u8>)| -> anyhow::Result<(u64, String)> {
            let number =
                number.try_into().map_err(|_| anyhow::anyhow!("the store holds a key without a number"))?;
            Ok((u64::from_be_bytes(number), String::from_utf8(stream)?))
        };
        Ok(scanned.entries.into_iter().map(key).collect::<Result<_, _>>()?)
    }

    fn retrying(&self, error: &anyhow::Error, reason: &str) {
        retrying(self.place.partition, &self.progress, error, reason);
    }

    fn tell(&self, condition: Condition) -> bool {
        self.progress.set_condition(self.place.partition, condition)
    }
}
