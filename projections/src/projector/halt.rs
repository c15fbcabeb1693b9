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
    let (mut wait, mut told) = (RETRY_WAIT_MIN, None);
    loop {
        let before = position();
        let Err(halt) = follow().await;
        if position() != before {
            (wait, told) = (RETRY_WAIT_MIN, None);
        }
        match halt {
            Halt::StartAgain => {
                tracing::info!(partition, "starting again from the store");
            }
            Halt::Failed(error) => {
                progress.note(&error);
                let reason = format!("{error:#}");
                // What fails again and again right after it has begun is no news.
                if told.as_ref() == Some(&reason) {
                    progress.set_condition(partition, Condition::Retrying(reason));
                } else {
                    retrying(partition, progress, &error, &reason);
                    told = Some(reason);
                }
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

/// Tells that it goes on, whatever was before.
pub(super) fn goes_on(partition: u32, progress: &Progress) {
    let before = progress.state(partition).condition;
    progress.set_condition(partition, Condition::Running);
    if matches!(before, Condition::Stopped { .. }) {
        tracing::info!(partition, "goes on: what stopped it is mended");
    }
}

/// Says it once, however often it is tried; of a log or store that is away they say it themselves, in one line and not in one
/// for each partition.
pub(super) fn retrying(partition: u32, progress: &Progress, error: &anyhow::Error, reason: &str) {
    let is_away = error.is::<Away>() || matches!(error.downcast_ref(), Some(LogError::Away(_)));
    if progress.set_condition(partition, Condition::Retrying(reason.to_owned())) && !is_away {
        tracing::warn!(partition, "trying again: {reason}");
    }
}

pub(super) fn stopped(reason: String, remedy: &str) -> Halt {
    Halt::Stopped { reason, remedy: remedy.to_owned() }
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
