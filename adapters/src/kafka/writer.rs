//! Appending: an idempotent producer, and what it still holds of records that nobody waits for any more.
//!
//! librdkafka sends a record again, under the same number, until the broker confirms it or refuses it for good, over lost
//! connections and restarts, so that it is stored once. An append waits for [`APPEND_MS`] only. If it is repeated with the
//! same bytes after that, as writers do, it goes on waiting for the record that is under way instead of adding another.

use super::client::{Connection, RENEW};
use super::settings::Settings;
use super::{MESSAGE_BYTES_MAX, RECORD_BYTES_MAX};
use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::Producer;
use rdkafka::producer::future_producer::{DeliveryFuture, FutureRecord};
use refold_domain::log::AppendError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long an append waits for the confirm, in milliseconds; then its outcome is unknown.
const APPEND_MS: u64 = 5_000;

/// How long a broker waits for the other replicas, in milliseconds, before it says that they did not confirm in time.
const REPLICAS_MS: u32 = 2_500;

/// What the producer may hold, in KiB, besides two of the largest commits for each partition: one that is under way and one
/// that somebody gave up. When it is full, appends are refused.
const QUEUE_KIB: u32 = 64 << 10;
const QUEUE_KIB_OF_PARTITION: u32 = 1 << 10;

/// How many records that somebody gave up are remembered for each partition; later ones are only sent.
const ABANDONED_MAX: usize = 4;

/// Everything that appends.
pub(super) struct Writer {
    config: ClientConfig,
    topic: String,
    current: Mutex<Arc<Producing>>,
}

/// A producer, until it fails for good.
struct Producing {
    connection: Connection,
    abandoned: Mutex<Vec<Sent>>,
    /// Since when nothing was confirmed that was waited for.
    silent_since: Mutex<Option<Instant>>,
}

/// A record that librdkafka has.
struct Sent {
    partition: i32,
    record: Bytes,
    outcome: DeliveryFuture,
}

/// How waiting for it ended.
enum Waited {
    Confirmed,
    Failed(KafkaError),
    TooLong,
}

impl Writer {
    /// The producer connects and asks for its number meanwhile, for which the first append would have to wait.
    pub(super) fn new(settings: &Settings, topic: &str, partitions: u32) -> anyhow::Result<Self> {
        let mut config = settings.client();
        let queue = QUEUE_KIB + partitions * QUEUE_KIB_OF_PARTITION;
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("linger.ms", "0");
        // Never: who waits has a limit of its own, and a record that was given up here could still be stored.
        config.set("message.timeout.ms", "0");
        config.set("request.timeout.ms", REPLICAS_MS.to_string());
        config.set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        config.set("queue.buffering.max.kbytes", queue.to_string());
        let current = Mutex::new(Producing::new(&config)?);
        Ok(Self { config, topic: topic.to_owned(), current })
    }

    /// Appends a record, or goes on waiting for the same one.
    pub(super) async fn append(&self, partition: i32, record: Bytes) -> Result<(), AppendError> {
        let deadline = Instant::now() + Duration::from_millis(APPEND_MS);
        let producing = self.producing()?;
        if let Some(earlier) = producing.again(partition, &record) {
            match producing.wait(earlier, deadline).await {
                Waited::Confirmed => return Ok(()),
                Waited::TooLong => return Err(producing.too_long()),
                Waited::Failed(error) => tracing::debug!(partition, %error, "an earlier append failed"),
            }
        }
        let producing = self.producing()?;
        let outcome = self.send(&producing, partition, &record)?;
        match producing.wait(Sent { partition, record, outcome }, deadline).await {
            Waited::Confirmed => Ok(()),
            Waited::TooLong => Err(producing.too_long()),
            Waited::Failed(error) => Err(self.not_stored(&error)),
        }
    }

    /// The producer, another one where it has failed for good. What the one before still holds is given up with it.
    fn producing(&self) -> Result<Arc<Producing>, AppendError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = current.connection.producer().client().fatal_error();
        if failed.is_some() || current.is_silent_for(RENEW) {
            tracing::debug!(?failed, "a new producer takes over");
            let next = Producing::new(&self.config);
            *current = next.map_err(|error| AppendError::Refused(format!("{error:#}")))?;
        }
        Ok(Arc::clone(&current))
    }

    fn send(
        &self,
        producing: &Producing,
        partition: i32,
        record: &Bytes,
    ) -> Result<DeliveryFuture, AppendError> {
        let headers =
            OwnedHeaders::new().insert(Header { key: "content-type", value: Some("application/json") });
        let message = FutureRecord::<[u8], [u8]>::to(&self.topic).partition(partition).payload(record);
        let sent = producing.connection.producer().send_result(message.headers(headers));
        sent.map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(Code::QueueFull) => {
                AppendError::Refused("too much waits already for Kafka to confirm it".into())
            }
            _ => self.not_stored(&error),
        })
    }

    /// Most of what is refused may have been stored before the answer that was lost.
    fn not_stored(&self, error: &KafkaError) -> AppendError {
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) => AppendError::TooLarge(format!(
                "the topic {} does not take {RECORD_BYTES_MAX} bytes: set its max.message.bytes to {MESSAGE_BYTES_MAX}",
                self.topic
            )),
            _ => AppendError::Unknown(error.to_string()),
        }
    }
}

impl Producing {
    fn new(config: &ClientConfig) -> anyhow::Result<Arc<Self>> {
        let connection = Connection::new(config)?;
        Ok(Arc::new(Self { connection, abandoned: Mutex::default(), silent_since: Mutex::default() }))
    }

    /// The same record, if it is under way and nobody waits for it.
    fn again(&self, partition: i32, record: &Bytes) -> Option<Sent> {
        let mut abandoned = self.abandoned();
        let place = abandoned.iter().position(|sent| sent.partition == partition && sent.record == record);
        place.map(|place| abandoned.remove(place))
    }

    async fn wait(&self, mut sent: Sent, deadline: Instant) -> Waited {
        match timeout_at(deadline, &mut sent.outcome).await {
            Ok(Ok(Ok(_))) => {
                *self.silent_since() = None;
                Waited::Confirmed
            }
            Ok(Ok(Err((error, _)))) => Waited::Failed(error),
            Ok(Err(_)) => Waited::Failed(KafkaError::Canceled),
            Err(_) => {
                self.silent_since().get_or_insert_with(Instant::now);
                self.abandon(sent);
                Waited::TooLong
            }
        }
    }

    /// Whether nothing was confirmed for so long: the client may have forgotten its brokers, see [`super::client::Asking`].
    fn is_silent_for(&self, long: Duration) -> bool {
        self.silent_since().is_some_and(|since| since.elapsed() > long)
    }

    fn silent_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon(&self, sent: Sent) {
        let mut abandoned = self.abandoned();
        let of_partition = abandoned.iter().filter(|other| other.partition == sent.partition).count();
        if of_partition < ABANDONED_MAX {
            abandoned.push(sent);
        }
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_long(&self) -> AppendError {
        let because =
            self.connection.trouble.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
        AppendError::Unknown(format!("Kafka did not confirm it within {APPEND_MS} milliseconds{because}"))
    }
}
