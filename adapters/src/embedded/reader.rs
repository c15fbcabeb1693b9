//! Reading a partition: old records from the file, new ones from memory, then waiting.

use super::file;
use super::tail::{Found, Tail};
use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use refold_domain::log::{LogError, Offset, Records};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tokio::task::{consume_budget, spawn_blocking};

/// The most records that are read at once.
pub(super) const CHUNK_RECORDS_MAX: usize = 1024;

/// The size in bytes that what is read at once stays below, unless a single record is larger.
pub(super) const CHUNK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many reads of the file run at once, each with a connection of its own.
const READS_MAX: usize = 4;

/// Records of one partition, with offsets that grow.
pub(super) type Chunk = Vec<(Offset, Bytes)>;

/// The records of a partition from `from` on, without end.
pub(super) fn records(partition: u32, from: Offset, tail: Tail, readers: Arc<Readers>) -> Records {
    let reader = Reader { partition, next: from, tail, readers };
    stream::try_unfold(reader, |mut reader| async {
        let chunk = reader.next_chunk().await?;
        Ok(Some((stream::iter(chunk).map(Ok), reader)))
    })
    .try_flatten()
    .boxed()
}

struct Reader {
    partition: u32,
    next: Offset,
    tail: Tail,
    readers: Arc<Readers>,
}

impl Reader {
    async fn next_chunk(&mut self) -> Result<Chunk, LogError> {
        // Chunks from memory are always ready: let others run in between.
        consume_budget().await;
        let chunk = loop {
            match self.tail.take(self.next) {
                Found::Records(chunk) => break chunk,
                Found::Older => break self.stored().await?,
                Found::Nothing if self.tail.reaches(self.next).await => {}
                Found::Nothing => return Err(LogError("the log was closed".into())),
            }
        };
        self.next = chunk.last().map_or(self.next, |(offset, _)| offset + 1);
        Ok(chunk)
    }

    async fn stored(&self) -> Result<Chunk, LogError> {
        let (partition, from) = (self.partition, self.next);
        let chunk =
            self.readers.query(move |connection| Ok(file::chunk(connection, partition, from)?)).await?;
        if chunk.is_empty() {
            let lost = format!("partition {partition} has lost its records from offset {from} on");
            return Err(LogError(lost));
        }
        Ok(chunk)
    }
}

/// Connections that read the file, each by one query at a time.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, permits: Arc::new(Semaphore::new(READS_MAX)), idle: Mutex::default() }
    }

    /// Runs `query` on a thread that may block.
    pub(super) async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let readers = Arc::clone(self);
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let task = spawn_blocking(move || {
            let _permit = permit;
            readers.run(query)
        });
        let answer = task.await.map_err(|error| LogError(format!("reading the log was cut off: {error}")))?;
        answer.map_err(|error| LogError(format!("{error:#}")))
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close_idle(&self) {
        self.idle().clear();
    }

    /// A connection whose query failed is not used again.
    fn run<T>(&self, query: impl FnOnce(&Connection) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let name = || format!("cannot read {}", self.path.display());
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| file::open_to_read(&self.path), Ok).with_context(name)?;
        let answer = query(&connection).with_context(name)?;
        self.idle().push(connection);
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("nobody panics while holding the connections")
    }
}
