//! How far a stream reaches. RabbitMQ does not tell, so both its ends are read.

use super::failure::Failure;
use super::link::Link;
use super::reader::{PREFETCH_RECORDS, Reader, Start};
use super::streams;
use refold_domain::log::{Bounds, End, LogError, Offset};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long nothing may come before a stream counts as read to its end, in milliseconds.
const QUIET_MS: u64 = 50;

/// How long the end of a stream to which others append is read, in milliseconds.
const END_WAIT_MS: u64 = 500;

/// How long nothing may come before a stream counts as empty, in milliseconds; the server's own count of its records is late.
pub(super) const EMPTY_WAIT_MS: u64 = 500;

/// The same of a stream that this process has just made.
pub(super) const NEW_WAIT_MS: u64 = 50;

/// How long the first record may take where there are some, in milliseconds.
pub(super) const FIRST_WAIT_MS: u64 = 3_000;

/// The first offset, and one that the end has reached. A stream is empty where nothing comes for so long.
pub(super) async fn bounds(link: &Link, stream: &str, empty_wait_ms: u64) -> Result<Bounds, LogError> {
    let attach = || async move {
        let first = Reader::attach(link, stream, Start::First, 1).await?;
        let last = Reader::attach(link, stream, Start::Last, PREFETCH_RECORDS).await?;
        // Its answer comes after what the server had at hand for the readers.
        Ok((first, last, streams::find(link, stream).await?))
    };
    let failed = |failure: Failure| failure.of(stream);
    let (mut first, mut last, records) = streams::recovered(attach).await.map_err(failed)?;
    let wait = if records == 0 { empty_wait_ms } else { FIRST_WAIT_MS };
    match timeout(Duration::from_millis(wait), first.next()).await {
        Ok(found) => {
            let first = found?.0;
            let end = end(&mut last).await?.unwrap_or(first).max(first);
            Ok(Bounds { first: Some(first), end: End::AtLeast(end) })
        }
        Err(_) if records == 0 => Ok(Bounds { first: None, end: End::Empty }),
        Err(_) => Err(LogError::Away(format!(
            "the stream {stream:?} has {records} records or so, but RabbitMQ sent none within {FIRST_WAIT_MS} ms"
        ))),
    }
}

/// The last offset that comes before it is quiet.
async fn end(reader: &mut Reader) -> Result<Option<Offset>, LogError> {
    let until = Instant::now() + Duration::from_millis(END_WAIT_MS);
    let mut last = None;
    loop {
        let quiet = Instant::now() + Duration::from_millis(QUIET_MS);
        match timeout_at(until.min(quiet), reader.next()).await {
            Ok(record) => last = Some(record?.0),
            Err(_) => return Ok(last),
        }
    }
}
