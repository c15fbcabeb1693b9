//! The thread that writes the log: all that waits goes into one transaction, then each is confirmed.

use super::file::{self, LogFile};
use super::files::Files;
use super::reader::Readers;
use super::tail::Head;
use anyhow::ensure;
use bytes::Bytes;
use refold_domain::log::AppendError;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{mpsc, oneshot, watch};

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
    /// `None` where it could not be opened again.
    file: Option<LogFile>,
    /// Whether all that the file holds is known to be on the disk: not at the start, for nobody knows how the last
    /// process ended, and not after an error.
    is_sound: bool,
    readers: Arc<Readers>,
    files: watch::Sender<Files>,
    heads: Vec<Head>,
    pages_max: Arc<AtomicU32>,
    /// Why the last group was not confirmed, if it was not.
    failure: Option<String>,
}

/// Why a group was not confirmed.
enum Failure {
    /// Nothing of it was stored, nor will be.
    Refused(String),
    /// It may be stored.
    Broken(anyhow::Error),
}

impl Writer {
    /// `heads`: one a partition, standing where `file` stands. `pages_max` may change at any time.
    pub(super) fn new(
        path: PathBuf,
        file: LogFile,
        readers: Arc<Readers>,
        heads: Vec<Head>,
        pages_max: Arc<AtomicU32>,
    ) -> Self {
        let files = watch::Sender::new(file.files().clone());
        Self { path, file: Some(file), is_sound: false, readers, files, heads, pages_max, failure: None }
    }

    /// The files that it writes to.
    pub(super) fn files(&self) -> watch::Receiver<Files> {
        self.files.subscribe()
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
            Ok(()) => {
                self.publish(&group);
                self.report(None);
            }
            Err(Failure::Refused(reason)) => self.report(Some(reason)),
            Err(Failure::Broken(error)) => {
                self.report(Some(&format!("writing failed: {error:#}")));
                self.is_sound = false;
            }
        }
        for job in group {
            // Whoever no longer waits has given the outcome up.
            let _ = job.done.send(stored.as_ref().map_err(Failure::outcome).copied());
        }
    }

    fn store(&mut self, group: &[Job]) -> Result<(), Failure> {
        // What was written to a file that is not in place would be confirmed, and gone at the next start. The
        // connection stays open: it has the only way to a file that was removed, and goes on if it comes back.
        let in_place = self.files.borrow().ensure_in_place();
        in_place.map_err(|error| Failure::Refused(format!("{error:#}")))?;
        self.settle().map_err(|error| self.failure(error))?;
        let mut next: Vec<_> = self.heads.iter().map(Head::next).collect();
        let rows = group.iter().map(|job| {
            let next = &mut next[job.partition as usize];
            let offset = *next;
            *next += 1;
            (job.partition, offset, &job.record[..])
        });
        let file = self.file.as_mut().expect("settled above");
        let limited = file.limit_pages(self.pages_max.load(Ordering::Relaxed));
        let stored = limited.and_then(|()| file.append(rows));
        stored.map_err(|error| self.failure(error.into()))
    }

    /// Without room SQLite rolls back; of any other error nobody knows how far it came.
    fn failure(&self, error: anyhow::Error) -> Failure {
        match error.downcast_ref() {
            Some(error) if file::is_full(error) => {
                Failure::Refused(format!("the disk is full, no room in {}", self.path.display()))
            }
            _ => Failure::Broken(error),
        }
    }

    /// Readers first, so that whoever got a confirm finds the record.
    fn publish(&self, group: &[Job]) {
        for job in group {
            self.heads[job.partition as usize].push(job.record.clone());
        }
        self.heads.iter().for_each(Head::announce);
    }

    /// Makes sure that all that is read from the file is on the disk, and takes up what the file then holds.
    ///
    /// First with the connection that wrote, while it is open: it alone knows which bytes of the write-ahead log were
    /// never committed. Then with a new one, after all others: it starts from nothing but the files.
    fn settle(&mut self) -> anyhow::Result<()> {
        if self.is_sound {
            return Ok(());
        }
        self.file.as_ref().map_or(Ok(()), LogFile::settle)?;
        self.file = None;
        self.files.send_modify(Files::close);
        self.readers.close_idle();
        let file = LogFile::reopen(&self.path)?;
        // It was in place before, so no other was opened.
        self.files.borrow().ensure_in_place()?;
        file.settle()?;
        let spans = file.spans(u32::try_from(self.heads.len())?)?;
        let is_whole = self.heads.iter().zip(&spans).all(|(head, span)| span.next >= head.next());
        ensure!(is_whole, "{} has lost confirmed records", self.path.display());
        self.heads.iter().zip(spans).for_each(|(head, span)| head.reset(span));
        self.files.send_replace(file.files().clone());
        self.file = Some(file);
        self.is_sound = true;
        Ok(())
    }

    fn report(&mut self, failure: Option<&String>) {
        if failure != self.failure.as_ref() {
            let path = self.path.display();
            match failure {
                Some(reason) => tracing::error!(%path, reason, "appends are refused until this is mended"),
                None => tracing::info!(%path, "appends are no longer refused"),
            }
            self.failure = failure.cloned();
        }
    }
}

impl Failure {
    fn outcome(&self) -> AppendError {
        match self {
            Self::Refused(reason) => AppendError::Refused(reason.clone()),
            Self::Broken(error) => AppendError::Unknown(format!("{error:#}")),
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
