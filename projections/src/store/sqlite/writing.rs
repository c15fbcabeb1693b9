//! The thread that writes: flushes of several partitions share a transaction.

use super::SCHEMA;
use super::reading::{Opened, Readers, head};
use super::spaces::Spaces;
use crate::store::{Blob, Flush, Flushed, Standing};
use anyhow::anyhow;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many flushes share one transaction at most.
const GROUP_FLUSHES_MAX: usize = 64;

/// What the thread is asked to do.
pub(super) enum Job {
    Flush {
        partition: u32,
        flush: Arc<Flush>,
        done: oneshot::Sender<anyhow::Result<Flushed>>,
    },
    Reset {
        catalogue: Blob,
        done: oneshot::Sender<anyhow::Result<()>>,
    },
    /// Nothing but what is done before every job: to look whether the store's files are in place.
    Look {
        done: oneshot::Sender<anyhow::Result<()>>,
    },
}

/// The only one who writes.
pub(super) struct Writer {
    path: PathBuf,
    /// `None` where it could not be opened again.
    open: Option<(Connection, Arc<Opened>)>,
    readers: Arc<Readers>,
    /// What the store holds; an empty one that takes its place gets the same.
    catalogue: Option<Blob>,
}

impl Writer {
    /// `readers` read what `connection` writes.
    pub(super) fn new(path: PathBuf, connection: Connection, readers: Arc<Readers>) -> anyhow::Result<Self> {
        let catalogue =
            connection.query_row("SELECT text FROM catalogue", [], |row| row.get(0)).optional()?;
        let open = Some((connection, readers.opened()));
        Ok(Self { path, open, readers, catalogue })
    }

    /// Does what is asked until nobody can ask any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP_FLUSHES_MAX);
        while queue.blocking_recv_many(&mut group, GROUP_FLUSHES_MAX) > 0 {
            let reset = group.iter().rev().find_map(Job::catalogue).cloned();
            match self.in_place() {
                Ok((connection, opened)) => {
                    if perform(connection, &opened.spaces, &mut group) && reset.is_some() {
                        self.catalogue = reset;
                    }
                }
                Err(error) => answer(&Err(error), &mut group),
            }
        }
    }

    /// The connection, to files that are in place: where they are not, to an empty store.
    fn in_place(&mut self) -> anyhow::Result<(&mut Connection, Arc<Opened>)> {
        let displaced = self.open.as_ref().and_then(|(_, opened)| opened.files.ensure_in_place().err());
        let open = match (self.open.take(), displaced) {
            (Some(open), None) => open,
            (before, _) => {
                tracing::warn!(path = %self.path.display(), "the store's files are gone: folding it anew");
                let readers = Arc::clone(&self.readers);
                let mut replacing = readers.replacing();
                // The old ones first: SQLite removes a write-ahead log by its name when it closes it.
                if let Some((connection, opened)) = before {
                    drop(connection);
                    opened.close_idle();
                }
                let (connection, opened) = self.start_again()?;
                replacing.clone_from(&opened);
                (connection, opened)
            }
        };
        let (connection, opened) = self.open.insert(open);
        Ok((connection, Arc::clone(opened)))
    }

    fn start_again(&self) -> anyhow::Result<(Connection, Arc<Opened>)> {
        let (mut connection, opened) = super::open_at(&self.path)?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        empty(&tx)?;
        if let Some(catalogue) = &self.catalogue {
            put_catalogue(&tx, catalogue)?;
        }
        tx.commit()?;
        Ok((connection, Arc::new(opened)))
    }
}

impl Job {
    fn catalogue(&self) -> Option<&Blob> {
        match self {
            Self::Reset { catalogue, .. } => Some(catalogue),
            Self::Flush { .. } | Self::Look { .. } => None,
        }
    }
}

/// Does a group of jobs in one transaction, answers them once it is committed, and says whether it is.
pub(super) fn perform(connection: &mut Connection, spaces: &Spaces, group: &mut Vec<Job>) -> bool {
    let newest = spaces.newest();
    let outcome = attempt(connection, spaces, group);
    if outcome.is_err() {
        // Numbers that were given in a transaction that is gone will be given again, to other spaces perhaps.
        spaces.forget_after(newest);
    }
    answer(&outcome, group);
    outcome.is_ok()
}

fn answer(outcome: &anyhow::Result<Vec<Flushed>>, group: &mut Vec<Job>) {
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
            Job::Reset { done, .. } | Job::Look { done } => drop(done.send(failed().map_or(Ok(()), Err))),
        }
    }
}

fn attempt(connection: &mut Connection, spaces: &Spaces, group: &[Job]) -> anyhow::Result<Vec<Flushed>> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut flushed = Vec::with_capacity(group.len());
    for job in group {
        match job {
            Job::Flush { partition, flush, .. } => flushed.push(apply(&tx, spaces, *partition, flush)?),
            Job::Reset { catalogue, .. } => {
                empty(&tx)?;
                put_catalogue(&tx, catalogue)?;
            }
            Job::Look { .. } => {}
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

fn empty(tx: &Transaction<'_>) -> anyhow::Result<()> {
    tx.execute_batch("DROP TABLE entries; DELETE FROM heads;")?;
    Ok(tx.execute_batch(SCHEMA)?)
}

fn put_catalogue(tx: &Transaction<'_>, catalogue: &Blob) -> anyhow::Result<()> {
    tx.execute("INSERT OR REPLACE INTO catalogue (id, text) VALUES (0, ?1)", [catalogue])?;
    Ok(())
}
