//! Appending to a stream: a task with a channel of its own sends what waits, then waits until all of it is confirmed.
//!
//! A record that finds no stream is returned, and the client library may hand it over with the confirm of another record.
//! So a return stands for all that were sent since the last confirm, and nothing else is sent before they are known.

use super::failure::{Failure, answer};
use super::link::Link;
use super::streams;
use bytes::Bytes;
use futures::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use refold_domain::log::{AppendError, LogError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

/// How long an append waits for its confirm, in milliseconds; then its outcome is unknown.
const APPEND_WAIT_MS: u64 = 5_000;

/// How many appends may wait for the task of a partition; the next one waits for room.
const QUEUE_RECORDS: usize = 256;

/// How many records are sent before their confirms are waited for.
const GROUP_RECORDS: usize = 128;

/// How long a server that is not there is left alone, in milliseconds: at first, and at most.
const BACKOFF_MS: [u64; 2] = [50, 1_000];

/// The persistent kind of message.
const PERSISTENT: u8 = 2;

/// The way to the task of one partition, which ends when this is dropped.
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    record: Bytes,
    deadline: Instant,
    done: oneshot::Sender<Result<(), AppendError>>,
}

impl Publisher {
    pub(super) fn start(link: Arc<Link>, stream: String) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_RECORDS);
        tokio::spawn(Task { link, stream, queue, channel: None }.run());
        Self { jobs }
    }

    pub(super) async fn append(&self, record: Bytes) -> Result<(), AppendError> {
        let (done, outcome) = oneshot::channel();
        let deadline = Instant::now() + Duration::from_millis(APPEND_WAIT_MS);
        let sent = timeout_at(deadline, self.jobs.send(Job { record, deadline, done })).await;
        let full = |_| AppendError::Refused(format!("others waited before it for {APPEND_WAIT_MS} ms"));
        let ended = || AppendError::Unknown("the log's publisher has ended".into());
        sent.map_err(full)?.map_err(|_| ended())?;
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }
}

struct Task {
    link: Arc<Link>,
    stream: String,
    queue: mpsc::Receiver<Job>,
    /// Confirms, and the stream was there when it was opened.
    channel: Option<Channel>,
}

impl Task {
    async fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_RECORDS);
        while self.queue.recv_many(&mut group, GROUP_RECORDS).await > 0 {
            // Whoever has gone takes the outcome for unknown.
            group.retain(|job: &Job| !job.done.is_closed());
            let Some(deadline) = group.iter().map(|job| job.deadline).min() else { continue };
            let outcome = self.publish(&group, deadline).await;
            for job in group.drain(..) {
                drop(job.done.send(outcome.clone().map_err(Outcome::into)));
            }
        }
    }

    async fn publish(&mut self, group: &[Job], deadline: Instant) -> Result<(), Outcome> {
        let channel = self.ready(deadline).await?;
        let sent = timeout_at(deadline, send(&channel, &self.stream, group)).await;
        let failed = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failed)) => failed,
            Err(_) => Outcome::Unknown(format!("no confirm within {APPEND_WAIT_MS} ms")),
        };
        // What it has sent may still be confirmed, or returned; that must not be taken for an answer to something else.
        self.channel = None;
        Err(failed)
    }

    /// A channel on which something can be sent now.
    async fn ready(&mut self, deadline: Instant) -> Result<Channel, Outcome> {
        let mut backoff = BACKOFF_MS[0];
        loop {
            let away = match timeout_at(deadline, self.opened()).await {
                Ok(Ok(channel)) => return Ok(channel),
                // A stream may be missing for a moment after the server's start.
                Ok(Err(Failure::Missing)) => Failure::Missing.of(&self.stream).to_string(),
                Ok(Err(failure)) => match failure.of(&self.stream) {
                    LogError::Broken(reason) | LogError::Missing(reason) => {
                        return Err(Outcome::Refused(reason));
                    }
                    LogError::Away(reason) => reason,
                },
                Err(_) => format!("RabbitMQ did not answer within {APPEND_WAIT_MS} ms"),
            };
            let next = Instant::now() + Duration::from_millis(backoff);
            if next >= deadline {
                return Err(Outcome::Unknown(away));
            }
            sleep(Duration::from_millis(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MS[1]);
        }
    }

    async fn opened(&mut self) -> Result<Channel, Failure> {
        let live = self.link.live().await?;
        if live.is_blocked() {
            return Err(blocked().into());
        }
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        self.channel = None;
        streams::find(&self.link, &self.stream).await?;
        let channel = live.channel().await?;
        answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(self.channel.insert(channel).clone())
    }
}

/// How a group ended, unless it was confirmed.
#[derive(Debug, Clone)]
enum Outcome {
    Refused(String),
    TooLarge(String),
    Unknown(String),
}

impl From<Outcome> for AppendError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Refused(reason) => Self::Refused(reason),
            Outcome::TooLarge(reason) => Self::TooLarge(reason),
            Outcome::Unknown(reason) => Self::Unknown(reason),
        }
    }
}

fn blocked() -> LogError {
    LogError::Away(
        "RabbitMQ takes no records for now: it lacks memory or disk (`rabbitmq-diagnostics alarms`)".into(),
    )
}

/// Sends one after the other, for the library confuses the confirms of what is sent at once.
async fn send(channel: &Channel, stream: &str, group: &[Job]) -> Result<(), Outcome> {
    let is_alone = group.len() == 1;
    let failed = |error: lapin::Error| match Failure::from(error) {
        Failure::Mismatch(reason) if is_alone && reason.contains("message size") => {
            Outcome::TooLarge(format!("{reason}: raise max_message_size in rabbitmq.conf"))
        }
        failure => Outcome::Unknown(failure.of(stream).to_string()),
    };
    let mut confirms = Vec::with_capacity(group.len());
    for job in group {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT);
        let sent = channel.basic_publish("".into(), stream.into(), options, &job.record, properties).await;
        confirms.push(sent.map_err(failed)?);
    }
    let confirms = try_join_all(confirms).await.map_err(failed)?;
    let wrong = confirms.into_iter().find(|confirm| *confirm != Confirmation::Ack(None));
    match wrong {
        None => Ok(()),
        Some(Confirmation::Ack(_)) => Err(Outcome::Unknown(format!("the stream {stream:?} was not there"))),
        Some(_) => Err(Outcome::Unknown("RabbitMQ could not store it".into())),
    }
}
