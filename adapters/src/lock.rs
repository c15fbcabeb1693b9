//! The data directory, held by one process at a time.

use anyhow::{Context, anyhow, bail};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Says which process holds the directory, and locks nothing: it may be removed at any time.
const HOLDER_FILE: &str = "lock";

/// A data directory that no other process can hold until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The directory itself, for a file in it could be removed, and another of its name be locked by a second process.
    /// The operating system gives the lock back when this closes, however the process ends.
    _lock: File,
}

/// A data directory that nobody can take for himself until this is dropped; others may look at it, too.
#[derive(Debug)]
pub struct Looking {
    _lock: File,
}

impl DataDir {
    /// Takes the directory for this process, and makes it where it is missing.
    ///
    /// # Errors
    /// Another process holds it (named by its id), or it cannot be made or written.
    pub fn lock(dir: &Path) -> anyhow::Result<Self> {
        create(dir)?;
        let lock = open(dir)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if lock.try_lock_shared().is_ok() => {
                bail!("somebody looks at the data directory {} (refold check): try again", dir.display())
            }
            Err(error) => return Err(taken(dir, error)),
        }
        let holder = dir.join(HOLDER_FILE);
        let noted = fs::write(&holder, format!("{}\n", std::process::id()));
        noted.with_context(|| format!("cannot write {}", holder.display()))?;
        Ok(Self { path: dir.to_owned(), _lock: lock })
    }

    /// Keeps others from taking the directory, which must be there, and changes nothing in it.
    ///
    /// # Errors
    /// Another process holds it (named by its id), or it cannot be opened.
    pub fn look(dir: &Path) -> anyhow::Result<Looking> {
        let lock = open(dir)?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(Looking { _lock: lock }),
            Err(error) => Err(taken(dir, error)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Refuses what can never be a data directory.
///
/// # Errors
/// What stands in its place, and what to do.
pub fn ensure_no_file(dir: &Path) -> anyhow::Result<()> {
    let is_other = dir.symlink_metadata().is_ok() && !dir.is_dir();
    anyhow::ensure!(
        !is_other,
        "{} is no directory: name another one in data_dir, or move away what stands there",
        dir.display()
    );
    Ok(())
}

/// Makes a directory that is still there after a power loss.
pub(crate) fn create(dir: &Path) -> anyhow::Result<()> {
    ensure_no_file(dir)?;
    let make = || -> io::Result<()> {
        let dir = std::path::absolute(dir)?;
        let missing = dir.ancestors().take_while(|ancestor| !ancestor.exists()).count();
        fs::create_dir_all(&dir)?;
        dir.ancestors().skip(1).take(missing).try_for_each(|parent| File::open(parent)?.sync_all())
    };
    make().with_context(|| format!("cannot make the data directory {}", dir.display()))
}

fn open(dir: &Path) -> anyhow::Result<File> {
    File::open(dir).with_context(|| format!("cannot open the data directory {}", dir.display()))
}

fn taken(dir: &Path, error: TryLockError) -> anyhow::Error {
    match error {
        TryLockError::WouldBlock => anyhow!(in_use(dir)),
        TryLockError::Error(error) => {
            anyhow!(error).context(format!("cannot lock the data directory {}", dir.display()))
        }
    }
}

fn in_use(dir: &Path) -> String {
    let pid = fs::read_to_string(dir.join(HOLDER_FILE)).unwrap_or_default();
    let holder = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    format!("the data directory {} is in use by {holder}: stop it, or choose another data_dir", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::lock(dir.path()).unwrap();
        let error = DataDir::lock(held.path()).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        assert!(error.contains(&format!("process {}:", std::process::id())), "{error}");
    }

    #[test]
    fn removing_the_file_that_names_the_holder_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let _held = DataDir::lock(dir.path()).unwrap();
        fs::remove_file(dir.path().join(HOLDER_FILE)).unwrap();
        let error = DataDir::lock(dir.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another process"), "{error}");
    }

    #[test]
    fn whoever_looks_keeps_others_out_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let looking = [DataDir::look(dir.path()).unwrap(), DataDir::look(dir.path()).unwrap()];
        let error = DataDir::lock(dir.path()).unwrap_err().to_string();
        assert!(error.contains("try again"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(looking);
        let _held = DataDir::lock(dir.path()).unwrap();
        DataDir::look(dir.path()).unwrap_err();
    }

    #[test]
    fn a_directory_that_was_let_go_can_be_taken() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::lock(dir.path()).unwrap());
        DataDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn makes_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        DataDir::lock(&deep).unwrap();
        assert!(deep.join(HOLDER_FILE).is_file());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::lock(&file).unwrap_err();
        assert!(format!("{error:#}").contains(&file.display().to_string()), "{error:#}");
    }
}
