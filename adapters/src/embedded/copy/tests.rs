//! Copies of logs that are written meanwhile, or are not what they should be.

use super::super::file::LogFile;
use super::*;
use refold_domain::log::{Bounds, End, EventLog};
use std::fs;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Enough for a handful of chunks.
const RECORDS: u64 = 4_000;
const RECORD: &[u8] = b"pie";

/// A directory with a log of two partitions, and one for copies.
fn written() -> (TempDir, TempDir) {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut file = LogFile::open(&dir.path().join(FILE)).unwrap();
    file.append((0..RECORDS).map(|offset| (0, offset, RECORD))).unwrap();
    file.append((0..10).map(|offset| (1, offset, RECORD))).unwrap();
    (dir, copies)
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn bounds(log: &EmbeddedLog, partition: u32) -> Bounds {
    Runtime::new().unwrap().block_on(log.bounds(partition)).unwrap()
}

fn marks(file: &Path) -> [i64; 3] {
    let connection = file::open_to_look(file).unwrap();
    ["application_id", "user_version", "page_size"]
        .map(|pragma| connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap())
}

#[test]
fn a_service_that_is_restarted_and_writes_meanwhile_is_not_held_up() {
    let (dir, copies) = written();
    let runtime = Runtime::new().unwrap();
    let append = |log: &EmbeddedLog, partition| runtime.block_on(log.append(partition, "cake".into()));
    let mut log = Some(EmbeddedLog::open(dir.path(), 3).unwrap());
    // So that there is something in the write-ahead log.
    append(log.as_ref().unwrap(), 1).unwrap();
    let place = copies.path().join("copy");
    let copy = Copy::back_up(dir.path(), &place, |progress| {
        if progress.records == 0 {
            return Ok(());
        }
        // The first append settles the log, which waits for whoever reads the write-ahead log.
        drop(log.take());
        let opened = log.insert(EmbeddedLog::open(dir.path(), 3).unwrap());
        (0..3).try_for_each(|partition| Ok(append(opened, partition)?))
    });
    copy.unwrap().put(false).unwrap();
    let copied = EmbeddedLog::look_at(place.clone(), 3).unwrap();
    assert_eq!(bounds(&copied, 0), Bounds { first: Some(0), end: End::Last(RECORDS - 1) });
    assert_eq!(bounds(&copied, 1).end, End::Last(10));
    assert_eq!(bounds(&copied, 2).end, End::Empty);
    assert_eq!(marks(&place), marks(&dir.path().join(FILE)));
    assert!(matches!(bounds(&log.unwrap(), 1).end, End::Last(last) if last > 10));
}

#[test]
fn only_its_owner_may_read_a_backup() {
    let (dir, copies) = written();
    let place = copies.path().join("copy");
    Copy::back_up(dir.path(), &place, |_| Ok(())).unwrap().put(false).unwrap();
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn whatever_ends_it_leaves_nothing() {
    let (dir, copies) = written();
    let place = copies.path().join("copy");
    let copy = Copy::back_up(dir.path(), &place, |_| Ok(())).unwrap();
    assert!(copy.path().exists());
    drop(copy);
    let stop = |progress: Progress| if progress.records == 0 { Ok(()) } else { bail!("stopped") };
    let error = Copy::back_up(dir.path(), &place, stop).unwrap_err();
    assert!(format!("{error:#}").ends_with("stopped"), "{error:#}");
    assert_eq!(names(copies.path()), [""; 0]);
}

#[test]
fn a_log_that_lacks_records_is_not_copied() {
    for lost in ["offset = 0", "offset = 2000", "offset BETWEEN 10 AND 3000"] {
        let (dir, copies) = written();
        let log = Connection::open(dir.path().join(FILE)).unwrap();
        log.execute(&format!("DELETE FROM records WHERE partition = 0 AND {lost}"), []).unwrap();
        let error = Copy::back_up(dir.path(), &copies.path().join("copy"), |_| Ok(())).unwrap_err();
        assert!(format!("{error:#}").contains("records of partition 0 are missing"), "{error:#}");
        assert_eq!(names(copies.path()), [""; 0]);
    }
}

#[test]
fn nothing_is_replaced_unless_it_is_said() {
    let (dir, copies) = written();
    let place = copies.path().join("copy");
    let copy = || Copy::back_up(dir.path(), &place, |_| Ok(())).unwrap();
    let first = copy();
    // Somebody was faster.
    fs::write(&place, "mine").unwrap();
    let error = first.put(false).unwrap_err();
    assert!(format!("{error:#}").contains("File exists"), "{error:#}");
    assert_eq!(fs::read(&place).unwrap(), b"mine");
    copy().put(true).unwrap();
    assert_eq!(names(copies.path()), ["copy"]);
    fs::write(copies.path().join("copy-wal"), "").unwrap();
    let error = copy().put(true).unwrap_err();
    assert!(format!("{error:#}").contains("copy-wal belongs to a database"), "{error:#}");
}

#[test]
fn a_backup_is_restored_as_it_is() {
    let (dir, copies) = written();
    let place = copies.path().join("copy");
    Copy::back_up(dir.path(), &place, |_| Ok(())).unwrap().put(false).unwrap();
    let anew = tempfile::tempdir().unwrap();
    Copy::restore(&place, anew.path(), |_| Ok(())).unwrap().put(false).unwrap();
    let log = EmbeddedLog::open(anew.path(), 2).unwrap();
    assert_eq!(bounds(&log, 0).end, End::Last(RECORDS - 1));
    assert_eq!(names(copies.path()), ["copy"], "a backup is read and nothing else");
}
