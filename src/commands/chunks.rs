//! Records the many facts of one request: in chunks, each of them one command.
//!
//! With an idempotency key each chunk has a key of its own, so that a repeat records what is missing and nothing twice.
//! The first chunk goes ahead, for it takes the client's key: once it counts, no other body gets beyond it.

use super::latest::Latest;
use super::{CommandError, Commands, Recorded, Request};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use refold_domain::decision::{Decision, NewEvent};
use refold_domain::lines::Lines;
use refold_domain::receipt::Receipt;
use refold_domain::rule::{self, Rule};
use refold_domain::schema::EventType;
use std::ops::Range;

/// How many chunks of one request are under way at the same time.
pub(crate) const CHUNKS_AT_ONCE: usize = 16;

/// Some facts of a request, and the request to record them.
#[derive(Debug)]
pub struct Chunk {
    /// Which lines they are.
    pub lines: Range<usize>,
    /// The request to record them.
    pub request: Request,
}

/// Not all lines were recorded.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Incomplete {
    /// What came in between first.
    pub cause: CommandError,
    /// How many lines are recorded.
    pub recorded: usize,
    /// How many others may be, now or later.
    pub unknown: usize,
    /// How many there are.
    pub lines: usize,
    /// Whether a repeat records what is missing, and nothing twice.
    pub has_key: bool,
}

/// What became of the chunks so far.
#[derive(Default)]
struct Tally {
    latest: Latest,
    recorded: usize,
    unknown: usize,
    cause: Option<CommandError>,
}

impl Commands {
    /// Records the lines of all chunks as events of this type; returns the last receipt of each partition.
    ///
    /// # Errors
    /// Where something came in between; then no further chunk is sent.
    pub async fn record_facts(
        &self,
        event: &EventType,
        lines: &Lines,
        chunks: &[Chunk],
    ) -> Result<Vec<Receipt>, Incomplete> {
        let has_key = chunks.first().is_some_and(|chunk| chunk.request.idempotency.is_some());
        let goes_ahead = has_key && rule::holds(Rule::FirstChunkGoesAhead);
        let (ahead, others) = chunks.split_at(usize::from(goes_ahead));
        let mut tally = Tally::default();
        for chunks in [ahead, others] {
            self.record_chunks(event, lines, chunks, &mut tally).await;
        }
        let Tally { latest, recorded, unknown, cause } = tally;
        let receipts = match cause {
            None => self.receipts(&latest).await,
            Some(cause) => Err(cause),
        };
        receipts.map_err(|cause| Incomplete { cause, recorded, unknown, lines: lines.len(), has_key })
    }

    /// Records chunks, many at a time, until one fails; waits for those under way.
    async fn record_chunks(&self, event: &EventType, lines: &Lines, chunks: &[Chunk], tally: &mut Tally) {
        let mut waiting = chunks.iter();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < CHUNKS_AT_ONCE
                && tally.cause.is_none()
                && let Some(chunk) = waiting.next()
            {
                under_way.push(async move { (chunk, self.record_chunk(event, lines, chunk).await) });
            }
            match under_way.next().await {
                Some((chunk, outcome)) => tally.note(chunk, outcome),
                None => return,
            }
        }
    }

    async fn record_chunk(
        &self,
        event: &EventType,
        lines: &Lines,
        chunk: &Chunk,
    ) -> Result<Recorded, CommandError> {
        let decide = |_: &_| {
            let lines = chunk.lines.clone().map(|line| lines.get(line));
            let events = lines.map(|line| NewEvent::written(event.name, line)).collect();
            Ok(Decision::Record { guards: Vec::new(), events })
        };
        self.execute(&chunk.request, decide).await
    }
}

impl Tally {
    fn note(&mut self, chunk: &Chunk, outcome: Result<Recorded, CommandError>) {
        match outcome {
            Ok(recorded) => {
                self.recorded += chunk.lines.len();
                self.latest.note(&recorded, chunk.request.idempotency.as_deref());
            }
            Err(error) => {
                if error.may_be_recorded() {
                    self.unknown += chunk.lines.len();
                }
                self.cause.get_or_insert(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
