//! Reads a stream in large batches, without acknowledgements: a consumer that lives as long as the reader.

use super::link::{Link, refused, with_causes};
use async_nats::header::NATS_LAST_CONSUMER;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::{self, BatchConfig};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::{Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use refold_domain::log::{LogError, Offset, Records};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How many records are asked for with one request. The client's buffer of a subscription has 65,536 places, and drops
/// what comes when it is full.
const REQUEST_RECORDS: usize = 8_192;

/// How many bytes are asked for with one request, at least. Odd, because a request that fits to the byte ends without a
/// word, which would be noticed only by the silence after it.
const REQUEST_BYTES: usize = (4 << 20) - 1;

/// How many records are asked for first: many readers want one, and a server gives all that it is asked for at once, whoever
/// has gone meanwhile; at 64 MiB it closes the connection.
const FIRST_REQUEST_RECORDS: usize = 1;

/// How many requests there are at a time then, so that the next one is there when one ends; all they bring may wait in memory.
const REQUESTS: usize = 2;

/// What a record may have in addition to its bytes, in bytes: subjects and headers.
const FRAME_BYTES_MAX: usize = 4_096;

/// How often a server tells that it is there while there are no records, in milliseconds; a reader that has heard nothing
/// for twice as long ends.
const HEARTBEAT_MS: u64 = 2_000;

/// How long a server keeps a request for records, in milliseconds; then it is asked again.
const REQUEST_EXPIRES_MS: u64 = 30_000;

/// How long the server keeps the consumer of a reader that has gone, in milliseconds.
const CONSUMER_EXPIRES_MS: u64 = 30_000;

/// What a server calls the end of a request whose bytes are too few for the next record.
const FULL: &str = "Message Size Exceeds MaxBytes";

/// What newer servers call the end of a request that has brought all of its records, or all of its bytes.
const COMPLETED: &str = "Batch Completed";

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
    let inbox = Subject::from(link.context.client().new_inbox());
    let subscribed = link.context.client().subscribe(inbox.clone()).await;
    let messages =
        subscribed.map_err(|error| LogError::Away(format!("{stream}: {}", with_causes(&error))))?;
    let (link, stream) = (Arc::clone(link), stream.to_owned());
    let (order, heard) = (Order { deliveries: 0, last: None, from }, Instant::now());
    let asked = FIRST_REQUEST_RECORDS;
    let reader = Box::new(Reader {
        link,
        stream,
        connections,
        consumer,
        inbox,
        messages,
        asked,
        brought: 0,
        heard,
        order,
    });
    reader.request().await?;
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

/// The client's own streams of messages are not used: they lose count of what was asked for where a request is answered
/// before they have noted it, which happens with large records, and then wait for nothing.
struct Reader {
    link: Arc<Link>,
    stream: String,
    /// The number of the connection that the consumer was made on.
    connections: u64,
    consumer: PullConsumer,
    inbox: Subject,
    messages: Subscriber,
    /// How many records the oldest request asked for.
    asked: usize,
    /// How many it has brought.
    brought: usize,
    /// When the server said something.
    heard: Instant,
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
                Ok(Some(message)) => {
                    if let Some(record) = self.take(message).await? {
                        return Ok(record);
                    }
                }
                Ok(None) => return Err(self.ended("the client was closed")),
                Err(_) => self.ensure_heard()?,
            }
        }
    }

    /// Asks for more records.
    async fn request(&self) -> Result<(), LogError> {
        let request = BatchConfig {
            batch: self.asked,
            max_bytes: REQUEST_BYTES.max(self.link.context.client().max_payload() + FRAME_BYTES_MAX),
            expires: Some(Duration::from_millis(REQUEST_EXPIRES_MS)),
            idle_heartbeat: Duration::from_millis(HEARTBEAT_MS),
            ..BatchConfig::default()
        };
        let sent = self.consumer.request_batch(request, self.inbox.clone()).await;
        sent.map_err(|error| self.ended(&with_causes(&error)))
    }

    /// The record of a message, unless it is none, or one before those that are wanted.
    async fn take(&mut self, message: Message) -> Result<Option<(Offset, Bytes)>, LogError> {
        self.heard = Instant::now();
        match message.status {
            None | Some(StatusCode::OK) => {
                self.brought += 1;
                if self.brought == self.asked {
                    self.go_on_with_more().await?;
                }
                self.accept(message)
            }
            Some(StatusCode::IDLE_HEARTBEAT) => self.ensure_complete(&message).map(|()| None),
            Some(StatusCode::TIMEOUT) => self.go_on().await.map(|()| None),
            Some(StatusCode::REQUEST_TERMINATED) if message.description.as_deref() == Some(FULL) => {
                self.go_on().await.map(|()| None)
            }
            // Newer servers say it behind the last record, where it is known from their number.
            Some(StatusCode::REQUEST_TERMINATED) if message.description.as_deref() == Some(COMPLETED) => {
                if self.brought > 0 {
                    self.go_on().await?;
                }
                Ok(None)
            }
            Some(status) => {
                self.ensure_same_connection()?;
                Err(self.ended(&format!("{status} {}", message.description.unwrap_or_default())))
            }
        }
    }

    /// The oldest request has ended.
    async fn go_on(&mut self) -> Result<(), LogError> {
        self.brought = 0;
        self.request().await
    }

    /// The oldest request has brought all that it asked for.
    async fn go_on_with_more(&mut self) -> Result<(), LogError> {
        if self.asked == FIRST_REQUEST_RECORDS {
            self.asked = REQUEST_RECORDS;
            for _ in 1..REQUESTS {
                self.request().await?;
            }
        }
        self.go_on().await
    }

    fn accept(&mut self, message: Message) -> Result<Option<(Offset, Bytes)>, LogError> {
        let context = self.link.context.clone();
        let message = jetstream::Message { message, context };
        let info = message.info().map_err(|error| self.ended(&error.to_string()))?;
        let (delivery, offset) = (info.consumer_sequence, info.stream_sequence);
        let is_wanted = self.order.takes(delivery, offset).map_err(|why| self.ended(&why))?;
        Ok(is_wanted.then_some((offset, message.message.payload)))
    }

    /// A server that waits tells what it delivered last.
    fn ensure_complete(&self, heartbeat: &Message) -> Result<(), LogError> {
        let told = heartbeat.headers.as_ref().and_then(|headers| headers.get(NATS_LAST_CONSUMER));
        match told.and_then(|last| last.as_str().parse::<u64>().ok()) {
            Some(last) if last > self.order.deliveries => {
                Err(self.ended(&format!("deliveries after {} to {last} were lost", self.order.deliveries)))
            }
            _ => Ok(()),
        }
    }

    fn ensure_heard(&self) -> Result<(), LogError> {
        self.ensure_same_connection()?;
        if self.heard.elapsed() > Duration::from_millis(2 * HEARTBEAT_MS) {
            return Err(self.ended(&format!("the server said nothing for {} ms", 2 * HEARTBEAT_MS)));
        }
        Ok(())
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
