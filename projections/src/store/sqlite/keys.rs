//! Reads of single keys, many in one transaction.
//!
//! Deciding a command needs one look at the store, and so does folding a batch. What waits when a thread is free is read
//! together: a transaction and waking a thread cost more than reading the few keys of a command.

use super::reading::{Heads, Readers, load};
use super::spaces::Spaces;
use crate::store::{Loaded, Wanted};
use anyhow::{Context, anyhow};
use rusqlite::Transaction;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// How many threads read. One that reads the many keys of a batch leaves what comes meanwhile to the others.
const THREADS: usize = 4;
/// How many reads may wait; more wait for a place in the queue.
const QUEUE_READS_MAX: usize = 1_024;
/// How many reads are made in one transaction.
const GROUP_READS_MAX: usize = 64;

/// The threads that read keys.
#[derive(Debug)]
pub(super) struct Keys {
    queue: Option<mpsc::Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

/// Keys to read, and who asked.
struct Read {
    partition: u32,
    wanted: Wanted,
    done: oneshot::Sender<anyhow::Result<Loaded>>,
}

impl Keys {
    pub(super) fn start(readers: &Arc<Readers>) -> anyhow::Result<Self> {
        let (queue, reads) = mpsc::channel(QUEUE_READS_MAX);
        let reads = Arc::new(Mutex::new(reads));
        let start = |_| {
            let (readers, reads) = (Arc::clone(readers), Arc::clone(&reads));
            let thread = std::thread::Builder::new().name("store-keys".into());
            thread.spawn(move || run(&readers, &reads))
        };
        let threads = (0..THREADS).map(start).collect::<Result<_, _>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    pub(super) async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        let (done, loaded) = oneshot::channel();
        let queue = self.queue.as_ref().context("the store is closed")?;
        let sent = queue.send(Read { partition, wanted, done }).await;
        sent.map_err(|_| anyhow!("the threads that read the store have ended"))?;
        loaded.await.context("reading the store was cut off")?
    }

    /// Waits for the reads that are under way and ends the threads.
    pub(super) fn stop(&mut self) {
        self.queue = None;
        // A panic in a thread was reported by it already; here is nobody left to tell.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Reads what is asked for until nobody can ask any more.
fn run(readers: &Readers, reads: &Mutex<mpsc::Receiver<Read>>) {
    let mut group = Vec::with_capacity(GROUP_READS_MAX);
    while next(reads, &mut group) {
        // Whoever asked for little does not wait for the many keys of a batch.
        group.sort_by_key(|read| read.wanted.values().map(Vec::len).sum::<usize>());
        let mut left = group.drain(..);
        let together = readers.at_one_moment(|tx, spaces| {
            let mut heads = Heads::default();
            for read in left.by_ref() {
                read.answer(tx, spaces, &mut heads);
            }
            Ok(())
        });
        // Only where no transaction could be begun somebody is left: each is told why.
        if let Err(error) = together {
            let mut error = Some(error);
            for Read { partition, wanted, done } in left {
                let alone = || {
                    readers.at_one_moment(|tx, spaces| {
                        load(tx, spaces, &mut Heads::default(), partition, wanted)
                    })
                };
                // Whoever does not listen any more does not need the answer.
                drop(done.send(error.take().map_or_else(alone, Err)));
            }
        }
    }
}

/// Takes what waits, if anything ever comes. The lock is held while waiting: the other threads would wait for the same.
fn next(reads: &Mutex<mpsc::Receiver<Read>>, group: &mut Vec<Read>) -> bool {
    let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
    reads.blocking_recv_many(group, GROUP_READS_MAX) > 0
}

impl Read {
    fn answer(self, tx: &Transaction<'_>, spaces: &Spaces, heads: &mut Heads) {
        if self.done.is_closed() {
            return;
        }
        let loaded = load(tx, spaces, heads, self.partition, self.wanted);
        // Whoever does not listen any more does not need the answer.
        drop(self.done.send(loaded));
    }
}
