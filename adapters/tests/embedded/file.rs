//! What only the embedded log can show: its file, a full disk, a broken write.

use crate::records::{append_all, contents};
use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use refold_adapters::embedded::{EmbeddedLog, FILE, RECORD_BYTES_MAX};
use refold_domain::log::{AppendError, End, EventLog};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

const UNLIMITED_PAGES: u32 = u32::MAX - 1;

fn log_in(dir: &TempDir) -> EmbeddedLog {
    EmbeddedLog::open(dir.path(), 2).unwrap()
}

fn sqlite(dir: &TempDir) -> Connection {
    Connection::open(dir.path().join(FILE)).unwrap()
}

fn refusal(dir: &Path) -> String {
    format!("{:#}", EmbeddedLog::open(dir, 2).unwrap_err())
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_goes_on() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    append_all(&log, 0, &["a"]).await;
    log.limit_pages(40);
    let record = Bytes::from(vec![7; 3_000]);
    let mut confirmed = 1;
    let refused = loop {
        match log.append(0, record.clone()).await {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, AppendError::Refused(why) if why.contains("the disk is full")), "{refused:?}");
    assert!(confirmed > 1);
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(confirmed - 1));
    assert_eq!(contents(&log, 0, usize::try_from(confirmed).unwrap()).await[0], "a");

    log.limit_pages(UNLIMITED_PAGES);
    append_all(&log, 0, &["goes on"]).await;
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(confirmed));
    drop(log);
    let held = contents(&log_in(&dir), 0, usize::try_from(confirmed).unwrap() + 1).await;
    assert_eq!((&held[0][..], &held.last().unwrap()[..]), (&b"a"[..], &b"goes on"[..]));
}

#[tokio::test]
async fn of_a_group_without_room_only_what_was_confirmed_is_stored() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    log.limit_pages(40);
    let record = |index: u32| Bytes::from(vec![u8::try_from(index % 251).unwrap(); 3_000]);
    let outcomes = join_all((0..200).map(|index| log.append(index % 2, record(index)))).await;
    let refused = |outcome: &Result<(), _>| matches!(outcome, Err(AppendError::Refused(_)));
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || refused(outcome)));
    assert!(outcomes.iter().any(refused));
    drop(log);
    let stored: i64 = sqlite(&dir).query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), outcomes.iter().filter(|outcome| outcome.is_ok()).count());
}

/// A sync that fails cannot be had here; what must follow any failed write can: nothing is confirmed behind bytes in the
/// write-ahead log of which nobody knows whether they are on the disk.
#[tokio::test]
async fn after_a_broken_write_nothing_is_confirmed_before_the_write_ahead_log_was_emptied() {
    let dir = tempdir().unwrap();
    let ahead = dir.path().join("log.sqlite-wal");
    let log = log_in(&dir);
    append_all(&log, 0, &["a"]).await;
    log.check().await.unwrap();
    let other = sqlite(&dir);
    other.execute_batch("INSERT INTO records VALUES (0, 1, x'00')").unwrap();
    log.append(0, "b".into()).await.unwrap_err();
    let held = fs::metadata(&ahead).unwrap().len();
    assert!(held > 0);

    other.execute_batch("BEGIN; SELECT * FROM records").unwrap();
    let outcome = log.append(0, "b".into()).await;
    assert!(
        matches!(&outcome, Err(AppendError::Unknown(why)) if why.contains("another connection uses it")),
        "{outcome:?}"
    );
    other.execute_batch("COMMIT").unwrap();
    append_all(&log, 0, &["b"]).await;
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(2));
    // One small commit stands in it, of what it held nothing.
    drop(other);
    let after = fs::metadata(&ahead).unwrap().len();
    assert!(after < held, "{held} bytes, then {after}");
}

/// Nor behind what another process left there.
#[tokio::test]
async fn what_a_killed_process_left_is_brought_into_the_database_first() {
    let (dir, killed) = (tempdir().unwrap(), tempdir().unwrap());
    let log = log_in(&killed);
    append_all(&log, 0, &["a"; 20]).await;
    for name in [FILE, "log.sqlite-wal"] {
        fs::copy(killed.path().join(name), dir.path().join(name)).unwrap();
    }
    let held = fs::metadata(dir.path().join("log.sqlite-wal")).unwrap().len();
    // Another connection, so that SQLite does not do it by itself when a last one is closed.
    let other = sqlite(&dir);
    other.query_row("SELECT count(*) FROM records", [], |_| Ok(())).unwrap();
    let log = log_in(&dir);
    append_all(&log, 0, &["b"]).await;
    assert_eq!(contents(&log, 0, 21).await[19..], ["a", "b"]);
    let after = fs::metadata(dir.path().join("log.sqlite-wal")).unwrap().len();
    assert!(after < held, "{held} bytes, then {after}");
}

/// A row that appears behind the log's back stands for a commit that failed and yet is there.
#[tokio::test]
async fn after_a_broken_write_the_file_tells_where_to_go_on() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    append_all(&log, 0, &["a"]).await;
    sqlite(&dir).execute("INSERT INTO records VALUES (0, 1, CAST('hidden' AS BLOB))", []).unwrap();
    let outcome = log.append(0, "b".into()).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    append_all(&log, 0, &["b"]).await;
    append_all(&log, 1, &["x"]).await;
    assert_eq!(contents(&log, 0, 3).await, ["a", "hidden", "b"]);
    assert_eq!(log.bounds(0).await.unwrap().end, End::Last(2));
}

#[tokio::test]
async fn a_file_that_has_lost_records_is_not_written_any_more() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    append_all(&log, 1, &["a"]).await;
    let behind_its_back = "DELETE FROM records; INSERT INTO records VALUES (0, 0, x'00')";
    sqlite(&dir).execute_batch(behind_its_back).unwrap();
    log.append(0, "b".into()).await.unwrap_err();
    let outcome = log.append(0, "b".into()).await;
    assert!(matches!(&outcome, Err(AppendError::Unknown(why)) if why.contains("has lost confirmed records")));
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    let outcome = log.append(0, vec![0; RECORD_BYTES_MAX + 1].into()).await;
    assert!(matches!(outcome, Err(AppendError::TooLarge(_))), "{outcome:?}");
    log.append(0, vec![1; RECORD_BYTES_MAX].into()).await.unwrap();
    assert_eq!(contents(&log, 0, 1).await[0].len(), RECORD_BYTES_MAX);
}

#[tokio::test]
async fn closing_the_log_ends_its_readers_with_an_error() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    append_all(&log, 0, &["a"]).await;
    let records = log.read(0, 0).await.unwrap();
    drop(log);
    let read: Vec<_> = records.collect().await;
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].as_ref().unwrap().1, "a");
    assert_eq!(read[1].as_ref().unwrap_err().to_string(), "the log was closed");
}

#[tokio::test]
async fn appends_that_nobody_waits_for_are_written_before_it_closes() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    // Polled once, so that it is in the queue, and dropped.
    let _ = log.append(0, "a".into()).now_or_never();
    drop(log);
    assert_eq!(contents(&log_in(&dir), 0, 1).await, ["a"]);
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join(FILE), "certainly no database, though long enough to have a header".repeat(40))
        .unwrap();
    let error = refusal(dir.path());
    assert!(error.contains("log.sqlite as a log") && error.contains("not a database"), "{error}");
}

#[test]
fn a_database_of_something_else_is_refused_and_left_alone() {
    let dir = tempdir().unwrap();
    sqlite(&dir).execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(dir.path().join(FILE)).unwrap();
    let error = refusal(dir.path());
    assert!(error.contains("it is a database of something else"), "{error}");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), before);
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempdir().unwrap();
    drop(log_in(&dir));
    sqlite(&dir).pragma_update(None, "user_version", 2).unwrap();
    let error = refusal(dir.path());
    assert!(error.contains("it has format 2, this binary knows up to 1"), "{error}");
}

#[tokio::test]
async fn missing_records_are_a_fatal_risk() {
    let dir = tempdir().unwrap();
    let log = log_in(&dir);
    append_all(&log, 1, &["a", "b", "c"]).await;
    sqlite(&dir).execute("DELETE FROM records WHERE offset = 1", []).unwrap();
    let risks = log.check().await.unwrap();
    let found = risks.iter().find(|risk| risk.fatal).unwrap();
    assert!(found.found.ends_with("records of partition 1 are missing"), "{found:?}");
}

#[tokio::test]
async fn a_log_of_more_partitions_is_a_fatal_risk() {
    let dir = tempdir().unwrap();
    append_all(&log_in(&dir), 1, &["a"]).await;
    let log = EmbeddedLog::open(dir.path(), 1).unwrap();
    let risks = log.check().await.unwrap();
    assert!(
        risks.iter().any(|risk| risk.fatal && risk.found.ends_with("has 2 partitions, not 1")),
        "{risks:?}"
    );
}
