//! Reading a stream: the server pushes as many records as were acknowledged, and acknowledging deletes nothing.

use super::failure::{Failure, answer};
use super::link::Link;
use super::streams;
use bytes::Bytes;
use futures::{StreamExt, stream};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use refold_domain::log::{LogError, Offset, Records};
use std::sync::Arc;

/// How many records may be on their way to a reader: as large as they are made, 128 MiB.
pub(super) const PREFETCH_RECORDS: u16 = 256;

/// The header that has the offset of a record, and the argument that says where to start.
const OFFSET: &str = "x-stream-offset";

/// Where a reader starts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    First,
    /// At the last chunk of records that there is.
    Last,
    At(Offset),
}

/// A reader of one stream.
pub(super) struct Reader {
    stream: String,
    consumer: Consumer,
    last: Option<Offset>,
    /// How many records the server may send before one is acknowledged.
    prefetch: u16,
    unacknowledged: u16,
    /// The reader ends with its channel.
    _channel: Channel,
}

/// The records of a stream from an offset on, without end.
pub(super) async fn records(link: &Arc<Link>, stream: String, from: Offset) -> Result<Records, LogError> {
    let attach = || Reader::attach(link, &stream, Start::At(from), PREFETCH_RECORDS);
    let reader = streams::recovered(attach).await.map_err(|failure| failure.of(&stream))?;
    let next = |reader: Option<Reader>| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(record) => Some((Ok(record), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    };
    Ok(stream::unfold(Some(reader), next).boxed())
}

impl Reader {
    pub(super) async fn attach(
        link: &Link,
        stream: &str,
        start: Start,
        prefetch: u16,
    ) -> Result<Self, Failure> {
        let channel = link.channel().await?;
        answer(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), start.argument()?);
        let options = BasicConsumeOptions::default();
        let consumer = answer(channel.basic_consume(stream.into(), "".into(), options, arguments)).await?;
        let last = match start {
            Start::At(from) => from.checked_sub(1),
            Start::First | Start::Last => None,
        };
        Ok(Self { stream: stream.to_owned(), consumer, last, prefetch, unacknowledged: 0, _channel: channel })
    }

    /// The next record, however long it takes.
    pub(super) async fn next(&mut self) -> Result<(Offset, Bytes), LogError> {
        let Some(delivery) = self.consumer.next().await else {
            return Err(LogError::Away(format!(
                "RabbitMQ has cancelled the reading of the stream {:?}",
                self.stream
            )));
        };
        let delivery = delivery.map_err(|error| self.failed(error))?;
        let offset = self.offset(&delivery)?;
        self.last = Some(offset);
        self.unacknowledged += 1;
        // One for many: each takes the server as long as a record.
        if self.unacknowledged >= self.prefetch.div_ceil(4) {
            self.unacknowledged = 0;
            let all_before = BasicAckOptions { multiple: true };
            delivery.acker.ack(all_before).await.map_err(|error| self.failed(error))?;
        }
        Ok((offset, delivery.data.into()))
    }

    fn offset(&self, delivery: &Delivery) -> Result<Offset, LogError> {
        let headers = delivery.properties.headers().as_ref();
        let offset = match headers.and_then(|headers| headers.inner().get(OFFSET)) {
            Some(AMQPValue::LongLongInt(offset)) => Offset::try_from(*offset).ok(),
            _ => None,
        };
        let offset = offset.ok_or_else(|| self.broken("a record came without its offset"))?;
        match self.last {
            Some(last) if offset <= last => {
                Err(self.broken(&format!("the record at offset {offset} came after that at {last}")))
            }
            _ => Ok(offset),
        }
    }

    fn failed(&self, error: lapin::Error) -> LogError {
        // A stream that is missing now may be there in a moment: who reads again is told.
        match Failure::from(error) {
            Failure::Log(error) => error,
            failure => LogError::Away(failure.of(&self.stream).to_string()),
        }
    }

    fn broken(&self, found: &str) -> LogError {
        LogError::Broken(format!("the stream {:?}: {found}", self.stream))
    }
}

impl Start {
    fn argument(self) -> Result<AMQPValue, LogError> {
        match self {
            Self::First => Ok(AMQPValue::LongString("first".into())),
            Self::Last => Ok(AMQPValue::LongString("last".into())),
            Self::At(offset) => {
                let offset = i64::try_from(offset);
                let none = |_| LogError::Broken("no stream of RabbitMQ has so many records".into());
                Ok(AMQPValue::LongLongInt(offset.map_err(none)?))
            }
        }
    }
}
