//! Reads: each in one transaction, so that the head and the entries are of one moment.

use super::spaces::Spaces;
use super::{BUSY_TIMEOUT, STATEMENTS_KEPT};
use crate::state::Head;
use crate::store::{Blob, Loaded, Range, Scanned, Wanted};
use anyhow::Context;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// How many reads of single keys are made at the same time; more wait. They are what folding and deciding wait for.
const KEY_READS_MAX: usize = 8;
/// How many reads of ranges are made at the same time; more wait, but never before a read of keys.
const RANGE_READS_MAX: usize = 8;
/// Connections to read with; as many as there are reads at once, kept for the next ones.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    keys: Arc<Semaphore>,
    ranges: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    spaces: Arc<Spaces>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, spaces: Arc<Spaces>) -> Self {
        let (keys, ranges) = (Semaphore::new(KEY_READS_MAX), Semaphore::new(RANGE_READS_MAX));
        Self { path, keys: Arc::new(keys), ranges: Arc::new(ranges), idle: Mutex::default(), spaces }
    }

    pub(super) async fn load(self: &Arc<Self>, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        self.read(&self.keys, move |tx, spaces| load(tx, spaces, partition, wanted)).await
    }

    pub(super) async fn scan(self: &Arc<Self>, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.read(&self.ranges, move |tx, spaces| scan(tx, spaces, partition, range)).await
    }

    pub(super) async fn catalogue(self: &Arc<Self>) -> anyhow::Result<Option<Blob>> {
        self.read(&self.keys, |tx, _| {
            let text = tx.query_row("SELECT text FROM catalogue", [], |row| row.get(0));
            Ok(text.optional()?)
        })
        .await
    }

    /// Closes the connections that nobody reads with.
    pub(super) fn close_idle(&self) {
        self.idle().clear();
    }

    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        permits: &Arc<Semaphore>,
        read: impl FnOnce(&Transaction<'_>, &Spaces) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let readers = Arc::clone(self);
        let permit = Arc::clone(permits).acquire_owned().await.context("the store is closed")?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            readers.at_one_moment(read)
        });
        task.await.context("reading the store was cut off")?
    }

    fn at_one_moment<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>, &Spaces) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        // One transaction sees one moment: the head and the entries belong together.
        let tx = connection.transaction()?;
        let made = read(&tx, &self.spaces)?;
        tx.commit()?;
        self.idle().push(connection);
        Ok(made)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> anyhow::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(connection)
    }
}

pub(super) fn head(tx: &Transaction<'_>, partition: u32) -> anyhow::Result<Option<Head>> {
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
