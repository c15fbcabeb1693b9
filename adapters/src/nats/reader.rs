//! Reads a stream in large batches, without acknowledgements: a consumer that lives as long as the reader.

use super::link::{Link, refused, with_causes};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{self, MessagesErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use refold_domain::log::{LogError, Offset, Records};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How many records are asked for at once. The client's buffer of a subscription has 65,536 places, and drops what comes
/// when it is full: there are never as many as four such batches on their way.
const BATCH_RECORDS: usize = 8_192;

/// How many bytes are asked for at once, at least; one and a half times as many may wait in memory, for each reader.
const BATCH_BYTES: usize = 4 << 20;

/// What a record may have in addition to its bytes, in bytes: subjects and headers.
const FRAME_BYTES_MAX: usize = 4_096;

/// How often a server tells that it is there while there are no records, in milliseconds; a reader that has heard nothing
/// for twice as long ends.
const HEARTBEAT_MS: u64 = 2_000;

/// How long a server keeps a request for records, in milliseconds; then it is asked again.
const REQUEST_EXPIRES_MS: u64 = 30_000;

/// How long the server keeps the consumer of a reader that has gone, in milliseconds.
const CONSUMER_EXPIRES_MS: u64 = 10_000;

/// How often a reader that waits sees whether its connection is still the same, in milliseconds.
const LOOK_EVERY_MS: u64 = 100;

/// The records of a stream.
///
/// # Errors
/// There is no such stream, or the server does not answer.
pub(super) async fn records(link: &Arc<Link>, stream: &str, from: Offset) -> Result<Records, LogError> {
    link.ensure_connected()?;
    let connections = link.connections();
    let made = link.context.create_consumer_on_stream(consumer(from), stream).await;
    let consumer: PullConsumer = made.map_err(|error| consumer_error(link, stream, &error))?;
    let bytes = BATCH_BYTES.max(link.context.client().max_payload() + FRAME_BYTES_MAX);
    let messages = consumer
        .stream()
        .max_messages_per_batch(BATCH_RECORDS)
        .max_bytes_per_batch(bytes)
        .heartbeat(Duration::from_millis(HEARTBEAT_MS))
        .expires(Duration::from_millis(REQUEST_EXPIRES_MS))
        .messages()
        .await
        .map_err(|error| LogError::Away(format!("{stream}: {}", with_causes(&error))))?;
    let (link, stream) = (Arc::clone(link), stream.to_owned());
    let reader = Box::new(Reader { link, stream, connections, messages, deliveries: 0, last: None, from });
    Ok(try_unfold(reader, async |mut reader| Ok(Some((reader.next().await?, reader)))).boxed())
}

fn consumer(from: Offset) -> pull::Config {
    pull::Config {
        deliver_policy: match from {
            0 => DeliverPolicy::All,
            _ => DeliverPolicy::ByStartSequence { start_sequence: from },
        },
        ack_policy: AckPolicy::None,
        inactive_threshold: Duration::from_millis(CONSUMER_EXPIRES_MS),
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}

fn consumer_error(link: &Link, stream: &str, error: &ConsumerError) -> LogError {
    match error.kind() {
        ConsumerErrorKind::JetStream(error) => refused(&format!("the stream {stream}"), &error),
        _ => match link.ensure_connected() {
            Ok(()) => LogError::Away(format!("the stream {stream} cannot be read: {}", with_causes(error))),
            Err(lost) => lost,
        },
    }
}

struct Reader {
    link: Arc<Link>,
    stream: String,
    /// The number of the connection that the consumer was made on.
    connections: u64,
    messages: pull::Stream,
    /// How many records the consumer has delivered to us.
    deliveries: u64,
    last: Option<Offset>,
    from: Offset,
}

impl Reader {
    async fn next(&mut self) -> Result<(Offset, Bytes), LogError> {
        loop {
            match timeout(Duration::from_millis(LOOK_EVERY_MS), self.messages.next()).await {
                Ok(Some(Ok(message))) => {
                    if let Some(record) = self.accept(message)? {
                        return Ok(record);
                    }
                }
                Ok(Some(Err(error))) => {
                    self.ensure_same_connection()?;
                    return Err(match error.kind() {
                        MessagesErrorKind::NoResponders => self.ended("its consumer is gone"),
                        _ => self.ended(&with_causes(&error)),
                    });
                }
                Ok(None) => return Err(self.ended("the client was closed")),
                Err(_) => self.ensure_same_connection()?,
            }
        }
    }

    /// The record of a message, unless it stands before those that are wanted: a start behind the end is moved to it.
    fn accept(&mut self, message: Message) -> Result<Option<(Offset, Bytes)>, LogError> {
        let info = message.info().map_err(|error| self.ended(&error.to_string()))?;
        let (delivery, offset) = (info.consumer_sequence, info.stream_sequence);
        if delivery != self.deliveries + 1 {
            return Err(self.ended(&format!("delivery {delivery} came after {}", self.deliveries)));
        }
        if self.last >= Some(offset) {
            return Err(LogError::Broken(format!(
                "{}: offset {offset} came after {:?}",
                self.stream, self.last
            )));
        }
        self.deliveries = delivery;
        self.last = Some(offset);
        Ok((offset >= self.from).then(|| (offset, message.message.payload)))
    }

    /// What was on its way when a connection was lost never comes, and nothing tells that of the newest record.
    fn ensure_same_connection(&self) -> Result<(), LogError> {
        self.link.ensure_connected()?;
        if self.link.connections() == self.connections {
            Ok(())
        } else {
            Err(self.ended("the connection was lost"))
        }
    }

    fn ended(&self, why: &str) -> LogError {
        LogError::Away(format!("reading the stream {} ended: {why}", self.stream))
    }
}
