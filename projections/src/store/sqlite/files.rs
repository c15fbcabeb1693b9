//! Whether the files that the store is open in are still where they were.
//!
//! A file that is removed or replaced while it is open takes writes as before, but who opens the store anew finds
//! another one, or none. The store is disposable: it then starts again from an empty one.

use anyhow::Context;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// SQLite makes all three for the first transaction, changes them in place, and removes the last two when the last
/// connection closes: while the one that writes is open they are there.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The files, as they were when the store was opened.
#[derive(Debug)]
pub(super) struct Files(Vec<File>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Device and inode. They are not given to another file as long as this one is open.
    id: Option<(u64, u64)>,
}

/// A file of the store is not the one that was opened.
#[derive(Debug, thiserror::Error)]
#[error("{0} was moved, removed or replaced while the store was open: it starts again from an empty one")]
pub(super) struct Displaced(String);

impl Files {
    /// Those of the database that SQLite has opened as `opened` (links resolved) and written to.
    pub(super) fn open_at(opened: &str) -> anyhow::Result<Self> {
        let file = |suffix| -> anyhow::Result<File> {
            let path = PathBuf::from(format!("{opened}{suffix}"));
            let id = id(&path).with_context(|| format!("cannot look at {}", path.display()))?;
            Ok(File { path, id })
        };
        Ok(Self(SUFFIXES.into_iter().map(file).collect::<Result<_, _>>()?))
    }

    /// None: nothing is expected of them.
    pub(super) fn any() -> Self {
        Self(Vec::new())
    }

    /// Whether they are in place.
    ///
    /// # Errors
    /// [`Displaced`]
    pub(super) fn ensure_in_place(&self) -> anyhow::Result<()> {
        for File { path, id: expected } in &self.0 {
            let found = id(path).with_context(|| format!("cannot look at {}", path.display()))?;
            if found != *expected {
                return Err(Displaced(path.display().to_string()).into());
            }
        }
        Ok(())
    }
}

fn id(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
