//! A copy of a log, made while another process may append to it, and put in its place only when it is whole.
//!
//! Records are appended and never changed: what stands before the ends that all partitions have at one moment stays as
//! it is. So the copy is the log of that moment, though it is made record by record, a chunk at a time. One read
//! transaction around all of it would say the same, and keep SQLite from emptying the write-ahead log: that would grow by
//! whatever is recorded meanwhile, and a service that starts, or comes back from a full disk, could not go on
//! (`LogFile::settle`) before the copy is done.

use super::reader::{CHUNK_BYTES_MAX, Open};
use super::tail::Span;
use super::{EmbeddedLog, FILE, file};
use anyhow::{Context, Result, bail, ensure};
use refold_domain::log::Offset;
use rusqlite::Connection;
use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What a copy's name ends with until it is in its place.
const PARTIAL: &str = ".partial";

/// What SQLite would read along with a database of the same name, whoever left it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many records were copied.
    pub records: u64,
    /// How many there are to be copied.
    pub of: u64,
}

/// A copy that is not in its place yet; dropped, it is gone.
#[derive(Debug)]
pub struct Copy {
    partial: NamedTempFile,
    place: PathBuf,
}

impl Copy {
    /// Copies the log in `dir` as it is now into a file beside `place`, which only its owner may read. Whoever serves from
    /// the directory is not disturbed. Each chunk is told to `progress`, whose error ends it.
    ///
    /// # Errors
    /// The log is none, or lacks records; one of the two files cannot be read or written; or `progress` says so.
    pub fn back_up(dir: &Path, place: &Path, progress: impl FnMut(Progress) -> Result<()>) -> Result<Self> {
        let source = dir.join(FILE);
        Self::make(&source, file::open_to_read, place, 0o600, progress)
    }

    /// Copies a backup, which nobody writes to, into a file beside the log that is to be in `dir`. The caller holds the
    /// directory.
    ///
    /// # Errors
    /// As of [`Self::back_up`].
    pub fn restore(backup: &Path, dir: &Path, progress: impl FnMut(Progress) -> Result<()>) -> Result<Self> {
        // As SQLite makes files.
        Self::make(backup, file::open_to_look, &dir.join(FILE), 0o644, progress)
    }

    fn make(
        source: &Path,
        open: Open,
        place: &Path,
        mode: u32,
        progress: impl FnMut(Progress) -> Result<()>,
    ) -> Result<Self> {
        let from = open(source).with_context(|| format!("cannot open {}", source.display()))?;
        let partial = partial(place, mode)?;
        let told = || format!("cannot copy {} to {}", source.display(), partial.path().display());
        let to = file::open_to_fill(partial.path()).with_context(told)?;
        copy(&from, to, progress).with_context(told)?;
        Ok(Self { partial, place: place.to_owned() })
    }

    /// Where it is for now.
    pub fn path(&self) -> &Path {
        self.partial.path()
    }

    /// Opens it to look at it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(&self, partitions: u32) -> Result<EmbeddedLog> {
        EmbeddedLog::look_at(self.partial.path().to_owned(), partitions)
    }

    /// Puts it in its place, all at once and to stay: after a power loss it is there, or whatever was there before.
    ///
    /// # Errors
    /// Something is there and must not be replaced, or the disk does not do it.
    pub fn put(self, replace: bool) -> Result<()> {
        let Self { partial, place } = self;
        let put = || -> Result<()> {
            partial.as_file().sync_all().context("cannot write it to the disk")?;
            ensure_alone(&place)?;
            let persisted = if replace { partial.persist(&place) } else { partial.persist_noclobber(&place) };
            // The error has the file in it, which is to go now.
            persisted.map_err(|failed| failed.error)?;
            Ok(File::open(directory(&place))?.sync_all()?)
        };
        put().with_context(|| format!("cannot put the copy in place as {}", place.display()))
    }
}

/// Refuses a place where SQLite would take what lies beside it for a part of the copy.
///
/// # Errors
/// What lies there.
pub fn ensure_alone(place: &Path) -> Result<()> {
    for suffix in BESIDE {
        let mut beside = place.as_os_str().to_owned();
        beside.push(suffix);
        let beside = Path::new(&beside);
        if beside.symlink_metadata().is_ok() {
            bail!(
                "{} belongs to a database that is or was in this place: close that one, or move this file away, too",
                beside.display()
            );
        }
    }
    Ok(())
}

/// The directory of a file.
pub fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn partial(place: &Path, mode: u32) -> Result<NamedTempFile> {
    let mut name =
        place.file_name().with_context(|| format!("{} names no file", place.display()))?.to_owned();
    name.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&name).suffix(PARTIAL).permissions(Permissions::from_mode(mode));
    let directory = directory(place);
    builder.tempfile_in(directory).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound => "; make the directory first",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot write into {}{remedy}", directory.display()))
    })
}

fn copy(
    from: &Connection,
    mut to: Connection,
    mut progress: impl FnMut(Progress) -> Result<()>,
) -> Result<()> {
    let spans = file::spans_at_once(from)?;
    let mut done = Progress { records: 0, of: spans.iter().map(|span| span.next).sum() };
    progress(done)?;
    for (partition, Span { next: end, .. }) in (0..).zip(spans) {
        let mut next = 0;
        while next < end {
            let copied = copy_chunk(from, &mut to, partition, next, end)?;
            next += copied;
            done.records += copied;
            progress(done)?;
        }
    }
    // Whatever it could not write it says only now.
    to.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Copies the records from `next` on, which follow each other, and says how many.
fn copy_chunk(
    from: &Connection,
    to: &mut Connection,
    partition: u32,
    next: Offset,
    end: Offset,
) -> Result<u64> {
    let mut chunk = file::chunk(from, partition, next, CHUNK_BYTES_MAX)?;
    chunk.retain(|(offset, _)| *offset < end);
    let is_whole = chunk.iter().map(|(offset, _)| *offset).eq(next..next + chunk.len() as u64);
    ensure!(
        is_whole && !chunk.is_empty(),
        "records of partition {partition} are missing after offset {next}"
    );
    file::insert(to, chunk.iter().map(|(offset, record)| (partition, *offset, &record[..])))?;
    Ok(chunk.len() as u64)
}

#[cfg(test)]
mod tests;
