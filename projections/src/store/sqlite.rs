//! The embedded store: one SQLite file, written by one thread that flushes several partitions at once.
//!
//! It is written without waiting for the disk (`synchronous=NORMAL` under WAL): a power failure may roll it
//! back, position and views together, and the log brings it forward again.

#[cfg(test)]
mod tests;

use super::{Blob, Flush, Flushed, Loaded, Range, STORE_FORMAT, Scanned, Space, Standing, Store, Wanted};
use crate::state::Head;
use anyhow::{Context, anyhow, bail};
use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// How many flushes may wait for the writing thread.
const QUEUE_FLUSHES_MAX: usize = 1_024;
/// How many flushes share one transaction at most.
const GROUP_FLUSHES_MAX: usize = 64;
/// How many reads of single keys are made at the same time; more wait. They are what folding and deciding wait for.
const KEY_READS_MAX: usize = 8;
/// How many reads of ranges are made at the same time; more wait, but never before a read of keys.
const RANGE_READS_MAX: usize = 8;
/// How long a connection waits for a lock that another program holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
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
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// Connections to read with; as many as there are reads at once, kept for the next ones.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    keys: Arc<Semaphore>,
    ranges: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    spaces: Arc<Spaces>,
}

/// The numbers that stand for the names of spaces.
#[derive(Debug, Default)]
struct Spaces(RwLock<HashMap<String, i64>>);

enum Job {
    Flush { partition: u32, flush: Arc<Flush>, done: oneshot::Sender<anyhow::Result<Flushed>> },
    Reset { catalogue: Blob, done: oneshot::Sender<anyhow::Result<()>> },
}

impl SqliteStore {
    /// Opens the store in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// Where the file cannot be opened, or is something else.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(file_name());
        let mut connection =
            open_writable(&path).with_context(|| format!("cannot open the store {}", path.display()))?;
        let spaces = Arc::new(Spaces::read(&connection)?);
        let readers = Arc::new(Readers {
            path,
            keys: Arc::new(Semaphore::new(KEY_READS_MAX)),
            ranges: Arc::new(Semaphore::new(RANGE_READS_MAX)),
            idle: Mutex::default(),
            spaces: Arc::clone(&spaces),
        });
        let (jobs, mut queue) = mpsc::channel(QUEUE_FLUSHES_MAX);
        let writer = std::thread::Builder::new().name("store".into()).spawn(move || {
            let mut group = Vec::with_capacity(GROUP_FLUSHES_MAX);
            while queue.blocking_recv_many(&mut group, GROUP_FLUSHES_MAX) > 0 {
                perform(&mut connection, &spaces, &mut group);
            }
        })?;
        Ok(Self { readers, jobs: Some(jobs), writer: Some(writer) })
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
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(there_was)
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

    async fn read<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        read: impl FnOnce(&Transaction<'_>, &Spaces) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let readers = Arc::clone(&self.readers);
        let permit = Arc::clone(permits).acquire_owned().await.context("the store is closed")?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            readers.read(read)
        });
        task.await.context("reading the store was cut off")?
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
        // The connection that closes last tidies up the write-ahead log, if it may write.
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(writer) = self.writer.take() {
            // A panic in the thread was reported by it already; here is nobody left to tell.
            drop(writer.join());
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        self.read(&self.readers.keys, move |tx, spaces| load(tx, spaces, partition, wanted)).await
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.read(&self.readers.ranges, move |tx, spaces| scan(tx, spaces, partition, range)).await
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        self.send(|done| Job::Flush { partition, flush, done }).await
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        self.read(&self.readers.keys, |tx, _| {
            let text = tx.query_row("SELECT text FROM catalogue", [], |row| row.get(0));
            Ok(text.optional()?)
        })
        .await
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.send(|done| Job::Reset { catalogue, done }).await
    }
}

fn open_writable(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if id != APPLICATION_ID && tables > 0 {
        bail!("it is a database, but no store of refold: move it away");
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

impl Readers {
    fn read<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>, &Spaces) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        // One transaction sees one moment: the head and the entries belong together.
        let tx = connection.transaction()?;
        let made = read(&tx, &self.spaces)?;
        tx.commit()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(made)
    }

    fn connect(&self) -> anyhow::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(connection)
    }
}

impl Spaces {
    fn read(connection: &Connection) -> anyhow::Result<Self> {
        let mut statement = connection.prepare("SELECT name, id FROM spaces")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self(RwLock::new(rows.collect::<Result<_, _>>()?)))
    }

    fn find(&self, space: &Space) -> Option<i64> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&space.to_string()).copied()
    }

    /// The number of a space, given now if it has none. Known to readers before the commit: what they look up
    /// under it is still empty then, as it should be.
    fn find_or_add(&self, tx: &Transaction<'_>, space: &Space) -> anyhow::Result<i64> {
        if let Some(id) = self.find(space) {
            return Ok(id);
        }
        let name = space.to_string();
        tx.execute("INSERT OR IGNORE INTO spaces (name) VALUES (?1)", [&name])?;
        let id = tx.query_row("SELECT id FROM spaces WHERE name = ?1", [&name], |row| row.get(0))?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, id);
        Ok(id)
    }

    /// The highest number given; the next one will be above it.
    fn newest(&self) -> i64 {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.values().copied().max().unwrap_or(0)
    }

    fn forget_after(&self, newest: i64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, id| *id <= newest);
    }
}

/// Does a group of jobs in one transaction, and answers them once it is committed.
fn perform(connection: &mut Connection, spaces: &Spaces, group: &mut Vec<Job>) {
    let newest = spaces.newest();
    let outcome = attempt(connection, spaces, group);
    if outcome.is_err() {
        // Numbers that were given in a transaction that is gone will be given again, to other spaces perhaps.
        spaces.forget_after(newest);
    }
    let mut flushed = outcome.as_ref().ok().into_iter().flatten();
    for job in group.drain(..) {
        let failed = || outcome.as_ref().err().map(|error| anyhow!("{error:#}"));
        // Whoever does not listen any more does not need the answer.
        match job {
            Job::Flush { done, .. } => {
                let answer =
                    flushed.next().copied().ok_or_else(|| failed().unwrap_or_else(|| anyhow!("lost")));
                drop(done.send(answer));
            }
            Job::Reset { done, .. } => drop(done.send(failed().map_or(Ok(()), Err))),
        }
    }
}

fn attempt(connection: &mut Connection, spaces: &Spaces, group: &[Job]) -> anyhow::Result<Vec<Flushed>> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut flushed = Vec::with_capacity(group.len());
    for job in group {
        match job {
            Job::Flush { partition, flush, .. } => flushed.push(apply(&tx, spaces, *partition, flush)?),
            Job::Reset { catalogue, .. } => reset(&tx, catalogue)?,
        }
    }
    tx.commit()?;
    Ok(flushed)
}

fn apply(tx: &Transaction<'_>, spaces: &Spaces, partition: u32, flush: &Flush) -> anyhow::Result<Flushed> {
    match flush.against(head(tx, partition)?.as_ref()) {
        Standing::Refused => return Ok(Flushed::Refused),
        Standing::Done => return Ok(Flushed::Done),
        Standing::Apply => {}
    }
    for (space, changes) in &flush.changes {
        let space = spaces.find_or_add(tx, space)?;
        write(tx, partition, space, changes)?;
    }
    let head = serde_json::to_string(&flush.head)?;
    let mut put = tx.prepare_cached("INSERT OR REPLACE INTO heads (partition, head) VALUES (?1, ?2)")?;
    put.execute(params![partition, head])?;
    Ok(Flushed::Done)
}

fn write(
    tx: &Transaction<'_>,
    partition: u32,
    space: i64,
    changes: &BTreeMap<Blob, Option<Blob>>,
) -> anyhow::Result<()> {
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO entries (partition, space, key, value) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut take =
        tx.prepare_cached("DELETE FROM entries WHERE partition = ?1 AND space = ?2 AND key = ?3")?;
    for (key, value) in changes {
        match value {
            Some(value) => put.execute(params![partition, space, key, value])?,
            None => take.execute(params![partition, space, key])?,
        };
    }
    Ok(())
}

fn reset(tx: &Transaction<'_>, catalogue: &Blob) -> anyhow::Result<()> {
    tx.execute_batch("DROP TABLE entries; DELETE FROM heads;")?;
    tx.execute_batch(SCHEMA)?;
    tx.execute("INSERT OR REPLACE INTO catalogue (id, text) VALUES (0, ?1)", [catalogue])?;
    Ok(())
}

fn head(tx: &Transaction<'_>, partition: u32) -> anyhow::Result<Option<Head>> {
    let mut statement = tx.prepare_cached("SELECT head FROM heads WHERE partition = ?1")?;
    let text: Option<String> = statement.query_row([partition], |row| row.get(0)).optional()?;
    text.map(|text| serde_json::from_str(&text).context("the store holds a head that cannot be read"))
        .transpose()
}

fn load(tx: &Transaction<'_>, spaces: &Spaces, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
    // The head first, as in a scan.
    let mut loaded = Loaded { head: head(tx, partition)?, values: BTreeMap::new() };
    let mut get =
        tx.prepare_cached("SELECT value FROM entries WHERE partition = ?1 AND space = ?2 AND key = ?3")?;
    for (space, keys) in wanted {
        let Some(id) = spaces.find(&space) else {
            continue;
        };
        let values = loaded.values.entry(space).or_default();
        for key in keys {
            let value = get.query_row(params![partition, id, key], |row| row.get(0)).optional()?;
            values.extend(value.map(|value| (key, value)));
        }
    }
    Ok(loaded)
}

fn scan(tx: &Transaction<'_>, spaces: &Spaces, partition: u32, range: Range) -> anyhow::Result<Scanned> {
    // The head first: reading it fixes the moment, and every space of that moment has its number by then.
    let head = head(tx, partition)?;
    let (entries, more) = match spaces.find(&range.space) {
        Some(space) => entries(tx, partition, space, range)?,
        None => (Vec::new(), false),
    };
    Ok(Scanned { head, entries, more })
}

fn entries(
    tx: &Transaction<'_>,
    partition: u32,
    space: i64,
    range: Range,
) -> anyhow::Result<(Vec<(Blob, Blob)>, bool)> {
    let (from, from_key) = match range.from {
        Bound::Included(key) => (" AND key >= ?3", Value::Blob(key)),
        Bound::Excluded(key) => (" AND key > ?3", Value::Blob(key)),
        Bound::Unbounded => (" AND ?3 IS NULL", Value::Null),
    };
    let (to, to_key) = match range.to {
        Bound::Included(key) => (" AND key <= ?4", Value::Blob(key)),
        Bound::Excluded(key) => (" AND key < ?4", Value::Blob(key)),
        Bound::Unbounded => (" AND ?4 IS NULL", Value::Null),
    };
    let order = if range.reverse { "DESC" } else { "ASC" };
    let mut statement = tx.prepare_cached(&format!(
        "SELECT key, value FROM entries WHERE partition = ?1 AND space = ?2{from}{to} ORDER BY key {order} LIMIT ?5"
    ))?;
    // One more, which tells that there are more.
    let limit = i64::try_from(range.limit.entries.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![partition, space, from_key, to_key, limit], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(range.limit.take(rows)?)
}
