//! The thread that writes: flushes of several partitions share a transaction.

use super::SCHEMA;
use super::reading::head;
use super::spaces::Spaces;
use crate::store::{Blob, Flush, Flushed, Standing};
use anyhow::anyhow;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many flushes share one transaction at most.
const GROUP_FLUSHES_MAX: usize = 64;

/// What the thread is asked to do.
pub(super) enum Job {
    Flush { partition: u32, flush: Arc<Flush>, done: oneshot::Sender<anyhow::Result<Flushed>> },
    Reset { catalogue: Blob, done: oneshot::Sender<anyhow::Result<()>> },
}

/// Does what is asked until nobody can ask any more.
pub(super) fn run(mut connection: Connection, spaces: &Spaces, mut queue: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP_FLUSHES_MAX);
    while queue.blocking_recv_many(&mut group, GROUP_FLUSHES_MAX) > 0 {
        perform(&mut connection, spaces, &mut group);
    }
}

/// Does a group of jobs in one transaction, and answers them once it is committed.
pub(super) fn perform(connection: &mut Connection, spaces: &Spaces, group: &mut Vec<Job>) {
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
