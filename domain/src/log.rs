//! The contract of a broker: an ordered, durable, replayable log with confirms, and nothing more.
//!
//! Each promise below has a case in the conformance suite, which runs against every broker.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Where a record stands within its partition. Offsets grow strictly but may have holes.
pub type Offset = u64;

/// Records in log order: first those that are there, then each new one as it is appended. The stream ends only
/// with an error; a reader then starts again at the record that it passed last.
pub type Records = BoxStream<'static, Result<(Offset, Bytes), LogError>>;

/// A log of partitions, each an ordered sequence of records.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends one record to a partition and returns once it is stored as durably as the broker can.
    ///
    /// # Errors
    /// [`AppendError`]: refused for good, or unknown. Cancelling the call leaves the outcome unknown too.
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError>;

    /// Reads a partition from the first record at or after `from`, without end.
    ///
    /// # Errors
    /// [`LogError`] where the broker cannot be reached or has no such partition.
    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError>;

    /// The first and the last record of a partition. Never appends.
    ///
    /// # Errors
    /// [`LogError`] where the broker cannot be reached or has no such partition.
    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError>;

    /// What about this broker's settings may delete history or lose what it confirmed.
    ///
    /// # Errors
    /// [`LogError`] where the broker cannot be asked.
    async fn check(&self) -> Result<Vec<Risk>, LogError>;
}

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The offset of the oldest record, `None` where there is none.
    pub first: Option<Offset>,
    /// How far the partition reaches.
    pub end: End,
}

/// The end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// No record was ever appended.
    Empty,
    /// The newest record stands at this offset.
    Last(Offset),
    /// The newest record stands at this offset or behind it: this broker cannot tell. Whoever must know appends a barrier
    /// and reads until it comes.
    AtLeast(Offset),
}

/// Why an append was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The record was not stored and never will be.
    #[error("the log refused the record: {0}")]
    Refused(String),
    /// The same for its size alone: smaller ones may be taken.
    #[error("the log refused the record for its size: {0}")]
    TooLarge(String),
    /// The record may be stored, now or later.
    #[error("the log did not confirm the record: {0}")]
    Unknown(String),
}

/// The log cannot be opened or read; the reason is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It is not there or does not answer, and may come back by itself: try again.
    #[error("{0}")]
    Away(String),
    /// It will be so until somebody does something about it.
    #[error("{0}")]
    Broken(String),
    /// There is nothing of it, and nothing was to be made.
    #[error("{0}")]
    Missing(String),
}

/// Something about the broker that may lose history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// Whether the service must not start with it.
    pub fatal: bool,
    /// What was found, and where.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}
