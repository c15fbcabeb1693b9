//! The log on NATS: each partition is a JetStream stream of its own, and a record's offset its sequence there.
//!
//! [`options`] are its settings; [`link`] is a connection, which comes back by itself; [`streams`] makes the streams and
//! refuses others; [`reader`] reads one; [`check`] looks for what may lose history.

mod check;
mod link;
mod options;
mod reader;
mod streams;

use crate::{Access, Broker, Config};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode, message::PublishMessage};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use link::Link;
use options::Options;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Offset, Records, Risk};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use streams::Partition;
use tokio::time::timeout;

/// The broker.
pub(crate) const BROKER: Broker =
    Broker { name: "nats", config: include_str!("../../config/nats.toml"), client: &["async_nats"], open };

/// How long an append waits for its confirm, in milliseconds; then its outcome is unknown.
const CONFIRM_TIMEOUT_MS: u64 = 5_000;

/// How long an append waits for a connection before it is sent, in milliseconds: a server may be starting again.
const CONNECTION_WAIT_MS: u64 = 2_000;

/// Errors of a server that looked at a record and did not try to store it. Those of storing are not among them: other
/// replicas may have it.
const NOT_STORED: [ErrorCode; 4] = [
    ErrorCode::STREAM_NOT_MATCH,
    ErrorCode::STREAM_SEALED,
    ErrorCode::JETSTREAM_NOT_ENABLED,
    ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
];

/// The same for a record's size.
const TOO_LARGE: [ErrorCode; 2] =
    [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM];

/// An event log in JetStream streams.
struct NatsLog {
    partitions: Vec<Partition>,
    options: Options,
    is_writable: bool,
    /// Appends and questions; confirms must not wait behind what is read.
    asking: Link,
    reading: Arc<Link>,
}

/// Opens the log of a config.
fn open(config: &Config) -> BoxFuture<'_, anyhow::Result<Arc<dyn EventLog>>> {
    Box::pin(async {
        let options = Options::of(config)?;
        let partitions: Vec<_> =
            (0..config.partitions).map(|number| Partition::new(config, number)).collect();
        let asking = Link::open(&options).await?;
        streams::ensure(&asking, config, &partitions, &options).await?;
        let reading = Arc::new(Link::open(&options).await?);
        let is_writable = config.access != Access::Look;
        Ok(Arc::new(NatsLog { partitions, options, is_writable, asking, reading }) as Arc<dyn EventLog>)
    })
}

impl NatsLog {
    fn partition(&self, number: u32) -> Result<&Partition, String> {
        let count = self.partitions.len();
        self.partitions
            .get(number as usize)
            .ok_or_else(|| format!("there is no partition {number}, the log has {count}"))
    }

    /// Nothing is sent while there is no connection: the client would keep it, and send it whenever there is one.
    async fn publish(&self, partition: &Partition, record: Bytes) -> Result<(), AppendError> {
        let bytes = record.len();
        if !self.asking.is_back_within(Duration::from_millis(CONNECTION_WAIT_MS)).await {
            return Err(AppendError::Unknown(self.asking.lost()));
        }
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, partition.stream.as_str());
        let message = PublishMessage::build().payload(record).headers(headers);
        let connections = self.asking.connections();
        let confirm = async {
            let sent = self.asking.context.send_publish(partition.subject.clone(), message).await;
            sent?.await
        };
        tokio::select! {
            biased;
            confirm = confirm => {
                confirm.map(drop).map_err(|error| self.append_error(partition, bytes, &error))
            }
            () = self.asking.is_replaced(connections) => Err(AppendError::Unknown(self.asking.broke_off())),
        }
    }

    fn append_error(&self, partition: &Partition, bytes: usize, error: &PublishError) -> AppendError {
        let limit = self.asking.context.client().max_payload();
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => AppendError::TooLarge(format!(
                "it has {bytes} bytes, the server takes {limit} with its headers: raise max_payload in the server's settings"
            )),
            PublishErrorKind::StreamNotFound => {
                AppendError::Refused(format!("there is no stream that takes {}", partition.subject))
            }
            PublishErrorKind::MaxAckPending => {
                AppendError::Refused("too many appends wait for a confirm".into())
            }
            _ => match error.source().and_then(|source| source.downcast_ref::<jetstream::Error>()) {
                Some(error) if TOO_LARGE.contains(&error.error_code()) => AppendError::TooLarge(format!(
                    "it has {bytes} bytes, the stream {stream} takes fewer: nats stream edit {stream} --max-msg-size=-1",
                    stream = partition.stream
                )),
                Some(error) if NOT_STORED.contains(&error.error_code()) || is_full(error) => {
                    AppendError::Refused(format!("{}: {error}", partition.stream))
                }
                Some(error) => AppendError::Unknown(format!("{}: {error}", partition.stream)),
                None => AppendError::Unknown(self.asking.why_silent(&partition.subject)),
            },
        }
    }
}

/// Whether a limit of the stream keeps a record out; all of its servers find the same.
fn is_full(error: &jetstream::Error) -> bool {
    let limits = ["maximum messages exceeded", "maximum bytes exceeded"];
    error.error_code() == ErrorCode::STREAM_STORE_FAILED
        && limits.iter().any(|limit| error.to_string().contains(limit))
}

#[async_trait]
impl EventLog for NatsLog {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        let partition = self.partition(partition).map_err(AppendError::Refused)?;
        if !self.is_writable {
            return Err(AppendError::Refused("the log is only looked at".into()));
        }
        let limit = Duration::from_millis(CONFIRM_TIMEOUT_MS + CONNECTION_WAIT_MS);
        let expired = |_| Err(AppendError::Unknown(self.asking.why_silent(&partition.subject)));
        timeout(limit, self.publish(partition, record)).await.unwrap_or_else(expired)
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        let partition = self.partition(partition).map_err(LogError::Broken)?;
        reader::records(&self.reading, &partition.stream, from).await
    }

    /// A stream that has lost all of its records has no first one, and still knows its last sequence.
    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let partition = self.partition(partition).map_err(LogError::Broken)?;
        let state = streams::info(&self.asking, partition).await?.state;
        let end = if state.last_sequence == 0 { End::Empty } else { End::Last(state.last_sequence) };
        Ok(Bounds { first: (state.messages > 0).then_some(state.first_sequence), end })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        let infos = self.partitions.iter().map(|partition| streams::info(&self.asking, partition));
        let infos = try_join_all(infos).await?;
        let (version, limit) = (self.asking.version(), self.asking.context.client().max_payload());
        let of_streams = check::of_streams(&infos, &self.options);
        Ok(of_streams.into_iter().chain(check::of_server(&version, limit, &self.options)).collect())
    }
}
