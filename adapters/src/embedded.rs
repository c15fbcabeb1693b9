//! The log in one SQLite file: durable, with nothing to install. One process at a time.
//!
//! An append goes into a bounded queue; one thread takes whatever waits there, for whichever partitions, and
//! commits it in one transaction (`writer`), so that one fsync serves all. Readers take new records from
//! memory (`tail`) and older ones from the file (`reader`). A [`copy`] of it can be made meanwhile.

mod check;
pub mod copy;
mod file;
mod files;
mod reader;
mod tail;
mod writer;

use crate::{Access, Broker, Config, lock};
use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use file::LogFile;
use files::Files;
use futures::future::BoxFuture;
use reader::Readers;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Offset, Records, Risk};
use rusqlite::ErrorCode;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use tail::Tail;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use writer::{Job, Writer};

/// What this broker is called.
pub const NAME: &str = "embedded";

/// The broker, which needs no settings of its own.
pub(crate) const BROKER: Broker = Broker { name: NAME, config: "", client: &[], open };

/// The log's file within its directory.
pub const FILE: &str = "log.sqlite";

/// The largest record that is taken, in bytes.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many appends may wait for the writer thread; the next one waits for room.
const QUEUE_RECORDS: usize = 256;

/// An event log in a file of this machine.
#[derive(Debug)]
pub struct EmbeddedLog {
    path: PathBuf,
    /// What the writer has open.
    files: watch::Receiver<Files>,
    tails: Vec<Tail>,
    readers: Arc<Readers>,
    pages_max: Arc<AtomicU32>,
    /// `None` where the log is only looked at, and while dropping: the writer ends when there is nobody left to send.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir` with `partitions` partitions, and makes it where it is missing.
    ///
    /// The caller holds the directory ([`lock::DataDir`]): a second process must not open it.
    ///
    /// # Errors
    /// The file is something else or of a newer format, or it cannot be opened, read or made durable.
    pub fn open(dir: &Path, partitions: u32) -> anyhow::Result<Self> {
        lock::create(dir)?;
        let path = dir.join(FILE);
        let file = LogFile::open(&path)?;
        let spans = file.spans(partitions).with_context(|| format!("cannot read {}", path.display()))?;
        let (heads, tails) = spans.into_iter().map(tail::new).unzip();
        let pages_max = Arc::new(AtomicU32::new(file::PAGES_MAX));
        let readers = Arc::new(Readers::new(path.clone(), file::open_to_read));
        let writer = Writer::new(path.clone(), file, Arc::clone(&readers), heads, Arc::clone(&pages_max));
        let files = writer.files();
        let (jobs, queue) = mpsc::channel(QUEUE_RECORDS);
        let writer = thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(queue));
        Ok(Self {
            path,
            files,
            tails,
            readers,
            pages_max,
            jobs: Some(jobs),
            writer: Some(writer.context("cannot start the log's writer thread")?),
        })
    }

    /// Opens the log in `dir` to look at it: no file is made or changed, but for SQLite's own index of a write-ahead log
    /// that a killed process left.
    ///
    /// # Errors
    /// There is no such file, it is something else or of a newer format, or it cannot be read.
    pub fn look(dir: &Path, partitions: u32) -> anyhow::Result<Self> {
        Self::look_at(dir.join(FILE), partitions)
    }

    /// The same for a log in a file of any name.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn look_at(path: PathBuf, partitions: u32) -> anyhow::Result<Self> {
        let name = || format!("cannot read {}", path.display());
        let connection = file::open_to_look(&path).with_context(name)?;
        let spans = file::all_spans(&connection, partitions).with_context(name)?;
        let tails = spans.into_iter().map(|span| tail::new(span).1).collect();
        let files = watch::channel(Files::database_at(&path)?).1;
        let readers = Arc::new(Readers::new(path.clone(), file::open_to_look));
        let pages_max = Arc::default();
        Ok(Self { path, files, tails, readers, pages_max, jobs: None, writer: None })
    }

    /// Lets the file grow to so many pages of 4 KiB at most, so that a test can fill the disk.
    #[doc(hidden)]
    pub fn limit_pages(&self, pages: u32) {
        self.pages_max.store(pages, Ordering::Relaxed);
    }

    fn tail(&self, partition: u32) -> Result<&Tail, LogError> {
        self.tails.get(partition as usize).ok_or_else(|| LogError::Broken(self.no_partition(partition)))
    }

    fn no_partition(&self, partition: u32) -> String {
        format!("there is no partition {partition}, the log has {}", self.tails.len())
    }
}

/// Opens the log of a config.
fn open(config: &Config) -> BoxFuture<'_, anyhow::Result<Arc<dyn EventLog>>> {
    Box::pin(async {
        let open = if config.access == Access::Look { EmbeddedLog::look } else { EmbeddedLog::open };
        let log = open(&config.data_dir, config.partitions).map_err(with_remedy)?;
        Ok(Arc::new(log) as Arc<dyn EventLog>)
    })
}

/// Says what to do where it is the disk that refuses; SQLite tells that by a number.
fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    let of_disk = [
        ErrorCode::DiskFull,
        ErrorCode::ReadOnly,
        ErrorCode::CannotOpen,
        ErrorCode::PermissionDenied,
        ErrorCode::SystemIoFailure,
    ];
    let code = |cause: &(dyn Error + 'static)| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code();
    if error.chain().filter_map(code).any(|code| of_disk.contains(&code)) {
        error.context("see that the data directory can be read and written, and that its disk has room")
    } else {
        error
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn append(&self, partition: u32, record: Bytes) -> Result<(), AppendError> {
        if partition as usize >= self.tails.len() {
            return Err(AppendError::Refused(self.no_partition(partition)));
        }
        if record.len() > RECORD_BYTES_MAX {
            let bytes = record.len();
            let reason = format!("it has {bytes} bytes, the log takes {RECORD_BYTES_MAX} at most");
            return Err(AppendError::TooLarge(reason));
        }
        let (done, outcome) = oneshot::channel();
        let jobs = self.jobs.as_ref();
        let jobs = jobs.ok_or_else(|| AppendError::Refused("the log is only looked at".into()))?;
        let sent = jobs.send(Job { partition, record, done }).await;
        sent.map_err(|_| AppendError::Refused("the log's writer has ended".into()))?;
        outcome.await.unwrap_or_else(|_| Err(AppendError::Unknown("the log's writer has ended".into())))
    }

    async fn read(&self, partition: u32, from: Offset) -> Result<Records, LogError> {
        let tail = self.tail(partition)?.clone();
        Ok(reader::records(partition, from, tail, Arc::clone(&self.readers)))
    }

    /// A log that has lost its files has no bounds, whatever this process remembers.
    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let files = self.files.borrow().clone();
        let looked = spawn_blocking(move || files.ensure_in_place()).await;
        let in_place =
            looked.map_err(|error| LogError::Broken(format!("looking for the log was cut off: {error}")))?;
        in_place.map_err(|error| LogError::Broken(format!("{error:#}")))?;
        let span = self.tail(partition)?.span();
        let last = span.last();
        Ok(Bounds { first: last.map(|_| span.first), end: last.map_or(End::Empty, End::Last) })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        let path = self.path.clone();
        let partitions = u32::try_from(self.tails.len()).expect("as many as were asked for");
        self.readers.query(move |connection| check::risks(connection, &path, partitions)).await
    }
}

impl Drop for EmbeddedLog {
    /// Waits until the writer has written what it holds.
    fn drop(&mut self) {
        self.jobs = None;
        // The connection that closes last tidies up the write-ahead log, if it may write.
        self.readers.close_idle();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!(path = %self.path.display(), "the log's writer thread panicked");
        }
    }
}
