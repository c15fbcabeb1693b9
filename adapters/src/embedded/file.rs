//! The SQLite file: how it is recognised, made durable, written and read.

use super::files::Files;
use super::reader::{CHUNK_RECORDS_MAX, Chunk};
use super::tail::Span;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use refold_domain::log::Offset;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The most pages that SQLite can address, and so no limit at all.
pub(super) const PAGES_MAX: u32 = 4_294_967_294;

/// What marks a file as a log: "RFLD".
const APPLICATION_ID: i32 = 0x5246_4c44;

/// The version of the table below.
const FORMAT: i32 = 1;

const SCHEMA: &str = "CREATE TABLE records (
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (partition, offset)
) STRICT, WITHOUT ROWID";

/// How long to wait for another connection's lock, in milliseconds. Only a checkpoint or a person with a
/// SQLite shell can hold one.
const BUSY_TIMEOUT_MS: u64 = 5_000;

/// What would end a path within the URI that SQLite takes instead of one.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// What is kept of the write-ahead log after a burst, in bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// `PRAGMA synchronous` says this for FULL: each commit is on the disk before it is confirmed.
const SYNCHRONOUS_FULL: i64 = 2;

/// The connection that writes.
#[derive(Debug)]
pub(super) struct LogFile {
    connection: Connection,
    files: Files,
    pages_max: u32,
}

impl LogFile {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens a file that was there before: a new one in its place would hide that history is gone.
    pub(super) fn reopen(path: &Path) -> anyhow::Result<Self> {
        Self::connect(path, OpenFlags::empty())
    }

    fn connect(path: &Path, create: OpenFlags) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let open = || {
            let mut connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
            let is_new = is_new(&connection)?;
            make_durable(&connection)?;
            if is_new {
                initialise(&mut connection)?;
            }
            // Only with the first transaction in this mode comes the write-ahead log; a restored log has had none.
            span(&connection, 0)?;
            let opened = connection.path().context("it has no path")?;
            let files = Files::open_at(path, opened)?;
            anyhow::Ok((connection, files))
        };
        let (connection, files) =
            open().with_context(|| format!("cannot use {} as a log", path.display()))?;
        Ok(Self { connection, files, pages_max: PAGES_MAX })
    }

    /// The files that it is open in.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// What each of so many partitions holds.
    pub(super) fn spans(&self, partitions: u32) -> rusqlite::Result<Vec<Span>> {
        (0..partitions).map(|partition| span(&self.connection, partition)).collect()
    }

    /// Stores all rows, or none. After an error nothing is left open.
    pub(super) fn append<'a>(
        &mut self,
        rows: impl Iterator<Item = (u32, Offset, &'a [u8])>,
    ) -> rusqlite::Result<()> {
        insert(&mut self.connection, rows)
    }

    /// Brings all of the write-ahead log into the database, and leaves the former empty.
    ///
    /// What SQLite confirms is durable as long as it is the one that wrote the write-ahead log, and every sync went well.
    /// Of a sync that failed the kernel keeps the pages and calls them clean: later syncs succeed without them, yet who
    /// opens the file anew reads them, finds their checksums right, takes them for committed and appends behind them. A
    /// power failure then loses them and, as the checksums no longer follow each other, all that was confirmed behind.
    /// A checkpoint writes what is committed to the database and syncs that; into the emptied write-ahead log every
    /// page is written anew. With TRUNCATE it waits for readers, and is complete only if it says so: a busy one is no
    /// error to SQLite.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (busy, frames, moved): (i64, i64, i64) =
            self.connection.query_row(sql, [], row).context("cannot empty the write-ahead log")?;
        ensure!(
            (busy, frames, moved) == (0, 0, 0),
            "cannot empty the write-ahead log: another connection uses it (of {frames} frames {moved} were brought \
             into the database)"
        );
        Ok(())
    }

    /// How large the file may become, in pages.
    pub(super) fn limit_pages(&mut self, pages: u32) -> rusqlite::Result<()> {
        if self.pages_max != pages {
            self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            self.pages_max = pages;
        }
        Ok(())
    }
}

/// Stores all rows, or none.
pub(super) fn insert<'a>(
    connection: &mut Connection,
    rows: impl Iterator<Item = (u32, Offset, &'a [u8])>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = "INSERT INTO records (partition, offset, record) VALUES (?1, ?2, ?3)";
    let mut insert = transaction.prepare_cached(sql)?;
    for (partition, offset, record) in rows {
        insert.execute(params![partition, to_sql(offset), record])?;
    }
    drop(insert);
    transaction.commit()
}

/// A connection that makes an empty file a log that is to be filled. Nobody else knows of the file yet: it is thrown
/// away if anything fails, and whoever has filled it syncs it. Until it is opened as a log it has no write-ahead log,
/// so that it can lie on any file system.
pub(super) fn open_to_fill(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    initialise(&mut connection)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
    Ok(connection)
}

/// A connection that makes no file, for as long as nobody else has the log open.
///
/// To read a write-ahead log SQLite needs an index of it, which it makes where it is missing. Without a write-ahead log
/// it is told that nothing changes, and then needs nothing but the database.
pub(super) fn open_to_look(path: &Path) -> rusqlite::Result<Connection> {
    let mut ahead = path.as_os_str().to_owned();
    ahead.push("-wal");
    if Path::new(&ahead).exists() {
        return open_to_read(path);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let name = percent_encode(path.as_os_str().as_bytes(), RESERVED);
    Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)
}

/// What each of so many partitions holds, of a log that may have been made no further than its file.
pub(super) fn all_spans(connection: &Connection, partitions: u32) -> anyhow::Result<Vec<Span>> {
    let is_new = is_new(connection)?;
    let empty = Span { first: 0, next: 0 };
    let span = |partition| if is_new { Ok(empty) } else { span(connection, partition) };
    Ok((0..partitions).map(span).collect::<rusqlite::Result<_>>()?)
}

/// What each partition that has records holds, all at one moment.
pub(super) fn spans_at_once(connection: &Connection) -> anyhow::Result<Vec<Span>> {
    ensure!(!is_new(connection)?, "it is empty");
    let reading = connection.unchecked_transaction()?;
    let partitions = partitions(&reading)?;
    let spans =
        (0..partitions).map(|partition| span(&reading, partition)).collect::<rusqlite::Result<_>>()?;
    reading.finish()?;
    Ok(spans)
}

/// How many partitions there are, as far as there are records.
pub(super) fn partitions(connection: &Connection) -> rusqlite::Result<u32> {
    let last = connection.query_row("SELECT max(partition) FROM records", [], |row| row.get(0));
    last.map(|last: Option<u32>| last.map_or(0, |last| last + 1))
}

/// The records of a partition at and after `from`, until they have `bytes_max` bytes.
pub(super) fn chunk(
    connection: &Connection,
    partition: u32,
    from: Offset,
    bytes_max: usize,
) -> rusqlite::Result<Chunk> {
    let sql =
        "SELECT offset, record FROM records WHERE partition = ?1 AND offset >= ?2 ORDER BY offset LIMIT ?3";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![partition, to_sql(from), to_sql(CHUNK_RECORDS_MAX as u64)])?;
    let (mut chunk, mut bytes) = (Chunk::new(), 0);
    while bytes < bytes_max
        && let Some(row) = rows.next()?
    {
        let record = row.get_ref(1)?.as_blob()?;
        bytes += record.len();
        chunk.push((to_offset(row.get(0)?), Bytes::copy_from_slice(record)));
    }
    Ok(chunk)
}

/// What a partition holds.
pub(super) fn span(connection: &Connection, partition: u32) -> rusqlite::Result<Span> {
    // One question each: SQLite answers a lone min or max from the ends of the index.
    let sql = "SELECT (SELECT min(offset) FROM records WHERE partition = ?1),
                      (SELECT max(offset) FROM records WHERE partition = ?1)";
    let mut select = connection.prepare_cached(sql)?;
    select.query_row([partition], |row| {
        let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        let next = last.map_or(0, |last| to_offset(last) + 1);
        Ok(Span { first: first.map_or(next, to_offset), next })
    })
}

/// Whether SQLite found no room to write.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether the file is empty; one that is anything but a log which this binary knows is refused. Asked before
/// anything is changed, as the file may be somebody else's.
pub(super) fn is_new(connection: &Connection) -> anyhow::Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application, format) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, format) {
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION_ID, FORMAT) => Ok(false),
        (APPLICATION_ID, newer) if newer > FORMAT => {
            bail!("it has format {newer}, this binary knows up to {FORMAT}: use a newer one")
        }
        _ => bail!("it is a database of something else"),
    }
}

fn make_durable(connection: &Connection) -> anyhow::Result<()> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    ensure!(mode == "wal", "its journal stays in mode {mode}: the file system does not support WAL");
    connection.pragma_update(None, "synchronous", "FULL")?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    ensure!(synchronous == SYNCHRONOUS_FULL, "PRAGMA synchronous stays at {synchronous}");
    // Where fsync does not reach the disk (macOS) ask for the one that does; elsewhere these change nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    Ok(())
}

fn initialise(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// An offset that SQLite cannot hold lies behind all that it can.
fn to_sql(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn to_offset(offset: i64) -> Offset {
    Offset::try_from(offset).unwrap_or(0)
}
