//! How far each partition has come, told to everybody who waits: once the store has it, and not before.

use crate::batch::{News, refused_key};
use crate::bulletin::Bulletin;
use crate::state::{Head, Verdict, WriterEntry};
use crate::store::damage::{self, Damaged};
use crate::store::{Space, Store, Wanted};
use anyhow::Context;
use jiff::Timestamp;
use refold_domain::log::Offset;
use refold_domain::receipt::{Position, Receipt, log_digits};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

/// How many commits' verdicts are kept in memory per partition; older ones are looked up in the store.
const RECENT_COMMITS_MAX: usize = 4_096;
/// How many writers' numbers are kept in memory per partition; when there are more, all are looked up anew.
const WRITERS_MAX: usize = 65_536;

/// How far all partitions have come, in this process.
#[derive(Debug)]
pub struct Progress {
    log: Uuid,
    partitions: Vec<Partition>,
    /// What was found to be damaged in the store since it was last read from its beginning.
    damage: Mutex<Option<String>>,
    /// What was said in the process's log of what keeps a partition from moving, until it moves.
    complaints: Mutex<BTreeMap<u32, String>>,
    /// Counts what changed, in whichever partition.
    changes: watch::Sender<u64>,
    /// What is told to other processes, if there may be some.
    others: Option<mpsc::Sender<(u32, Bulletin)>>,
}

#[derive(Debug)]
struct Partition {
    state: watch::Sender<State>,
    /// Told whenever somebody begins to wait.
    wanted: Notify,
    board: Mutex<Board>,
}

/// How a partition stands.
#[derive(Debug, Clone)]
pub struct State {
    /// What the store holds, as far as this process has seen it.
    pub head: Option<Arc<Head>>,
    /// What its projector is doing.
    pub condition: Condition,
    /// Since when it does that.
    pub since: Timestamp,
}

/// What a projector is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It has not read anything yet.
    Starting,
    /// It folds what comes.
    Running,
    /// What is there can be asked for, but the process that folds it does not get on though the log does.
    Behind(String),
    /// Something does not work; it tries again by itself.
    Retrying(String),
    /// It cannot go on until somebody acts.
    Stopped {
        /// What is wrong.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
}

impl Condition {
    /// What is wrong and what to do, if anything is.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Starting | Self::Running => None,
            Self::Behind(reason) | Self::Retrying(reason) => Some(reason.clone()),
            Self::Stopped { reason, remedy } => Some(format!("{reason}; {remedy}")),
        }
    }
}

/// The newest verdicts.
#[derive(Debug, Default)]
struct Board {
    /// Changes whenever the board forgets: what is not on it may then be in the store after all.
    forgotten: u64,
    passed: HashMap<Uuid, u64>,
    recent: HashMap<(Uuid, u64), Arc<[Verdict]>>,
    order: VecDeque<(Uuid, u64)>,
}

enum Look {
    Judged(Verdict),
    /// Not passed yet; it will be on the board when it is.
    Pending,
    /// Passed so long ago that only the store knows.
    Old,
    /// Nothing of this writer was passed since the board forgot for the so-manieth time.
    Unknown(u64),
}

impl Progress {
    /// The progress of a log's partitions before anything is read.
    pub fn new(log: Uuid, partitions: u32) -> Self {
        let fresh = || {
            let state = State { head: None, condition: Condition::Starting, since: Timestamp::now() };
            Partition { state: watch::Sender::new(state), wanted: Notify::new(), board: Mutex::default() }
        };
        let partitions = (0..partitions).map(|_| fresh()).collect();
        Self {
            log,
            partitions,
            damage: Mutex::default(),
            complaints: Mutex::default(),
            changes: watch::Sender::new(0),
            others: None,
        }
    }

    /// The same, and what is flushed here is told to `others`, too.
    pub fn telling(self, others: mpsc::Sender<(u32, Bulletin)>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// The log's id.
    pub fn log(&self) -> Uuid {
        self.log
    }

    /// The number of partitions.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("it was made from a u32")
    }

    /// How a partition stands now.
    pub fn state(&self, partition: u32) -> State {
        self.partitions[partition as usize].state.borrow().clone()
    }

    /// Follows a partition.
    pub fn subscribe(&self, partition: u32) -> watch::Receiver<State> {
        self.partitions[partition as usize].state.subscribe()
    }

    /// How often any partition has changed.
    pub fn changes_count(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Notes an error that came of a damaged store: whatever else can be read, it stays damaged.
    pub fn note(&self, error: &anyhow::Error) {
        if damage::is_damage(error) {
            let found = format!("{error:#}; {}", damage::REMEDY);
            if self.lock_damage().replace(found.clone()).is_none() {
                tracing::error!("{found}");
            }
        }
    }

    /// What is known to be damaged in the store, and what to do.
    pub fn damage(&self) -> Option<String> {
        self.lock_damage().clone()
    }

    fn lock_damage(&self) -> MutexGuard<'_, Option<String>> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with the first partition with which something is.
    pub fn problem(&self) -> Option<String> {
        let problem = |partition| {
            let problem = self.state(partition).condition.problem()?;
            Some(format!("partition {partition}: {problem}"))
        };
        (0..self.partitions()).find_map(problem)
    }

    /// Follows all partitions: what it receives changes whenever one of them does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How far all partitions have come, as clients are told.
    pub fn position(&self) -> Position {
        let offset =
            |partition: &Partition| partition.state.borrow().head.as_ref().map(|head| head.position.offset);
        Position { log: log_digits(self.log), offsets: self.partitions.iter().map(offset).collect() }
    }

    /// Waits until it is told that each partition's store has come to `position`, for whoever has read it there.
    pub async fn told(&self, position: &Position) {
        for (partition, offset) in (0..).zip(&position.offsets) {
            if let Some(offset) = offset {
                passed(self.subscribe(partition), *offset).await;
            }
        }
    }

    /// Waits until a partition's store has passed `offset`.
    pub async fn reach(&self, partition: u32, offset: Offset) {
        let state = self.subscribe(partition);
        self.partitions[partition as usize].wanted.notify_one();
        passed(state, offset).await;
    }

    /// Waits until the store has passed a receipt's commit, and says how the command was judged.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn verdict(&self, store: &dyn Store, receipt: &Receipt) -> anyhow::Result<Verdict> {
        Ok(self.judged(store, receipt).await?.0)
    }

    /// Waits until the store has passed a receipt's commit, and says how the command was judged, and at which
    /// offset the store was seen to stand: it may be put back after that, so whoever reads on compares.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn judged(&self, store: &dyn Store, receipt: &Receipt) -> anyhow::Result<(Verdict, Offset)> {
        let partition = self.partitions.get(receipt.partition as usize);
        let partition = partition.with_context(|| format!("there is no partition {}", receipt.partition))?;
        let mut state = partition.state.subscribe();
        partition.wanted.notify_one();
        let mut asked = None;
        loop {
            state.borrow_and_update();
            let (look, at) = partition.look(receipt);
            let ask = match look {
                Look::Judged(verdict) => return Ok((verdict, at)),
                Look::Pending => false,
                Look::Old => true,
                // One look at the store is enough: what is passed after it comes onto the board.
                Look::Unknown(forgotten) => asked.replace(forgotten) != Some(forgotten),
            };
            if ask && let Some(judged) = stored_verdict(store, receipt).await? {
                return Ok(judged);
            }
            state.changed().await.context("nobody follows the log any more")?;
        }
    }

    /// Returns once somebody waits for the partition's next records, or has begun to since this was asked last.
    pub(crate) async fn wanted(&self, partition: u32) {
        self.partitions[partition as usize].wanted.notified().await;
    }

    /// Tells that a flush succeeded which led on from an offset.
    pub(crate) fn flushed(&self, partition: u32, from: Offset, head: Head, news: Vec<News>) {
        if let Some(others) = &self.others {
            // They are told at once or not at all: whoever has missed it looks at the store.
            drop(others.try_send((partition, Bulletin::new(from, &head, &news))));
        }
        self.heard(partition, head, Some(news));
    }

    /// Tells of a flush that somebody else has made; `None` where nobody says which commits it has passed.
    pub(crate) fn heard(&self, partition: u32, head: Head, news: Option<Vec<News>>) {
        let partition = &self.partitions[partition as usize];
        let mut board = partition.board();
        match news {
            Some(news) => board.extend(news),
            None => board.forget(),
        }
        self.tell(partition, head);
    }

    /// Tells that everything is read anew from the store, which stands at `head`.
    pub(crate) fn restarted(&self, partition: u32, head: Head) {
        if head.position == head.genesis {
            // Another store is in its place.
            *self.lock_damage() = None;
        }
        let partition = &self.partitions[partition as usize];
        let mut board = partition.board();
        board.forget();
        self.tell(partition, head);
    }

    /// Tells what a partition's projector is doing, and says whether that is new.
    pub(crate) fn set_condition(&self, partition: u32, condition: Condition) -> bool {
        let is_new = self.partitions[partition as usize].state.send_if_modified(|state| {
            let changed = state.condition != condition;
            if changed {
                state.condition = condition;
                state.since = Timestamp::now();
            }
            changed
        });
        if is_new {
            self.changed();
        }
        is_new
    }

    /// Notes what keeps a partition from moving, and says whether that is news: it is not of this partition since it moved last,
    /// nor where it keeps another from moving, too.
    pub(crate) fn complain(&self, partition: u32, reason: &str) -> bool {
        let mut complaints = self.lock_complaints();
        let is_known = complaints.values().any(|known| known == reason);
        complaints.insert(partition, reason.to_owned());
        !is_known
    }

    /// Notes that a partition moves, and says what it was that no longer keeps any from moving.
    pub(crate) fn moves(&self, partition: u32) -> Option<String> {
        let mut complaints = self.lock_complaints();
        let reason = complaints.remove(&partition)?;
        complaints.values().all(|known| *known != reason).then_some(reason)
    }

    fn lock_complaints(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, partition: &Partition, head: Head) {
        partition.state.send_modify(|state| {
            state.head = Some(Arc::new(head));
            // Before anybody sees the head: what was kept from before it is old for whoever does.
            self.changed();
        });
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Partition {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a receipt, and where the store stood then. Board and head change together, under the board's
    /// lock.
    fn look(&self, receipt: &Receipt) -> (Look, Offset) {
        let board = self.board();
        let at = self.state.borrow().head.as_ref().map_or(0, |head| head.position.offset);
        (board.look(receipt), at)
    }
}

impl Board {
    fn extend(&mut self, news: Vec<News>) {
        if self.passed.len() > WRITERS_MAX {
            self.forget();
        }
        for News { writer, seq, verdicts } in news {
            self.passed.insert(writer, seq);
            self.recent.insert((writer, seq), verdicts);
            self.order.push_back((writer, seq));
        }
        while self.order.len() > RECENT_COMMITS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }

    fn forget(&mut self) {
        *self = Self { forgotten: self.forgotten + 1, ..Self::default() };
    }

    fn look(&self, receipt: &Receipt) -> Look {
        if let Some(verdicts) = self.recent.get(&(receipt.writer, receipt.seq)) {
            let verdict = verdicts.get(receipt.command as usize);
            // A command that was never there has nothing to wait for.
            return Look::Judged(verdict.copied().unwrap_or(Verdict::Void));
        }
        match self.passed.get(&receipt.writer) {
            Some(seq) if *seq < receipt.seq => Look::Pending,
            Some(_) => Look::Old,
            None => Look::Unknown(self.forgotten),
        }
    }
}

/// Waits until a partition is told to have passed `offset`.
async fn passed(mut state: watch::Receiver<State>, offset: Offset) {
    let reached = |state: &State| state.head.as_ref().is_some_and(|head| head.position.offset >= offset);
    // The sender lives as long as the progress does, so waiting ends only with success.
    drop(state.wait_for(reached).await);
}

/// What the store knows of a receipt; `None` where it has not passed it.
async fn stored_verdict(store: &dyn Store, receipt: &Receipt) -> anyhow::Result<Option<(Verdict, Offset)>> {
    let writer = receipt.writer.as_bytes().to_vec();
    let refused = refused_key(receipt.writer, receipt.seq, receipt.command);
    let wanted =
        Wanted::from([(Space::Writers, vec![writer.clone()]), (Space::Refused, vec![refused.clone()])]);
    let loaded = store.load(receipt.partition, wanted).await?;
    let (Some(entry), Some(head)) = (loaded.value(&Space::Writers, &writer), &loaded.head) else {
        return Ok(None);
    };
    let entry: WriterEntry = serde_json::from_slice(entry).context(Damaged("a writer cannot be read"))?;
    let is_void = loaded.value(&Space::Refused, &refused).is_some();
    let verdict = entry.has_passed(receipt.seq).map(|verdict| if is_void { Verdict::Void } else { verdict });
    Ok(verdict.map(|verdict| (verdict, head.position.offset)))
}
