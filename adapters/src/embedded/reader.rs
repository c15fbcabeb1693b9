//! Reading a partition: old records from the file, new ones from memory, then waiting.

use super::file;
use super::tail::{Found, Tail};
use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use refold_domain::log::{LogError, Offset, Records};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tokio::task::{consume_budget, spawn_blocking};

/// The most records that are read at once.
pub(super) const CHUNK_RECORDS_MAX: usize = 1024;

/// The size in bytes at which what is read at once takes no further record.
pub(super) const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// The same for what is read first from the file: many want no more than the record that they ask for. Each further
/// chunk may be twice as large, so that whoever reads on is soon as fast.
const CHUNK_BYTES_FIRST: usize = 16 * 1024;

/// How many reads of the file run at once, each with a connection of its own.
const READS_MAX: usize = 4;

/// Records of one partition, with offsets that grow.
pub(super) type Chunk = Vec<(Offset, Bytes)>;

/// The records of a partition from `from` on, without end.
pub(super) fn records(partition: u32, from: Offset, tail: Tail, readers: Arc<Readers>) -> Records {
    let reader = Reader { partition, next: from, bytes_max: CHUNK_BYTES_FIRST, tail, readers };
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
    /// The size of the next chunk from the file.
    bytes_max: usize,
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
                Found::Nothing => return Err(LogError::Broken("the log was closed".into())),
            }
        };
        self.next = chunk.last().map_or(self.next, |(offset, _)| offset + 1);
        Ok(chunk)
    }

    async fn stored(&mut self) -> Result<Chunk, LogError> {
        let (partition, from, bytes_max) = (self.partition, self.next, self.bytes_max);
        let query = move |connection: &Connection| Ok(file::chunk(connection, partition, from, bytes_max)?);
        let chunk = self.readers.query(query).await?;
        self.bytes_max = (bytes_max * 2).min(CHUNK_BYTES_MAX);
        if chunk.is_empty() {
            let lost = format!("partition {partition} has lost its records from offset {from} on");
            return Err(LogError::Broken(lost));
        }
        Ok(chunk)
    }
}

/// How a connection is opened.
pub(super) type Open = fn(&Path) -> rusqlite::Result<Connection>;

/// Connections that read the file, each by one query at a time.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    open: Open,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, open: Open) -> Self {
        Self { path, open, permits: Arc::new(Semaphore::new(READS_MAX)), idle: Mutex::default() }
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
        let answer =
            task.await.map_err(|error| LogError::Broken(format!("reading the log was cut off: {error}")))?;
        answer.map_err(|error| LogError::Broken(format!("{error:#}")))
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close_idle(&self) {
        self.idle().clear();
    }

    /// A connection whose query failed is not used again.
    fn run<T>(&self, query: impl FnOnce(&Connection) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let name = || format!("cannot read {}", self.path.display());
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| (self.open)(&self.path), Ok).with_context(name)?;
        let answer = query(&connection).with_context(name)?;
        self.idle().push(connection);
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("nobody panics while holding the connections")
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::LogFile;
    use super::super::tail;
    use super::*;

    const RECORD: &[u8] = &[7; 1_000];
    const RECORDS: u64 = 5_000;

    #[tokio::test]
    async fn the_first_chunk_is_small_and_the_next_ones_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.sqlite");
        let mut file = LogFile::open(&path).unwrap();
        file.append((0..RECORDS).map(|offset| (0, offset, RECORD))).unwrap();
        let (_head, tail) = tail::new(file.spans(1).unwrap()[0]);
        let readers = Arc::new(Readers::new(path, file::open_to_read));
        let mut reader = Reader { partition: 0, next: 0, bytes_max: CHUNK_BYTES_FIRST, tail, readers };
        let mut sizes = Vec::new();
        while reader.next < RECORDS {
            sizes.push(reader.next_chunk().await.unwrap().len());
        }
        assert_eq!(sizes[..3], [17, 33, 66]);
        assert_eq!(sizes.iter().max(), Some(&CHUNK_RECORDS_MAX));
        assert_eq!(sizes.iter().sum::<usize>() as u64, RECORDS);
    }
}
