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
    let order = Order { deliveries: 0, last: None, from };
    let reader = Box::new(Reader { link, stream, connections, messages, order });
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
        ConsumerErrorKind::TimedOut => link.silent(&format!("CONSUMER.CREATE.{stream}")),
        _ => LogError::Away(format!("the stream {stream} cannot be read: {}", with_causes(error))),
    }
}

struct Reader {
    link: Arc<Link>,
    stream: String,
    /// The number of the connection that the consumer was made on.
    connections: u64,
    messages: pull::Stream,
    order: Order,
}

/// What must come next.
struct Order {
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

    fn accept(&mut self, message: Message) -> Result<Option<(Offset, Bytes)>, LogError> {
        let info = message.info().map_err(|error| self.ended(&error.to_string()))?;
        let (delivery, offset) = (info.consumer_sequence, info.stream_sequence);
        let is_wanted = self.order.takes(delivery, offset).map_err(|why| self.ended(&why))?;
        Ok(is_wanted.then_some((offset, message.message.payload)))
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

impl Order {
    /// Whether a record is wanted: a start behind the end is moved to the end, so that some may come before it.
    ///
    /// # Errors
    /// It is not the next one: others were lost on their way.
    fn takes(&mut self, delivery: u64, offset: Offset) -> Result<bool, String> {
        if delivery != self.deliveries + 1 {
            return Err(format!("delivery {delivery} came after {}", self.deliveries));
        }
        if self.last >= Some(offset) {
            return Err(format!("offset {offset} came after {:?}", self.last));
        }
        self.deliveries = delivery;
        self.last = Some(offset);
        Ok(offset >= self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_fine_and_lost_deliveries_are_not() {
        let mut order = Order { deliveries: 0, last: None, from: 7 };
        assert_eq!(order.takes(1, 5), Ok(false));
        assert_eq!(order.takes(2, 7), Ok(true));
        assert_eq!(order.takes(3, 11), Ok(true));
        assert_eq!(order.takes(5, 13), Err("delivery 5 came after 3".into()));
        assert_eq!(order.takes(4, 11), Err("offset 11 came after Some(11)".into()));
    }
}
