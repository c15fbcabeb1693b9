//! A decorator for any log: deadlines, counters and traces, put around it from outside.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use metrics::{Counter, Histogram, counter, histogram};
use refold_domain::log::{AppendError, Bounds, EventLog, LogError, Offset, Records, Risk};
use refold_domain::metric;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long an append may take, in milliseconds; then its outcome is unknown.
pub const APPEND_TIMEOUT_MS: u64 = 10_000;

/// How long opening a read or asking for the bounds may take, in milliseconds.
pub const READ_TIMEOUT_MS: u64 = 5_000;

/// How long a check may take, in milliseconds; it may look at all of a log.
pub const CHECK_TIMEOUT_MS: u64 = 60_000;

/// A log whose every call has a deadline and is counted.
pub struct Observed {
    log: Arc<dyn EventLog>,
    broker: &'static str,
    metrics: Metrics,
    contact: Contact,
}

impl Observed {
    /// Wraps `log`. The metrics are registered here, with the recorder that is installed now.
    pub fn new(log: Arc<dyn EventLog>, broker: &'static str) -> Self {
        Self { log, broker, metrics: Metrics::register(broker), contact: Contact::default() }
    }

    async fn bounded<T>(
        &self,
        call: &'static str,
        limit_ms: u64,
        answer: impl Future<Output = Result<T, LogError>>,
    ) -> Result<T, LogError> {
        let expired = |_| Err(LogError::Away(format!("{call}: no answer within {limit_ms} ms")));
        let answer = timeout(Duration::from_millis(limit_ms), answer).await.unwrap_or_else(expired);
        answer.inspect_err(|error| {
            self.metrics.read_errors.increment(1);
            // Whoever asks knows whether this is news; probes and queries ask all the time.
            tracing::debug!(broker = self.broker, call, %error, "the log did not answer");
        })
    }
}

#[async_trait]
impl EventLog for Observed {
    #[tracing::instrument(level = "debug", skip_all, fields(broker = self.broker, partition, bytes = record.len()))]
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let (bytes, start) = (record.len(), Instant::now());
        let limit = Duration::from_millis(APPEND_TIMEOUT_MS);
        let expired =
            |_| Err(AppendError::Unknown(format!("no answer within {APPEND_TIMEOUT_MS} milliseconds")));
        let outcome = timeout(limit, self.log.append(partition, record)).await.unwrap_or_else(expired);
        self.metrics.appended(&outcome, bytes, start.elapsed());
        match &outcome {
            Ok(()) => {
                tracing::debug!("appended");
                self.contact.found(self.broker, partition);
            }
            // Whoever appends knows whether this is news; a full disk refuses thousands a second.
            Err(error) => tracing::debug!(%error, "not appended"),
        }
        outcome
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        let records = self.bounded("read", READ_TIMEOUT_MS, self.log.read(partition, from)).await?;
        tracing::debug!(broker = self.broker, partition, from, "reading");
        let (metrics, broker) = (self.metrics.clone(), self.broker);
        let count = move |read: &Result<(Offset, Bytes), LogError>| match read {
            Ok((_, record)) => metrics.read(record.len()),
            Err(error) => {
                metrics.read_errors.increment(1);
                tracing::debug!(broker, partition, %error, "reading failed");
            }
        };
        Ok(records.inspect(count).boxed())
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let bounds = self.bounded("bounds", READ_TIMEOUT_MS, self.log.bounds(partition)).await;
        match &bounds {
            Ok(_) => self.contact.found(self.broker, partition),
            Err(error) => self.contact.failed(self.broker, partition, error),
        }
        bounds
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        self.bounded("check", CHECK_TIMEOUT_MS, self.log.check()).await
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// Whether the log is there: told when it goes and when it is back, however many ask it meanwhile. Known from asking for bounds,
/// as whoever has lost a reading does: readers notice late, and some have records yet that came before.
#[derive(Default)]
struct Contact {
    is_lost: AtomicBool,
    /// Since when, and the partitions that have not answered again.
    lost: Mutex<Option<(Instant, BTreeSet<u32>)>>,
}

impl Contact {
    fn failed(&self, broker: &str, partition: u32, error: &LogError) {
        // What somebody has to mend does not come and go: whoever reads it tells.
        if !matches!(error, LogError::Away(_)) {
            return;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, partitions) = lost.get_or_insert_with(|| {
            tracing::warn!(broker, "the log is away: {error}");
            (Instant::now(), BTreeSet::new())
        });
        partitions.insert(partition);
        self.is_lost.store(true, Ordering::Release);
    }

    fn found(&self, broker: &str, partition: u32) {
        if !self.is_lost.load(Ordering::Acquire) {
            return;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((since, partitions)) = lost.as_mut() else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            tracing::info!(broker, "the log is back after {:.1} s", since.elapsed().as_secs_f64());
            *lost = None;
            self.is_lost.store(false, Ordering::Release);
        }
    }
}

/// Handles, because looking a metric up takes longer than counting.
#[derive(Clone)]
struct Metrics {
    confirmed: Counter,
    refused: Counter,
    unknown: Counter,
    append_seconds: Histogram,
    appended_bytes: Counter,
    read_records: Counter,
    read_bytes: Counter,
    read_errors: Counter,
}

impl Metrics {
    fn register(broker: &'static str) -> Self {
        let appends = |outcome: &'static str| counter!(metric::LOG_APPENDS, metric::BROKER => broker, metric::OUTCOME => outcome);
        Self {
            confirmed: appends("confirmed"),
            refused: appends("refused"),
            unknown: appends("unknown"),
            append_seconds: histogram!(metric::LOG_APPEND_SECONDS, metric::BROKER => broker),
            appended_bytes: counter!(metric::LOG_APPENDED_BYTES, metric::BROKER => broker),
            read_records: counter!(metric::LOG_READ_RECORDS, metric::BROKER => broker),
            read_bytes: counter!(metric::LOG_READ_BYTES, metric::BROKER => broker),
            read_errors: counter!(metric::LOG_READ_ERRORS, metric::BROKER => broker),
        }
    }

    fn appended(&self, outcome: &Result<(), AppendError>, bytes: usize, took: Duration) {
        self.append_seconds.record(took);
        match outcome {
            Ok(()) => {
                self.confirmed.increment(1);
                self.appended_bytes.increment(bytes as u64);
            }
            Err(AppendError::Refused(_) | AppendError::TooLarge(_)) => self.refused.increment(1),
            Err(AppendError::Unknown(_)) => self.unknown.increment(1),
        }
    }

    fn read(&self, bytes: usize) {
        self.read_records.increment(1);
        self.read_bytes.increment(bytes as u64);
    }
}

#[cfg(test)]
mod tests;
