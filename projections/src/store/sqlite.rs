//! The embedded store: one SQLite file, written by one thread that flushes several partitions at once.
//!
//! It is written without waiting for the disk (`synchronous=NORMAL` under WAL): a power failure may roll it
//! back, position and views together, and the log brings it forward again.

mod files;
mod keys;
mod reading;
mod spaces;
#[cfg(test)]
mod tests;
mod writing;

use super::{Blob, Flush, Flushed, Loaded, Range, STORE_FORMAT, Scanned, Store, Wanted, damage};
use anyhow::{Context, anyhow, bail};
use async_trait::async_trait;
use files::{Displaced, Files};
use keys::Keys;
use reading::{Opened, Readers};
use rusqlite::{Connection, ErrorCode};
use spaces::Spaces;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use writing::{Job, Writer};

/// How many flushes may wait for the writing thread.
const QUEUE_FLUSHES_MAX: usize = 1_024;
/// How long a connection waits for a lock that another program holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Up to this size in bytes the whole file is looked through where it is checked.
const WHOLE_CHECK_BYTES_MAX: u64 = 256 << 20;
/// How many prepared statements each connection keeps.
const STATEMENTS_KEPT: usize = 32;
/// "ReSt" in ASCII: marks the file as a store of Refold.
const APPLICATION_ID: i32 = 0x5265_5374;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS heads (partition INTEGER PRIMARY KEY, head TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS catalogue (id INTEGER PRIMARY KEY CHECK (id = 0), text BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS spaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS entries (
        partition INTEGER NOT NULL, space INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (partition, space, key)
    ) WITHOUT ROWID;";

/// A store in a file of its own.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Arc<Readers>,
    keys: Keys,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the store in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// Where the file cannot be opened, or is something else.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(file_name());
        let (connection, opened) = open_at(&path)?;
        let readers = Arc::new(Readers::new(Arc::new(opened)));
        let writer = Writer::new(path, connection, Arc::clone(&readers))?;
        let (jobs, queue) = mpsc::channel(QUEUE_FLUSHES_MAX);
        let thread = std::thread::Builder::new().name("store".into());
        let writer = thread.spawn(move || writer.run(queue))?;
        let keys = Keys::start(&readers)?;
        Ok(Self { readers, keys, jobs: Some(jobs), writer: Some(writer) })
    }

    /// Opens the store in `dir` to look at it, or nothing where there is none: no file is made or changed, but for
    /// SQLite's own index of a write-ahead log that a killed process left.
    ///
    /// # Errors
    /// Where the file cannot be read, or is something else.
    pub fn look(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(file_name());
        if !path.exists() {
            return Ok(None);
        }
        let name = || format!("cannot read {}", path.display());
        let connection = reading::connect_to_look(&path).with_context(name)?;
        if ensure_ours(&connection).with_context(name)? {
            return Ok(None);
        }
        let spaces = Spaces::read(&connection).with_context(name)?;
        let connect = reading::connect_to_look;
        let opened = Opened { path, files: Files::any(), spaces, connect, idle: Mutex::default() };
        let readers = Arc::new(Readers::new(Arc::new(opened)));
        let keys = Keys::start(&readers)?;
        Ok(Some(Self { readers, keys, jobs: None, writer: None }))
    }

    /// What to do where the store cannot be used for this reason.
    pub fn remedy(error: &anyhow::Error) -> &'static str {
        let around = [
            ErrorCode::DiskFull,
            ErrorCode::ReadOnly,
            ErrorCode::CannotOpen,
            ErrorCode::PermissionDenied,
            ErrorCode::SystemIoFailure,
            ErrorCode::DatabaseBusy,
            ErrorCode::DatabaseLocked,
        ];
        if error.chain().filter_map(damage::code).any(|code| around.contains(&code)) {
            "see that the data directory can be read and written, and that its disk has room"
        } else {
            damage::REMEDY
        }
    }

    /// Whether there is a store in `dir`.
    pub fn exists(dir: &Path) -> bool {
        dir.join(file_name()).exists()
    }

    /// Removes the store in `dir`, and says whether there was one. No process may have it open.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn remove(dir: &Path) -> anyhow::Result<bool> {
        let there_was = Self::exists(dir);
        // The file itself first: SQLite throws away a write-ahead log without it, but not the other way round.
        for suffix in ["", "-wal", "-shm"] {
            let path = dir.join(file_name() + suffix);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let remedy = "it is no file of refold's making, or may not be removed: move it away";
                    return Err(error).with_context(|| format!("cannot remove {}: {remedy}", path.display()));
                }
                _ => {}
            }
        }
        Ok(there_was)
    }

    /// Has files that are not in place made anew for whoever reads next.
    async fn mended<T>(&self, read: anyhow::Result<T>) -> anyhow::Result<T> {
        if read.as_ref().is_err_and(|error| error.is::<Displaced>()) {
            self.send(|done| Job::Look { done }).await?;
        }
        read
    }

    async fn send<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<anyhow::Result<T>>) -> Job,
    ) -> anyhow::Result<T> {
        let (done, outcome) = oneshot::channel();
        let jobs = self.jobs.as_ref().context("the store is closed")?;
        jobs.send(job(done)).await.map_err(|_| anyhow!("the store's thread has ended"))?;
        outcome.await.context("the store's thread has ended")?
    }
}

/// The name of the store's file; it carries the format's number.
fn file_name() -> String {
    format!("store.v{STORE_FORMAT}.sqlite")
}

impl Drop for SqliteStore {
    /// Lets the thread finish what it holds.
    fn drop(&mut self) {
        self.jobs = None;
        // Before the idle connections: the threads give theirs back.
        self.keys.stop();
        // The connection that closes last tidies up the write-ahead log, if it may write.
        self.readers.opened().close_idle();
        if let Some(writer) = self.writer.take() {
            // A panic in the thread was reported by it already; here is nobody left to tell.
            drop(writer.join());
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        self.mended(self.keys.load(partition, wanted).await).await
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.mended(self.readers.scan(partition, range).await).await
    }

    async fn scan_all(&self, partitions: u32, range: Range) -> anyhow::Result<Vec<Scanned>> {
        self.mended(self.readers.scan_all(partitions, range).await).await
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        self.send(|done| Job::Flush { partition, flush, done }).await
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        self.mended(self.readers.catalogue().await).await
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.send(|done| Job::Reset { catalogue, done }).await
    }

    /// Looks through the whole file, if it is not too large for that.
    async fn check(&self) -> anyhow::Result<()> {
        self.readers.check().await
    }
}

/// Opens the store to write to, or makes an empty one.
fn open_at(path: &Path) -> anyhow::Result<(Connection, Opened)> {
    let open = || -> anyhow::Result<(Connection, Files, Spaces)> {
        let connection = open_writable(path)?;
        let files = Files::open_at(connection.path().context("it has no path")?)?;
        let spaces = Spaces::read(&connection)?;
        Ok((connection, files, spaces))
    };
    let (connection, files, spaces) = open().with_context(|| format!("cannot open {}", path.display()))?;
    let connect = reading::connect;
    Ok((connection, Opened { path: path.to_owned(), files, spaces, connect, idle: Mutex::default() }))
}

fn open_writable(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    ensure_ours(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Refuses a database of somebody else, and says whether this one is empty.
fn ensure_ours(connection: &Connection) -> anyhow::Result<bool> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if id != APPLICATION_ID && tables > 0 {
        bail!("it is a database, but no store of refold: move it away");
    }
    Ok(tables == 0)
}
