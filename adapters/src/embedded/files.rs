//! Whether the files that the log is open in are still where the next start will look for them.
//!
//! A file that is removed or replaced while it is open takes writes as before, and loses them all when it is closed.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What to do where the database is gone.
const DATABASE_REMEDY: &str = "put the very same file back, or restore the log from a backup and start again; what was \
                               removed is still among the open files of the process";

/// What to do where the write-ahead log is gone.
const AHEAD_REMEDY: &str = "put the very same file back, or stop the service in order (SIGTERM), which writes what it \
                            held into the database; if it is killed, acknowledged commands are lost";

/// The database and its write-ahead log, as they were when the log was opened.
#[derive(Debug, Clone)]
pub(super) struct Files {
    database: File,
    /// SQLite makes it for the first transaction of the first connection, writes and empties it in place, and removes
    /// it when the last connection closes. So while the connection that writes is open it must be there, and be the
    /// same, whatever checkpoints there were; otherwise it may be absent.
    ahead: Option<File>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    /// Device and inode. They are not given to another file as long as this one is open.
    id: (u64, u64),
    remedy: &'static str,
}

impl Files {
    /// Those of the database at `path`, which SQLite has opened as `opened` (links resolved) and read from.
    pub(super) fn open_at(path: &Path, opened: &str) -> anyhow::Result<Self> {
        let mut ahead = OsString::from(opened);
        ahead.push("-wal");
        let database = File::find(path, DATABASE_REMEDY)?;
        let ahead = File::find(ahead.as_ref(), AHEAD_REMEDY)?;
        Ok(Self { database, ahead: Some(ahead) })
    }

    /// The database alone.
    pub(super) fn database_at(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { database: File::find(path, DATABASE_REMEDY)?, ahead: None })
    }

    /// Of the write-ahead log nothing is expected any more: the connection that writes is closed.
    pub(super) fn close(&mut self) {
        self.ahead = None;
    }

    /// Whether they are in place.
    ///
    /// # Errors
    /// Which one is not, and what to do.
    pub(super) fn ensure_in_place(&self) -> anyhow::Result<()> {
        self.database.ensure_in_place()?;
        self.ahead.as_ref().map_or(Ok(()), File::ensure_in_place)
    }
}

impl File {
    fn find(path: &Path, remedy: &'static str) -> anyhow::Result<Self> {
        let id = id(path).with_context(|| format!("cannot look at {}", path.display()))?;
        let id = id.with_context(|| format!("{} is not there", path.display()))?;
        Ok(Self { path: path.to_owned(), id, remedy })
    }

    fn ensure_in_place(&self) -> anyhow::Result<()> {
        let path = self.path.display();
        let found = id(&self.path).with_context(|| format!("cannot look at {path}"))?;
        let fault = match found {
            Some(found) if found == self.id => return Ok(()),
            Some(_) => "was replaced",
            None => "was moved or removed",
        };
        bail!("{path} {fault} while the log was open: {}", self.remedy)
    }
}

fn id(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
