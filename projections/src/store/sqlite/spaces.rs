//! Spaces by number: short keys, whatever the names.

use crate::store::Space;
use rusqlite::{Connection, Transaction};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// The numbers that stand for the names of spaces.
#[derive(Debug, Default)]
pub(super) struct Spaces(RwLock<HashMap<String, i64>>);

impl Spaces {
    pub(super) fn read(connection: &Connection) -> anyhow::Result<Self> {
        let mut statement = connection.prepare("SELECT name, id FROM spaces")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self(RwLock::new(rows.collect::<Result<_, _>>()?)))
    }

    pub(super) fn find(&self, space: &Space) -> Option<i64> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&space.to_string()).copied()
    }

    /// The number of a space, given now if it has none. Known to readers before the commit: what they look up
    /// under it is still empty then, as it should be.
    pub(super) fn find_or_add(&self, tx: &Transaction<'_>, space: &Space) -> anyhow::Result<i64> {
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
    pub(super) fn newest(&self) -> i64 {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.values().copied().max().unwrap_or(0)
    }

    pub(super) fn forget_after(&self, newest: i64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, id| *id <= newest);
    }
}
