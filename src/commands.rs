//! Carries a command from its handler to its answer: look, decide, append, wait for the verdict.
//!
//! What a handler sees in the store may be stale. So each decision is guarded by what it rests on, a void
//! command is decided anew, and a rejection is answered only after the store has passed the log's end as it was
//! when the request came.

pub mod chunks;
pub mod latest;
mod looking;
mod outcome;
mod recalling;

pub use looking::{Entries, Streams};
pub use outcome::{CommandError, Origin, Recorded, RecordedEvent};
pub use recalling::Recalled;

use crate::writer::Writer;
use anyhow::Context;
use refold_domain::commit::Guard;
use refold_domain::decision::{self, Decision, NewEvent, Rejection};
use refold_domain::hash::{Hash, partition_of};
use refold_domain::log::{End, EventLog, Offset};
use refold_domain::receipt::Receipt;
use refold_domain::rule::{self, Rule};
use refold_domain::stream;
use refold_projections::progress::{Condition, Progress};
use refold_projections::state::Verdict;
use refold_projections::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How often a command is decided before the client is told that others are always faster.
const DECIDE_ATTEMPTS_MAX: u32 = 16;

/// Executes commands.
pub struct Commands {
    /// Where commands are recorded.
    pub log: Arc<dyn EventLog>,
    /// What decisions are made from.
    pub store: Arc<dyn Store>,
    /// How far the store has come.
    pub progress: Arc<Progress>,
    /// The way onto the log.
    pub writer: Arc<Writer>,
    /// How long a command waits for the log's confirm.
    pub append_wait: Duration,
    /// How long a guarded command waits for the store whenever it is decided, and again for its verdict once the log
    /// has confirmed it; also, how long it is decided anew.
    pub verdict_wait: Duration,
    /// What was read from the log again lately.
    pub recalled: Arc<Recalled>,
}

/// What is asked for, apart from the deciding.
#[derive(Debug, Clone)]
pub struct Request {
    /// The key of the partition that the command goes to; `None` where any will do.
    pub partition_key: Option<String>,
    /// About how many events it will record: so many count where commands that go anywhere are spread.
    pub events: usize,
    /// The stream of the idempotency key, if the client sent one.
    pub idempotency: Option<String>,
    /// The hash of the parsed command; `None` where it has neither key nor stream to keep it under.
    pub hash: Option<Hash>,
    /// The W3C trace context of the request.
    pub trace: Option<String>,
    /// The streams that the decision looks at.
    pub streams: Vec<String>,
}

/// What a look at the store comes to.
enum Step {
    Answer(Recorded),
    Append(Vec<Guard>, Vec<NewEvent>),
    Reject(CommandError),
}

impl Commands {
    /// Executes a command: decides it, as often as others get in between, until it counts or is rejected.
    ///
    /// # Errors
    /// [`CommandError`]
    pub async fn execute(
        &self,
        request: &Request,
        decide: impl Fn(&Streams) -> Result<Decision, Rejection>,
    ) -> Result<Recorded, CommandError> {
        self.until_it_counts(request, decide).await.map_err(|error| self.noted(error))
    }

    /// What a command would come to, were it executed now: the answer, where it was recorded before; `None`, where it would
    /// be recorded. Nothing is appended.
    ///
    /// # Errors
    /// [`CommandError`]
    pub async fn foresee(
        &self,
        request: &Request,
        decide: impl Fn(&Streams) -> Result<Decision, Rejection>,
    ) -> Result<Option<Recorded>, CommandError> {
        let settled = self.settled(self.partition_of(request), request, &decide, &mut None).await;
        match settled {
            Ok(Step::Answer(recorded)) => Ok(Some(recorded)),
            Ok(Step::Append(..)) => Ok(None),
            Ok(Step::Reject(error)) => Err(error),
            Err(error) => Err(self.noted(error)),
        }
    }

    async fn until_it_counts(
        &self,
        request: &Request,
        decide: impl Fn(&Streams) -> Result<Decision, Rejection>,
    ) -> Result<Recorded, CommandError> {
        let deadline = Instant::now() + self.verdict_wait;
        let partition = self.partition_of(request);
        let mut end = (!rule::holds(Rule::RejectionsWaitForTheEnd)).then_some(0);
        let mut attempts = 0;
        loop {
            match self.settled(partition, request, &decide, &mut end).await? {
                Step::Answer(recorded) => return Ok(recorded),
                Step::Reject(error) => return Err(error),
                // Only after another look: what was faster may have been this very command, sent twice.
                Step::Append(..)
                    if attempts > 0 && (attempts == DECIDE_ATTEMPTS_MAX || Instant::now() >= deadline) =>
                {
                    return Err(CommandError::Contended);
                }
                Step::Append(guards, events) => {
                    if let Some(recorded) = self.append(partition, request, guards, events).await? {
                        return Ok(recorded);
                    }
                    attempts += 1;
                }
            }
        }
    }

    fn partition_of(&self, request: &Request) -> u32 {
        match &request.partition_key {
            Some(key) => partition_of(key, self.progress.partitions()),
            None => self.writer.any_partition(request.events),
        }
    }

    /// Looks at the store and decides; a rejection stands only once the store has passed the log's `end`, which is looked
    /// up where it is not known yet.
    async fn settled(
        &self,
        partition: u32,
        request: &Request,
        decide: impl Fn(&Streams) -> Result<Decision, Rejection>,
        end: &mut Option<Offset>,
    ) -> Result<Step, CommandError> {
        // Each look has time of its own, for the last one begins when there is none left to decide anew.
        let until = Instant::now() + self.verdict_wait;
        let (mut step, mut at) = self.look(partition, request, &decide, until).await?;
        if let (Step::Reject(_), None) = (&step, *end) {
            *end = Some(self.pass_end(partition, until).await?);
            (step, at) = self.look(partition, request, &decide, until).await?;
        }
        match step {
            // The store was emptied or rolled back since it had passed the end.
            Step::Reject(_) if at < *end && rule::holds(Rule::RejectionsCompareThePosition) => {
                Err(self.behind(partition))
            }
            step => Ok(step),
        }
    }

    /// Looks at the store and decides; also says where the store stood.
    async fn look(
        &self,
        partition: u32,
        request: &Request,
        decide: impl Fn(&Streams) -> Result<Decision, Rejection>,
        deadline: Instant,
    ) -> Result<(Step, Option<Offset>), CommandError> {
        let names = request.streams.iter().chain(&request.idempotency);
        let streams = self.streams(partition, names).await?;
        let step = self.step(partition, request, &streams, decide(&streams), deadline).await?;
        Ok((step, streams.at()))
    }

    async fn step(
        &self,
        partition: u32,
        request: &Request,
        streams: &Streams,
        decision: Result<Decision, Rejection>,
        deadline: Instant,
    ) -> Result<Step, CommandError> {
        let key = request.idempotency.as_deref();
        if let Some(entry) =
            key.and_then(|key| streams.get(key)).filter(|_| rule::holds(Rule::RepeatsGetTheFirstAnswer))
        {
            if entry.hash == request.hash {
                let origin = Origin::RepeatedKey;
                return Ok(Step::Answer(self.recall(partition, entry, origin, deadline).await?));
            }
            return Ok(Step::Reject(CommandError::KeyReused));
        }
        match decision {
            Ok(Decision::Record { mut guards, events }) => {
                guards.extend(key.map(|key| Guard::step(key.to_owned(), 0)));
                Ok(Step::Append(guards, events))
            }
            Ok(Decision::Repeat { stream }) => {
                let entry = streams.get(&stream).context("a repeat of what is not there")?;
                let origin = Origin::RepeatedContent;
                Ok(Step::Answer(self.recall(partition, entry, origin, deadline).await?))
            }
            Err(rejection) => Ok(Step::Reject(CommandError::Rejected(rejection))),
        }
    }

    /// Waits until the store has passed the log's end as it is now, and says where that is.
    async fn pass_end(&self, partition: u32, deadline: Instant) -> Result<Offset, CommandError> {
        let bounds = timeout_at(deadline, self.log.bounds(partition)).await;
        let unknown =
            |error| CommandError::Behind(format!("the end of partition {partition} is not known: {error}"));
        let bounds = bounds.map_err(|_| self.behind(partition))?.map_err(unknown)?;
        let end = match bounds.end {
            End::Last(end) => end,
            // There is a genesis in every partition of a log that serves.
            End::Empty => return Err(CommandError::Behind(format!("partition {partition} is empty"))),
            End::AtLeast(_) => return self.pass_barrier(partition, deadline).await,
        };
        let reached = timeout_at(deadline, self.progress.reach(partition, end)).await;
        reached.map(|()| end).map_err(|_| self.behind(partition))
    }

    /// Waits until the store has passed all that is on a partition now, of a log that cannot tell its end, and says where that is.
    ///
    /// # Errors
    /// [`CommandError::Behind`] where it does not come that far in time.
    pub async fn pass_all(&self, partition: u32) -> Result<Offset, CommandError> {
        self.pass_barrier(partition, Instant::now() + self.verdict_wait).await
    }

    /// The same where the log cannot tell its end: with a barrier, behind all that is there now.
    async fn pass_barrier(&self, partition: u32, deadline: Instant) -> Result<Offset, CommandError> {
        let behind = |why: String| CommandError::Behind(format!("partition {partition}: {why}"));
        let barrier = self.writer.barrier(partition, deadline).await;
        let barrier = barrier.map_err(|error| behind(error.to_string()))?;
        self.verdict(&barrier, deadline).await.map_err(|error| behind(error.to_string()))?;
        let head = self.progress.state(partition).head;
        Ok(head.ok_or_else(|| self.behind(partition))?.position.offset)
    }

    /// Appends a command; `None` where the log judged it void.
    async fn append(
        &self,
        partition: u32,
        request: &Request,
        guards: Vec<Guard>,
        events: Vec<NewEvent>,
    ) -> Result<Option<Recorded>, CommandError> {
        let is_guarded = !guards.is_empty();
        debug_assert!(
            guards
                .iter()
                .all(|guard| stream::partition(&guard.stream, self.progress.partitions()) == partition),
            "all guards of a command live in its partition"
        );
        if let Condition::Stopped { .. } = self.progress.state(partition).condition {
            // It may be another log by now: what is appended there counts for nobody.
            return Err(self.behind(partition));
        }
        let hash = request.hash.filter(|_| is_guarded);
        let bytes = decision::encode(guards, hash, request.trace.as_deref(), &events);
        let append_deadline = Instant::now() + self.append_wait;
        let receipt = self.writer.append(partition, bytes, events.len(), append_deadline).await?;
        // From the log's confirm on: a slow log leaves no less time for the verdict.
        let deadline = Instant::now() + self.verdict_wait;
        let verdict = if is_guarded { self.verdict(&receipt, deadline).await? } else { Verdict::Accepted };
        match verdict {
            Verdict::Accepted => Ok(Some(Recorded::now(receipt, events)?)),
            Verdict::Void if !rule::holds(Rule::VoidIsNoSuccess) => Ok(Some(Recorded::now(receipt, events)?)),
            Verdict::Void => Ok(None),
            Verdict::Lost => Err(CommandError::Lost(receipt)),
        }
    }

    async fn verdict(&self, receipt: &Receipt, deadline: Instant) -> Result<Verdict, CommandError> {
        match timeout_at(deadline, self.progress.verdict(self.store.as_ref(), receipt)).await {
            Ok(Ok(verdict)) => Ok(verdict),
            // It is on the log and may count: whoever repeats it must know that.
            Ok(Err(error)) => {
                self.progress.note(&error);
                let reason = format!("the command is on the log, but its verdict cannot be read: {error:#}");
                Err(CommandError::OutcomeUnknown(reason))
            }
            Err(_) => Err(CommandError::OutcomeUnknown(
                "the command is on the log, but it was not judged in time".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
