//! Reads: each in one transaction, so that the head and the entries are of one moment.

use super::files::Files;
use super::spaces::Spaces;
use super::{BUSY_TIMEOUT, STATEMENTS_KEPT, WHOLE_CHECK_BYTES_MAX};
use crate::state::Head;
use crate::store::damage::Damaged;
use crate::store::{Blob, Loaded, Range, Scanned, Wanted};
use anyhow::{Context, anyhow};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Semaphore;

/// How many reads of ranges are made at the same time; more wait. [Reads of keys](super::keys) do not wait for them.
const RANGE_READS_MAX: usize = 8;
/// What would end a path within the URI that SQLite takes instead of one.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// What reads are made from.
#[derive(Debug)]
pub(super) struct Readers {
    ranges: Arc<Semaphore>,
    /// Another one where the store's files were displaced. It is held while it is read from, so that no connection to the
    /// old ones is left when they are opened anew: within a process SQLite gives a new connection what an old one of the
    /// same file still has open, a removed index for example.
    opened: RwLock<Arc<Opened>>,
}

/// The files of a store, and what holds for them alone: as many connections to read with as there were reads at once,
/// kept for the next ones, and the numbers of spaces.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) files: Files,
    pub(super) spaces: Spaces,
    pub(super) connect: Connect,
    pub(super) idle: Mutex<Vec<Connection>>,
}

/// How a connection that only reads is opened.
pub(super) type Connect = fn(&Path) -> rusqlite::Result<Connection>;

impl Opened {
    /// Closes the connections that nobody reads with.
    pub(super) fn close_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> anyhow::Result<Connection> {
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| (self.connect)(&self.path), Ok);
        // Only now: a connection that was just made has opened what is in place.
        self.files.ensure_in_place()?;
        connection.with_context(|| format!("cannot open {}", self.path.display()))
    }
}

impl Readers {
    pub(super) fn new(opened: Arc<Opened>) -> Self {
        Self { ranges: Arc::new(Semaphore::new(RANGE_READS_MAX)), opened: RwLock::new(opened) }
    }

    /// What the next reads are made from.
    pub(super) fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.reading())
    }

    /// Waits for the reads that are under way, and keeps others waiting until it is said what they are made from.
    pub(super) fn replacing(&self) -> RwLockWriteGuard<'_, Arc<Opened>> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading(&self) -> RwLockReadGuard<'_, Arc<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn scan(self: &Arc<Self>, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.read(move |tx, spaces| scan(tx, spaces, partition, range)).await
    }

    /// All partitions on one thread, of one moment: handing each to a thread would cost more than reading it.
    pub(super) async fn scan_all(
        self: &Arc<Self>,
        partitions: u32,
        range: Range,
    ) -> anyhow::Result<Vec<Scanned>> {
        self.read(move |tx, spaces| {
            (0..partitions).map(|partition| scan(tx, spaces, partition, range.clone())).collect()
        })
        .await
    }

    pub(super) async fn catalogue(self: &Arc<Self>) -> anyhow::Result<Option<Blob>> {
        self.read(|tx, _| {
            let text = tx.query_row("SELECT text FROM catalogue", [], |row| row.get(0));
            Ok(text.optional()?)
        })
        .await
    }

    pub(super) async fn check(self: &Arc<Self>) -> anyhow::Result<()> {
        let bytes = std::fs::metadata(&self.opened().path)?.len();
        if bytes > WHOLE_CHECK_BYTES_MAX {
            return Ok(());
        }
        self.read(|tx, _| {
            let state: String = tx.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if state == "ok" { Ok(()) } else { Err(anyhow!(state).context(Damaged("its file is broken"))) }
        })
        .await
    }

    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Transaction<'_>, &Spaces) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let readers = Arc::clone(self);
        let permit = Arc::clone(&self.ranges).acquire_owned().await.context("the store is closed")?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            readers.at_one_moment(read)
        });
        task.await.context("reading the store was cut off")?
    }

    /// Reads in one transaction.
    pub(super) fn at_one_moment<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>, &Spaces) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let opened = self.reading();
        let name = || format!("cannot read {}", opened.path.display());
        let mut connection = opened.connection()?;
        // One transaction sees one moment: the head and the entries belong together.
        let tx = connection.transaction().with_context(name)?;
        let made = read(&tx, &opened.spaces).with_context(name)?;
        tx.commit().with_context(name)?;
        opened.idle().push(connection);
        Ok(made)
    }
}

/// A connection that only reads.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// One that makes no file, for as long as nobody else has the store open.
///
/// To read a write-ahead log SQLite needs an index of it, which it makes where it is missing. Without a write-ahead log
/// it is told that nothing changes, and then needs nothing but the database.
pub(super) fn connect_to_look(path: &Path) -> rusqlite::Result<Connection> {
    let mut ahead = path.as_os_str().to_owned();
    ahead.push("-wal");
    if Path::new(&ahead).exists() {
        return connect(path);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let name = percent_encode(path.as_os_str().as_bytes(), RESERVED);
    Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)
}

pub(super) fn head(tx: &Transaction<'_>, partition: u32) -> anyhow::Result<Option<Head>> {
    let mut statement = tx.prepare_cached("SELECT head FROM heads WHERE partition = ?1")?;
    let text: Option<String> = statement.query_row([partition], |row| row.get(0)).optional()?;
    text.map(|text| serde_json::from_str(&text).context(Damaged("a head cannot be read"))).transpose()
}

/// The heads that a transaction has read.
#[derive(Default)]
pub(super) struct Heads(HashMap<u32, Option<Head>>);

impl Heads {
    fn head(&mut self, tx: &Transaction<'_>, partition: u32) -> anyhow::Result<Option<Head>> {
        Ok(match self.0.entry(partition) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => unknown.insert(head(tx, partition)?).clone(),
        })
    }
}

pub(super) fn load(
    tx: &Transaction<'_>,
    spaces: &Spaces,
    heads: &mut Heads,
    partition: u32,
    wanted: Wanted,
) -> anyhow::Result<Loaded> {
    // The head first, as in a scan.
    let mut loaded = Loaded { head: heads.head(tx, partition)?, values: BTreeMap::new() };
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

pub(super) fn entries(
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
