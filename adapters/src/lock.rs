//! The data directory, held by one process at a time.

use anyhow::{Context, bail};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// A data directory that no other process can hold until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The operating system gives the lock back when this closes, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Takes the directory for this process, and makes it where it is missing.
    ///
    /// # Errors
    /// Another process holds it (named by its id), or it cannot be made or written.
    pub fn lock(dir: &Path) -> anyhow::Result<Self> {
        create(dir)?;
        let path = dir.join(LOCK_FILE);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(in_use(dir, &path)),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        write_pid(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: dir.to_owned(), _lock: file })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory that is still there after a power loss.
pub(crate) fn create(dir: &Path) -> anyhow::Result<()> {
    let make = || -> io::Result<()> {
        let dir = std::path::absolute(dir)?;
        let missing = dir.ancestors().take_while(|ancestor| !ancestor.exists()).count();
        fs::create_dir_all(&dir)?;
        dir.ancestors().skip(1).take(missing).try_for_each(|parent| File::open(parent)?.sync_all())
    };
    make().with_context(|| format!("cannot make the data directory {}", dir.display()))
}

fn in_use(dir: &Path, lock: &Path) -> String {
    let pid = fs::read_to_string(lock).unwrap_or_default();
    let holder = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    format!("the data directory {} is in use by {holder}: stop it, or choose another data_dir", dir.display())
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
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
        assert!(deep.join(LOCK_FILE).is_file());
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
