//! A log in memory that does everything a broker may do, at the worst moment.

use super::faults::Faults;
use super::turnstile::{Caller, Kind, Turnstile};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use refold_domain::hash::Hash;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Offset, Records, Risk};
use refold_projections::state::Mark;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// How many ticks a record that nobody confirmed may be on its way.
const LATE_TICKS: usize = 300;
/// How many records a reader is given at once, at most.
const CHUNK_RECORDS: usize = 8;

/// What happened to the log, in order.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Append {
        partition: u32,
        offset: Offset,
        bytes: Bytes,
    },
    /// The broker lost everything from this offset on, confirmed or not.
    Lose {
        partition: u32,
        from: Offset,
    },
}

/// The broker.
pub(super) struct Broker {
    turnstile: Arc<Turnstile>,
    faults: Arc<Faults>,
    held: Mutex<Held>,
    appended: Notify,
}

struct Held {
    partitions: Vec<Vec<(Offset, Bytes)>>,
    /// How often each partition lost its tail; readers from before are cut off.
    losses: Vec<u64>,
    late: Vec<(u64, u32, Bytes)>,
    lost: HashSet<(u32, Offset, Hash)>,
    changes: Vec<Change>,
}

/// A caller's connection to the broker.
pub(super) struct Connection {
    pub broker: Arc<Broker>,
    pub caller: Arc<Caller>,
}

impl Broker {
    pub(super) fn new(turnstile: Arc<Turnstile>, faults: Arc<Faults>, partitions: u32) -> Self {
        let held = Held {
            partitions: vec![Vec::new(); partitions as usize],
            losses: vec![0; partitions as usize],
            late: Vec::new(),
            lost: HashSet::new(),
            changes: Vec::new(),
        };
        Self { turnstile, faults, held: Mutex::new(held), appended: Notify::new() }
    }

    /// Everything that happened to the log.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.held().changes.clone()
    }

    /// How much has happened to the log.
    pub(super) fn changes_count(&self) -> usize {
        self.held().changes.len()
    }

    /// The end of each partition.
    pub(super) fn ends(&self) -> Vec<Option<Offset>> {
        self.held().partitions.iter().map(|records| records.last().map(|(offset, _)| *offset)).collect()
    }

    /// Whether the log holds this record.
    pub(super) fn holds(&self, partition: u32, mark: Mark) -> bool {
        let held = self.held();
        let mut records = held.partitions[partition as usize].iter();
        records.any(|(offset, bytes)| Mark { offset: *offset, hash: Hash::of(bytes) } == mark)
    }

    /// Stores what has been on its way for long enough.
    pub(super) fn land_late(&self, until: u64) {
        let mut due = Vec::new();
        self.held().late.retain(|late| {
            let is_due = late.0 <= until;
            if is_due {
                due.push(late.clone());
            }
            !is_due
        });
        for (_, partition, bytes) in due {
            self.turnstile.note(|| format!("a late record lands in {partition}"));
            self.store(partition, bytes);
        }
    }

    /// Loses up to `count` records at a partition's end, but never what opened it.
    pub(super) fn lose(&self, partition: u32, count: usize) {
        let mut held = self.held();
        let Held { partitions, losses, lost, changes, .. } = &mut *held;
        let records = &mut partitions[partition as usize];
        let opened = records.iter().take_while(|(_, bytes)| !is_commit(bytes)).count();
        let keep = records.len().saturating_sub(count).max(opened);
        let Some((from, _)) = records.get(keep).cloned() else {
            return;
        };
        lost.extend(records.drain(keep..).map(|(offset, bytes)| (partition, offset, Hash::of(&bytes))));
        losses[partition as usize] += 1;
        changes.push(Change::Lose { partition, from });
        drop(held);
        self.turnstile.note(|| format!("the broker loses partition {partition} from {from}"));
        self.appended.notify_waiters();
    }

    fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let rolls = |per_mille| self.turnstile.rolls(self.faults.now(per_mille));
        if rolls(self.faults.refused) {
            self.turnstile.note(|| "refused".into());
            return Err(AppendError::Refused("simulated".into()));
        }
        if rolls(self.faults.never_stored) {
            self.turnstile.note(|| "not stored, unknown".into());
            return Err(AppendError::Unknown("simulated".into()));
        }
        if rolls(self.faults.stored_late) {
            self.turnstile.note(|| "to be stored later, unknown".into());
            self.store_later(partition, record);
            return Err(AppendError::Unknown("simulated".into()));
        }
        if rolls(self.faults.strays) {
            self.store_stray(partition, &record);
        }
        self.store(partition, record.clone());
        if rolls(self.faults.duplicate) {
            self.store_later(partition, record);
        }
        if rolls(self.faults.confirm_lost) {
            self.turnstile.note(|| "stored, unknown".into());
            return Err(AppendError::Unknown("simulated".into()));
        }
        Ok(())
    }

    fn store_later(&self, partition: u32, record: Bytes) {
        let at = self.turnstile.now() + self.turnstile.below(LATE_TICKS) as u64;
        self.held().late.push((at, partition, record));
    }

    /// A record that nobody asked for: noise, another log's, or a second genesis.
    fn store_stray(&self, partition: u32, record: &Bytes) {
        let text = String::from_utf8_lossy(record);
        let noise = match self.turnstile.below(3) {
            0 => Bytes::from_static(b"\xff\x00noise"),
            1 => text.replacen(r#""log":"0"#, r#""log":"f"#, 1).into(),
            _ => self.held().partitions[partition as usize]
                .first()
                .map(|(_, bytes)| bytes.clone())
                .unwrap_or_default(),
        };
        // Nothing stands before the genesis, or there would be no log.
        if !self.held().partitions[partition as usize].is_empty() {
            self.store(partition, noise);
        }
    }

    fn store(&self, partition: u32, bytes: Bytes) {
        let hole = if self.turnstile.rolls(self.faults.now(self.faults.holes)) { 3 } else { 0 };
        let mut held = self.held();
        let Held { partitions, lost, changes, .. } = &mut *held;
        let records = &mut partitions[partition as usize];
        let mut offset = records.last().map_or(hole, |(last, _)| last + 1 + hole);
        // Where a retry stores a lost record twice, the second copy may come to lie exactly where the lost one lay, and
        // a store that has folded it cannot tell by its mark. One loss in very many; it is left out here.
        while lost.contains(&(partition, offset, Hash::of(&bytes))) {
            offset += 1;
        }
        records.push((offset, bytes.clone()));
        changes.push(Change::Append { partition, offset, bytes });
        drop(held);
        self.turnstile.note(|| format!("partition {partition} has {offset}"));
        self.appended.notify_waiters();
    }

    fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.maybe_down()?;
        let held = self.held();
        let records = &held.partitions[partition as usize];
        let is_vague = self.turnstile.rolls(self.faults.now(self.faults.vague_end));
        let end = match records.last() {
            None => End::Empty,
            Some(_) if is_vague => End::AtLeast(records[self.turnstile.below(records.len())].0),
            Some((offset, _)) => End::Last(*offset),
        };
        Ok(Bounds { first: records.first().map(|(offset, _)| *offset), end })
    }

    fn maybe_down(&self) -> Result<(), LogError> {
        let is_down = self.turnstile.rolls(self.faults.now(self.faults.log_down));
        if is_down { Err(LogError::Away("simulated: the broker is away".into())) } else { Ok(()) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("the broker does not panic")
    }
}

fn is_commit(bytes: &[u8]) -> bool {
    bytes.windows(9).any(|window| window == br#""writer":"#)
}

/// A reader's place.
struct Reader {
    broker: Arc<Broker>,
    caller: Arc<Caller>,
    partition: u32,
    first: Offset,
    next: Offset,
    losses: u64,
}

type Chunk = Vec<Result<(Offset, Bytes), LogError>>;

impl Reader {
    async fn chunk(mut self) -> Option<(Chunk, Option<Self>)> {
        self.wait().await;
        let (broker, partition) = (Arc::clone(&self.broker), self.partition);
        let (first, next, losses) = (self.first, self.next, self.losses);
        let turnstile = Arc::clone(&broker.turnstile);
        let take = move || broker.chunk(partition, first, next, losses);
        match turnstile.call(&self.caller, partition, ("is given records of", Kind::Asks), take).await {
            Ok(records) => {
                self.next = records.last().map_or(self.next, |(last, _)| self.next.max(last + 1));
                Some((records.into_iter().map(Ok).collect(), Some(self)))
            }
            Err(error) => Some((vec![Err(error)], None)),
        }
    }

    async fn wait(&self) {
        loop {
            let appended = self.broker.appended.notified();
            let has_news = {
                let held = self.broker.held();
                let records = &held.partitions[self.partition as usize];
                held.losses[self.partition as usize] != self.losses
                    || records.last().is_some_and(|(last, _)| *last >= self.next)
            };
            if has_news {
                return;
            }
            appended.await;
        }
    }
}

impl Broker {
    fn chunk(
        &self,
        partition: u32,
        first: Offset,
        next: Offset,
        losses: u64,
    ) -> Result<Vec<(Offset, Bytes)>, LogError> {
        if self.held().losses[partition as usize] != losses
            || self.turnstile.rolls(self.faults.now(self.faults.broken_read))
        {
            self.turnstile.note(|| "the reading breaks off".into());
            return Err(LogError::Away("simulated: the connection broke".into()));
        }
        let back = if self.turnstile.rolls(self.faults.now(self.faults.redelivery)) { 3 } else { 0 };
        let count = 1 + self.turnstile.below(CHUNK_RECORDS);
        let held = self.held();
        let records = &held.partitions[partition as usize];
        let start = records.partition_point(|(offset, _)| *offset < next).saturating_sub(back);
        let fresh = records[start..].iter().filter(|(offset, _)| *offset >= first);
        Ok(fresh.take(count + back).cloned().collect())
    }
}

#[async_trait]
impl EventLog for Connection {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let broker = Arc::clone(&self.broker);
        let append = move || broker.append(partition, record);
        self.broker.turnstile.call(&self.caller, partition, ("appends to", Kind::Changes), append).await
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        let broker = Arc::clone(&self.broker);
        let open = move || broker.maybe_down().map(|()| broker.held().losses[partition as usize]);
        let opened = self.broker.turnstile.call(&self.caller, partition, ("reads", Kind::Asks), open).await;
        let reader = Reader {
            broker: Arc::clone(&self.broker),
            caller: Arc::clone(&self.caller),
            partition,
            first: from,
            next: from,
            losses: opened?,
        };
        let chunks = stream::unfold(Some(reader), |reader| async { reader?.chunk().await });
        Ok(chunks.flat_map(stream::iter).boxed())
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let broker = Arc::clone(&self.broker);
        let bounds = move || broker.bounds(partition);
        self.broker.turnstile.call(&self.caller, partition, ("asks the bounds of", Kind::Asks), bounds).await
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        Ok(Vec::new())
    }
}
