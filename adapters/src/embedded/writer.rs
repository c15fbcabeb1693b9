//! The thread that writes the log: all that waits goes into one transaction, then each is confirmed.

use super::file::{self, LogFile};
use super::tail::Head;
use anyhow::ensure;
use bytes::Bytes;
use refold_domain::log::AppendError;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{mpsc, oneshot};

/// The most records of one transaction.
const GROUP_RECORDS_MAX: usize = 1024;

/// The size in bytes at which a transaction takes no further record.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A record on its way to the file.
#[derive(Debug)]
pub(super) struct Job {
    /// One that the log has.
    pub(super) partition: u32,
    pub(super) record: Bytes,
    pub(super) done: oneshot::Sender<Result<(), AppendError>>,
}

/// The only one who writes.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    file: Option<LogFile>,
    heads: Vec<Head>,
    pages_max: Arc<AtomicU32>,
    is_full: bool,
}

/// Why a group was not confirmed.
enum Failure {
    /// Nothing of it was stored, nor will be.
    Full,
    /// It may be stored.
    Broken(anyhow::Error),
}

impl Writer {
    /// `heads`: one a partition, standing where `file` stands. `pages_max` may change at any time.
    pub(super) fn new(path: PathBuf, file: LogFile, heads: Vec<Head>, pages_max: Arc<AtomicU32>) -> Self {
        Self { path, file: Some(file), heads, pages_max, is_full: false }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            self.write(take_group(first, &mut queue));
        }
    }

    fn write(&mut self, group: Vec<Job>) {
        let stored = self.store(&group);
        match &stored {
            Ok(()) => self.publish(&group),
            Err(Failure::Full) => {}
            Err(Failure::Broken(error)) => self.recover(error),
        }
        self.report_full(matches!(stored, Err(Failure::Full)));
        for job in group {
            // Whoever no longer waits has given the outcome up.
            let _ = job.done.send(stored.as_ref().map_err(|failure| self.outcome(failure)).copied());
        }
    }

    fn store(&mut self, group: &[Job]) -> Result<(), Failure> {
        self.reopen().map_err(Failure::Broken)?;
        let mut next: Vec<_> = self.heads.iter().map(Head::next).collect();
        let rows = group.iter().map(|job| {
            let next = &mut next[job.partition as usize];
            let offset = *next;
            *next += 1;
            (job.partition, offset, &job.record[..])
        });
        let file = self.file.as_mut().expect("opened above");
        file.limit_pages(self.pages_max.load(Ordering::Relaxed)).map_err(failure)?;
        file.append(rows).map_err(failure)
    }

    /// Readers first, so that whoever got a confirm finds the record.
    fn publish(&self, group: &[Job]) {
        for job in group {
            self.heads[job.partition as usize].push(job.record.clone());
        }
        self.heads.iter().for_each(Head::announce);
    }

    /// Closing the connection rolls back whatever is open; the file then tells what it holds.
    fn recover(&mut self, error: &anyhow::Error) {
        tracing::error!(path = %self.path.display(), error = format!("{error:#}"), "writing the log failed");
        self.file = None;
        if let Err(error) = self.reopen() {
            tracing::error!(error = format!("{error:#}"), "the log stays closed until the next append");
        }
    }

    fn reopen(&mut self) -> anyhow::Result<()> {
        if self.file.is_none() {
            let file = LogFile::reopen(&self.path)?;
            let partitions = u32::try_from(self.heads.len())?;
            let spans = file.spans(partitions)?;
            let is_whole = self.heads.iter().zip(&spans).all(|(head, span)| span.next >= head.next());
            ensure!(is_whole, "{} has lost confirmed records", self.path.display());
            self.heads.iter().zip(spans).for_each(|(head, span)| head.reset(span));
            self.file = Some(file);
        }
        Ok(())
    }

    fn report_full(&mut self, is_full: bool) {
        if is_full != self.is_full {
            let path = self.path.display();
            match is_full {
                true => tracing::error!(%path, "the disk is full: appends are refused until there is room"),
                false => tracing::info!(%path, "there is room on the disk again"),
            }
        }
        self.is_full = is_full;
    }

    fn outcome(&self, failure: &Failure) -> AppendError {
        match failure {
            Failure::Full => {
                AppendError::Refused(format!("the disk is full, no room in {}", self.path.display()))
            }
            Failure::Broken(error) => AppendError::Unknown(format!("{error:#}")),
        }
    }
}

fn take_group(first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.record.len();
    let mut group = vec![first];
    while group.len() < GROUP_RECORDS_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(job) = queue.try_recv() else { break };
        bytes += job.record.len();
        group.push(job);
    }
    group
}

fn failure(error: rusqlite::Error) -> Failure {
    if file::is_full(&error) { Failure::Full } else { Failure::Broken(error.into()) }
}
