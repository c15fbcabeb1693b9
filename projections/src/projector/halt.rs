//! What keeps a worker from going on, and how it goes on all the same.

use crate::progress::{Condition, Progress};
use crate::store::Away;
use refold_domain::log::LogError;
use std::convert::Infallible;
use std::time::Duration;

/// How long the first retry waits.
pub(super) const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);
/// How long a retry waits at most.
pub(super) const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a stopped partition waits before it looks whether somebody has acted.
const STOPPED_WAIT: Duration = Duration::from_secs(5);

/// Why a worker does not go on with what it has.
#[derive(Debug)]
pub(super) enum Halt {
    /// Somebody else changed the store: read everything again from there.
    StartAgain,
    /// Something failed that may work the next time.
    Failed(anyhow::Error),
    /// Another process has to do something first; it says so itself where it cannot.
    Waits(&'static str),
    /// Nothing that this process can do will help.
    Stopped { reason: String, remedy: String },
}

/// Follows a partition again and again, and tells what keeps it from it.
pub(super) async fn keep_on<F>(partition: u32, progress: &Progress, mut follow: impl FnMut() -> F)
where
    F: Future<Output = Result<Infallible, Halt>>,
{
    let position = || progress.state(partition).head.map(|head| head.position);
    let mut wait = RETRY_WAIT_MIN;
    loop {
        let before = position();
        let Err(halt) = follow().await;
        if position() != before {
            wait = RETRY_WAIT_MIN;
        }
        match halt {
            Halt::StartAgain => {
                tracing::info!(partition, "starting again from the store");
            }
            Halt::Failed(error) => {
                progress.note(&error);
                retrying(partition, progress, &error, &format!("{error:#}"));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
            Halt::Waits(reason) => {
                progress.set_condition(partition, Condition::Retrying(reason.to_owned()));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT_MAX);
            }
            Halt::Stopped { reason, remedy } => {
                let condition = Condition::Stopped { reason: reason.clone(), remedy: remedy.clone() };
                if progress.set_condition(partition, condition) {
                    tracing::error!(partition, remedy, "stopped: {reason}");
                }
                tokio::time::sleep(STOPPED_WAIT).await;
            }
        }
    }
}

/// Tells that it has begun anew, whatever was before.
pub(super) fn goes_on(partition: u32, progress: &Progress) {
    let before = progress.state(partition).condition;
    progress.set_condition(partition, Condition::Running);
    if matches!(before, Condition::Stopped { .. }) {
        tracing::info!(partition, "goes on: what stopped it is mended");
    }
}

/// Tells that it moves, or has nothing to move for: what was said to keep it from that does so no more.
pub(super) fn moves(partition: u32, progress: &Progress) {
    progress.set_condition(partition, Condition::Running);
    if let Some(reason) = progress.moves(partition) {
        tracing::info!(partition, "goes on, after: {reason}");
    }
}

/// Says it once, however often it is tried and in however many partitions; of a log or store that is away they say it themselves.
pub(super) fn retrying(partition: u32, progress: &Progress, error: &anyhow::Error, reason: &str) {
    progress.set_condition(partition, Condition::Retrying(reason.to_owned()));
    let is_away = error.is::<Away>() || matches!(error.downcast_ref(), Some(LogError::Away(_)));
    if !is_away && progress.complain(partition, reason) {
        tracing::warn!(partition, "trying again: {reason}");
    }
}

pub(super) fn stopped(reason: String, remedy: &str) -> Halt {
    Halt::Stopped { reason, remedy: remedy.to_owned() }
}

impl Halt {
    /// Whether it is only that the log is away.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Failed(error) if matches!(error.downcast_ref(), Some(LogError::Away(_))))
    }
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        Self::Failed(anyhow::Error::new(error).context("cannot read the log"))
    }
}
