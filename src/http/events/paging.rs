//! Pages of events: as much as is asked for, or as may be read for one request, and a cursor to go on with.

use super::{CloudEvent, Wanted};
use crate::http::follow::Lens;
use crate::http::headers::POSITION;
use crate::http::reading::PAGE_BYTES_MAX;
use crate::service::Service;
use crate::tail::Sources;
use refold_domain::reading::{Passed, Reading};
use refold_projections::cursor;
use refold_projections::events::Size;
use refold_projections::query::{self, QueryError, Reached};
use std::time::{Duration, Instant};

/// How many records of the log are read for one page at most.
const PAGE_RECORDS_MAX: usize = 10_000;
/// After how much time a page is answered with what has been found.
const PAGE_TIME: Duration = Duration::from_secs(2);
/// How much of a partition is read at a time.
const PIECE: Size = Size { records: 256, bytes: 256 << 10 };

/// A reader between two pages.
pub(super) struct Paging {
    reading: Reading,
    /// The partition that is read next, so that a busy one does not keep the others from being read.
    turn: u32,
}

impl Paging {
    /// A reader that goes on after `reading`.
    pub(super) fn begin(reading: Reading) -> Self {
        Self { reading, turn: 0 }
    }

    /// Notes what the reader has seen of the store, which may have been put back behind it.
    pub(super) fn note(&self, reached: &mut Reached) {
        for (partition, passed) in (0..).zip(&self.reading.passed) {
            passed.offset.into_iter().for_each(|offset| reached.note(partition, offset));
        }
    }

    /// Where the next page goes on.
    pub(super) fn cursor(&self, service: &Service, wanted: &Wanted, from: &str) -> String {
        let key = format!("{}/{}", self.turn, self.reading);
        cursor::seal(&question(service, wanted, from), key.as_bytes())
    }

    /// The reader that a cursor of the same question stands for.
    pub(super) fn resume(
        service: &Service,
        wanted: &Wanted,
        from: &str,
        text: &str,
    ) -> Result<Self, QueryError> {
        let key = cursor::open(&question(service, wanted, from), text);
        let key = key.and_then(|key| String::from_utf8(key).ok());
        let parts = key.as_deref().and_then(|key| key.split_once('/'));
        let read = parts.and_then(|(turn, reading)| turn.parse().ok().zip(reading.parse::<Reading>().ok()));
        let partitions = service.progress.partitions() as usize;
        let read = read.filter(|(_, reading)| reading.passed.len() == partitions);
        read.map(|(turn, reading)| Self { reading, turn }).ok_or_else(query::not_ours)
    }

    /// Whether there is nothing more up to `until`.
    pub(super) fn is_done(&self, wanted: &Wanted, until: &Reading) -> bool {
        let mut partitions = (0..).zip(self.reading.passed.iter().zip(&until.passed));
        partitions.all(|(partition, (passed, until))| passed >= until || !wanted.has_partition(partition))
    }

    /// The events of a page, partition after partition.
    pub(super) async fn page(
        &mut self,
        sources: &Sources,
        wanted: &Wanted,
        until: &Reading,
        limit: usize,
    ) -> Result<Vec<CloudEvent>, QueryError> {
        let mut room = Room::new(limit);
        let partitions = u32::try_from(until.passed.len()).unwrap_or_default();
        let mut data = Vec::new();
        for _ in 0..partitions {
            if room.is_full() {
                break;
            }
            let partition = self.turn % partitions;
            self.turn = (partition + 1) % partitions;
            if let Some(to) =
                until.passed[partition as usize].offset.filter(|_| wanted.has_partition(partition))
            {
                self.partition(sources, wanted, partition, to, &mut room, &mut data).await?;
            }
        }
        Ok(data)
    }

    async fn partition(
        &mut self,
        sources: &Sources,
        wanted: &Wanted,
        partition: u32,
        to: u64,
        room: &mut Room,
        data: &mut Vec<CloudEvent>,
    ) -> Result<(), QueryError> {
        let passed = &mut self.reading.passed[partition as usize];
        let mut reader = sources.reader(partition, *passed);
        while *passed < Passed::record(to) && !room.is_full() {
            let piece = reader.next(to, PIECE).await.inspect_err(|error| sources.progress.note(error))?;
            room.records = room.records.saturating_sub(piece.records);
            for event in piece.events {
                // Neither time nor records are looked at here: a page that took nothing of a piece would not get on.
                if room.has_enough() && wanted.has_type(event.kind) {
                    return Ok(());
                }
                *passed = Passed::event(event.offset, event.place);
                if wanted.has_type(event.kind) {
                    room.take(&event.json);
                    let event = serde_json::from_str(&event.json);
                    data.push(event.map_err(|error| QueryError::Failed(error.into()))?);
                }
            }
            *passed = piece.passed;
        }
        Ok(())
    }
}

/// What a page still takes.
struct Room {
    events: usize,
    records: usize,
    bytes: usize,
    until: Instant,
}

impl Room {
    fn new(events: usize) -> Self {
        Self { events, records: PAGE_RECORDS_MAX, bytes: PAGE_BYTES_MAX, until: Instant::now() + PAGE_TIME }
    }

    fn take(&mut self, json: &str) {
        self.events -= 1;
        self.bytes = self.bytes.saturating_sub(json.len());
    }

    fn has_enough(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    fn is_full(&self) -> bool {
        self.has_enough() || self.records == 0 || Instant::now() >= self.until
    }
}

/// What a cursor belongs to.
fn question(service: &Service, wanted: &Wanted, from: &str) -> impl serde::Serialize {
    (service.progress.log(), POSITION, wanted.types.clone(), wanted.partition, from.to_owned())
}

#[cfg(test)]
mod tests;
