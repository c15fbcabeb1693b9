//! Appends commands to the log: one commit in flight per partition, filled with all that came meanwhile.
//!
//! Each partition has a task with a bounded queue. A lone command goes out at once; under load a commit carries
//! hundreds. The next commit is never sent before the last one is confirmed, and an outcome that is unknown is
//! retried with the same bytes until it is known: so order, retries and duplicates stay simple, and the gate can
//! tell a repeat from a commit that a broker lost.
//!
//! Whether a log takes appends is known from appends alone, whichever broker it is: one that answers reads may be full,
//! read-only or without its leader. So each partition remembers how its last append ended, and readiness rests on that.
//! A service that is not ready gets no commands, so it has to find its own way back: an unknown outcome is retried
//! anyway; after a refusal the writer appends a barrier, a command without guards and events, again and again until one
//! is confirmed. It costs a record for each partition and disturbance, and what it proves is exactly what was in doubt.

mod barrier;

use barrier::Barriers;
use bytes::Bytes;
use jiff::Timestamp;
use metrics::{Histogram, histogram};
use refold_domain::commit::{FRAME_BYTES_MAX, pack};
use refold_domain::decision;
use refold_domain::log::{AppendError, EventLog};
use refold_domain::metric;
use refold_domain::receipt::Receipt;
use refold_domain::rule::{self, Rule};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// How many events one commit carries at most.
pub const COMMIT_EVENTS_MAX: usize = 4_096;
/// How many bytes one commit has at most: well under what any broker takes.
pub const COMMIT_BYTES_MAX: usize = 512 << 10;
/// How many bytes one command may have at most.
pub const COMMAND_BYTES_MAX: usize = COMMIT_BYTES_MAX - FRAME_BYTES_MAX;
/// How many events of commands that may go anywhere follow each other into the same partition.
const RUN_EVENTS: usize = 1_024;
/// How long the first retry of an append waits.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(20);
/// How long a retry of an append waits at most.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long after a refusal it is tried whether the log takes appends again, if no command does that.
const BARRIER_WAIT: Duration = Duration::from_secs(1);

/// The way onto the log.
#[derive(Debug)]
pub struct Writer {
    queues: Mutex<Option<Vec<mpsc::Sender<Pending>>>>,
    tasks: Mutex<JoinSet<()>>,
    partitions: u32,
    barriers: Vec<Barriers>,
    /// How many events went anywhere.
    anywhere: AtomicUsize,
    failing: watch::Sender<Failing>,
}

/// The partitions whose last append was not confirmed, and why.
type Failing = BTreeMap<u32, String>;

/// Why a command was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It is larger than a commit may be.
    #[error("the command has {0} bytes, more than {COMMAND_BYTES_MAX}")]
    TooLarge(usize),
    /// The queue is full, or the service is stopping: it was not recorded.
    #[error("too many commands are waiting")]
    Full,
    /// It is larger than what the log takes.
    #[error("the command was not recorded: {0}")]
    TooLargeForLog(String),
    /// It was not recorded and never will be.
    #[error("the command was not recorded: {0}")]
    NotRecorded(String),
    /// It may be recorded, now or later.
    #[error("nobody knows yet whether the command was recorded: {0}")]
    Unknown(String),
}

/// A command on its way.
#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    events: usize,
    stage: Arc<Stage>,
    answer: oneshot::Sender<Result<Receipt, WriteError>>,
}

/// Whether a command is in a commit yet; decides what its caller is told at the deadline.
#[derive(Debug, Default)]
struct Stage(AtomicU8);

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Writer {
    /// Starts a task for each partition of the log `id`, with a queue of `queue_commands` each.
    pub fn start(log: &Arc<dyn EventLog>, id: Uuid, partitions: u32, queue_commands: usize) -> Self {
        let mut tasks = JoinSet::new();
        let failing = watch::Sender::new(Failing::new());
        let told_size = Arc::default();
        let start = |partition| {
            let (queue, commands) = mpsc::channel(queue_commands);
            let log = Arc::clone(log);
            let sizes = histogram!(metric::WRITER_COMMIT_COMMANDS);
            let failing = failing.clone();
            let task = Task {
                log,
                id,
                partition,
                commands,
                held: None,
                writer: None,
                failing,
                is_refused: false,
                told_size: Arc::clone(&told_size),
                sizes,
            };
            tasks.spawn(task.run());
            queue
        };
        let queues = (0..partitions).map(start).collect();
        Self {
            queues: Mutex::new(Some(queues)),
            tasks: Mutex::new(tasks),
            partitions,
            barriers: (0..partitions).map(|_| Barriers::default()).collect(),
            anywhere: AtomicUsize::new(0),
            failing,
        }
    }

    /// Why the log does not take appends, if the last one to some partition was not confirmed.
    pub fn problem(&self) -> Option<String> {
        let failing = self.failing.borrow();
        let (partition, reason) = failing.first_key_value()?;
        let others = match failing.len() - 1 {
            0 => String::new(),
            count => format!(", nor to {count} other partitions"),
        };
        Some(format!("the last append to partition {partition} was not confirmed{others}: {reason}"))
    }

    /// Appends an encoded command that has so many events, and returns its receipt once the log has confirmed it.
    ///
    /// # Errors
    /// [`WriteError`]; at the deadline it says whether the command may still be recorded.
    pub async fn append(
        &self,
        partition: u32,
        bytes: Vec<u8>,
        events: usize,
        deadline: Instant,
    ) -> Result<Receipt, WriteError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(WriteError::TooLarge(bytes.len()));
        }
        let (answer, mut answered) = oneshot::channel();
        let stage = Arc::<Stage>::default();
        let pending = Pending { bytes, events, stage: Arc::clone(&stage), answer };
        self.enqueue(partition, pending)?;
        match tokio::time::timeout_at(deadline, &mut answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(WriteError::Unknown("the service stopped".into()))),
            Err(_) if stage.change(QUEUED, GIVEN_UP) => {
                Err(WriteError::NotRecorded("the log did not confirm earlier commands in time".into()))
            }
            Err(_) => Err(WriteError::Unknown("the log did not confirm it in time".into())),
        }
    }

    /// The partition for a command of so many events that may go anywhere. Runs of them go to the same one: spread one by
    /// one, each partition's commits would carry a few commands, and every commit costs the log and the projector the same.
    pub fn any_partition(&self, events: usize) -> u32 {
        let run = self.anywhere.fetch_add(events, Ordering::Relaxed) / RUN_EVENTS;
        let partition = run % self.partitions as usize;
        u32::try_from(partition).expect("a remainder of a u32 fits into a u32")
    }

    fn enqueue(&self, partition: u32, pending: Pending) -> Result<(), WriteError> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.as_ref().ok_or(WriteError::Full)?;
        queue[partition as usize].try_send(pending).map_err(|_| WriteError::Full)
    }

    /// Takes no more commands and waits until those held are confirmed.
    pub async fn close(&self) {
        *self.queues.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

impl Pending {
    /// A command that changes nothing, and for which nobody waits.
    fn barrier() -> Self {
        Self { bytes: barrier(), events: 0, stage: Arc::default(), answer: oneshot::channel().0 }
    }
}

/// A command that changes nothing: whoever reads it knows that all before it was read.
pub fn barrier() -> Vec<u8> {
    decision::encode(Vec::new(), None, None, &[])
}

impl Stage {
    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The task of one partition.
struct Task {
    log: Arc<dyn EventLog>,
    id: Uuid,
    partition: u32,
    commands: mpsc::Receiver<Pending>,
    /// A command that did not fit into the last commit.
    held: Option<Pending>,
    /// The writer's id and the number of its next commit; made when it first appends.
    writer: Option<(Uuid, u64)>,
    failing: watch::Sender<Failing>,
    /// Whether the last append was refused: then nothing retries it.
    is_refused: bool,
    /// Whether it was said that the log does not take everything for its size.
    told_size: Arc<AtomicBool>,
    /// How many commands the commits carried.
    sizes: Histogram,
}

impl Task {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            let mut waiting = vec![self.gather(first)];
            while let Some(commands) = waiting.pop().filter(|commands| !commands.is_empty()) {
                if let Err(mut first_half) = self.append(commands).await {
                    let second_half = first_half.split_off(first_half.len() / 2);
                    waiting.extend([second_half, first_half]);
                }
            }
        }
    }

    async fn next(&mut self) -> Option<Pending> {
        match self.held.take() {
            Some(held) => Some(held),
            None if self.is_refused => {
                timeout(BARRIER_WAIT, self.commands.recv()).await.unwrap_or_else(|_| Some(Pending::barrier()))
            }
            None => self.commands.recv().await,
        }
    }

    /// The next commit's commands: the first and all that wait behind it, within the bounds.
    fn gather(&mut self, first: Pending) -> Vec<Pending> {
        let mut commands = Vec::new();
        let (mut bytes, mut events) = (FRAME_BYTES_MAX, 0);
        let mut next = Some(first);
        while let Some(command) = next {
            bytes += command.bytes.len() + 1;
            events += command.events;
            let is_first = commands.is_empty();
            if !is_first && (bytes > COMMIT_BYTES_MAX || events > COMMIT_EVENTS_MAX) {
                self.held = Some(command);
                break;
            }
            if command.stage.change(QUEUED, TAKEN) {
                commands.push(command);
            }
            next = self.commands.try_recv().ok();
        }
        commands
    }

    /// Appends commands and answers them; gives several back that are too large for the log together.
    async fn append(&mut self, commands: Vec<Pending>) -> Result<(), Vec<Pending>> {
        #[expect(clippy::cast_precision_loss, reason = "a commit carries far less than 2^52 commands")]
        self.sizes.record(commands.len() as f64);
        let (writer, mut seq) = self.writer.unwrap_or_else(|| (Uuid::now_v7(), 1));
        if !rule::holds(Rule::ConfirmBeforeAnswer) {
            self.answer_too_early(writer, seq, commands).await;
            return Ok(());
        }
        let mut record = self.pack(writer, seq, &commands);
        let mut is_unknown = false;
        let mut wait = RETRY_WAIT_MIN;
        let outcome = loop {
            let appended = self.log.append(self.partition, record.clone()).await;
            self.note(appended.as_ref().err());
            match appended {
                Ok(()) => break Ok(()),
                Err(AppendError::Refused(reason)) => {
                    break Err(unless_unknown(is_unknown, WriteError::NotRecorded, reason));
                }
                Err(AppendError::TooLarge(reason)) => {
                    break Err(unless_unknown(is_unknown, WriteError::TooLargeForLog, reason));
                }
                Err(AppendError::Unknown(reason)) => {
                    tracing::debug!(partition = self.partition, seq, "retrying the same commit: {reason}");
                    is_unknown = true;
                    if !rule::holds(Rule::SameBytesOnRetry) {
                        seq += 1;
                        record = self.pack(writer, seq, &commands);
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        };
        self.writer = match outcome {
            Ok(()) => Some((writer, seq + 1)),
            Err(_) if rule::holds(Rule::FreshIdAfterRefusal) => None,
            Err(_) => Some((writer, seq)),
        };
        if matches!(outcome, Err(WriteError::TooLargeForLog(_))) && commands.len() > 1 {
            return Err(commands);
        }
        self.answer(writer, seq, commands, &outcome);
        Ok(())
    }

    /// Remembers how the last append ended. Says it where it is the first that fails of all partitions, or the last that does
    /// not any more; and where the log begins to refuse what it only did not confirm before.
    fn note(&mut self, error: Option<&AppendError>) {
        if let Some(AppendError::TooLarge(reason)) = error {
            return self.note_size(reason);
        }
        let is_refused = matches!(error, Some(AppendError::Refused(_)));
        let mut is_news = is_refused && !self.is_refused;
        self.is_refused = is_refused;
        let reason = error.map(ToString::to_string);
        self.failing.send_if_modified(|failing| {
            let had_failed = !failing.is_empty();
            let is_changed = match &reason {
                Some(reason) => failing.insert(self.partition, reason.clone()).as_ref() != Some(reason),
                None => failing.remove(&self.partition).is_some(),
            };
            is_news |= had_failed == failing.is_empty();
            is_changed
        });
        let partition = self.partition;
        match reason {
            Some(reason) if is_news => tracing::warn!(partition, "commands are not recorded: {reason}"),
            None if is_news => tracing::info!("commands are recorded again"),
            _ => {}
        }
    }

    /// A log that does not take one record for its size takes others, as far as this tells; where it did not before, a barrier
    /// finds out.
    fn note_size(&mut self, reason: &str) {
        self.is_refused = self.failing.borrow().contains_key(&self.partition);
        if !self.told_size.swap(true, Ordering::Relaxed) {
            tracing::warn!("what is too large for the log is not recorded: {reason}");
        }
    }

    fn pack(&self, writer: Uuid, seq: u64, commands: &[Pending]) -> Bytes {
        let commands = commands.iter().map(|command| command.bytes.as_slice());
        pack(self.id, writer, seq, now(), commands).into()
    }

    fn answer(&self, writer: Uuid, seq: u64, commands: Vec<Pending>, outcome: &Result<(), WriteError>) {
        for (command, pending) in (0..).zip(commands) {
            let receipt = Receipt { partition: self.partition, writer, seq, command };
            // A caller that has gone away needs no answer.
            drop(pending.answer.send(outcome.clone().map(|()| receipt)));
        }
    }

    /// What a writer without the rule would do.
    async fn answer_too_early(&mut self, writer: Uuid, seq: u64, commands: Vec<Pending>) {
        let record = self.pack(writer, seq, &commands);
        self.answer(writer, seq, commands, &Ok(()));
        self.writer = Some((writer, seq + 1));
        drop(self.log.append(self.partition, record).await);
    }
}

/// The clock, to the microsecond: more digits would tell nothing.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

fn unless_unknown(is_unknown: bool, refusal: fn(String) -> WriteError, reason: String) -> WriteError {
    if is_unknown && rule::holds(Rule::RefusedAfterUnknownIsUnknown) {
        WriteError::Unknown(reason)
    } else {
        refusal(reason)
    }
}

#[cfg(test)]
mod tests;
