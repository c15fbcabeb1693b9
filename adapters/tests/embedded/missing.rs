//! The embedded log whose files are taken away while it is open.

use crate::records::{append_all, contents};
use refold_adapters::embedded::{EmbeddedLog, FILE};
use refold_domain::log::{AppendError, End, EventLog};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

const WAL: &str = "log.sqlite-wal";

/// A log with one record, which stands in the write-ahead log.
async fn log_in(dir: &TempDir) -> EmbeddedLog {
    let log = EmbeddedLog::open(dir.path(), 2).unwrap();
    append_all(&log, 0, &["kept"]).await;
    log
}

async fn is_down(log: &EmbeddedLog, why: &str) {
    for _ in 0..2 {
        let outcome = log.append(0, "lost".into()).await;
        assert!(matches!(&outcome, Err(AppendError::Refused(said)) if said.contains(why)), "{outcome:?}");
    }
    let bounds = log.bounds(1).await;
    assert!(bounds.as_ref().is_err_and(|error| error.to_string().contains(why)), "{bounds:?}");
}

async fn goes_on(log: &EmbeddedLog) {
    append_all(log, 0, &["goes on"]).await;
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(1));
    assert_eq!(contents(log, 0, 2).await, ["kept", "goes on"]);
}

/// Takes a file away and returns where it is now.
fn hide(path: &Path) -> PathBuf {
    let hidden = path.with_extension("hidden");
    fs::rename(path, &hidden).unwrap();
    hidden
}

#[tokio::test]
async fn nothing_is_confirmed_into_a_file_that_was_removed() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir).await;
    fs::remove_file(dir.path().join(FILE)).unwrap();
    is_down(&log, "log.sqlite was moved or removed").await;
    drop(log);
    assert!(!dir.path().join(FILE).exists(), "an empty one would hide that history is gone");
}

#[tokio::test]
async fn nothing_is_confirmed_into_a_file_that_was_replaced() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir).await;
    let hidden = hide(&dir.path().join(FILE));
    fs::copy(hidden, dir.path().join(FILE)).unwrap();
    is_down(&log, "log.sqlite was replaced").await;
}

#[tokio::test]
async fn it_goes_on_when_the_very_same_file_comes_back() {
    for name in [FILE, WAL] {
        let dir = tempdir().unwrap();
        let log = log_in(&dir).await;
        let hidden = hide(&dir.path().join(name));
        is_down(&log, &format!("{name} was moved or removed")).await;
        fs::rename(hidden, dir.path().join(name)).unwrap();
        goes_on(&log).await;
        drop(log);
        goes_on_from(&dir).await;
    }
}

async fn goes_on_from(dir: &TempDir) {
    let log = EmbeddedLog::open(dir.path(), 2).unwrap();
    assert_eq!(contents(&log, 0, 2).await, ["kept", "goes on"]);
}

/// What was acknowledged before is not lost either, if the log is closed in order: SQLite writes it back.
#[tokio::test]
async fn nothing_is_confirmed_into_a_write_ahead_log_that_was_removed() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir).await;
    fs::remove_file(dir.path().join(WAL)).unwrap();
    is_down(&log, &format!("{WAL} was moved or removed")).await;
    drop(log);
    goes_on(&EmbeddedLog::open(dir.path(), 2).unwrap()).await;
}

#[tokio::test]
async fn a_checkpoint_is_no_loss() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir).await;
    let other = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(other);
    goes_on(&log).await;
}

/// The log is in the directory, and the directory elsewhere.
#[tokio::test]
async fn a_link_to_the_directory_is_followed() {
    let dir = tempdir().unwrap();
    let link = dir.path().join("link");
    fs::create_dir(dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    let log = EmbeddedLog::open(&link, 2).unwrap();
    append_all(&log, 0, &["kept"]).await;
    fs::remove_file(&link).unwrap();
    is_down(&log, "was moved or removed").await;
    std::os::unix::fs::symlink("real", &link).unwrap();
    goes_on(&log).await;
}
