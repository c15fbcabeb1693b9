//! Bodies of many facts under a key: what clients ask for, what they are told, and what the log says of it.

use super::model::{Model, Stream};
use super::world::PARTITIONS;
use crate::commands::Request;
use crate::commands::chunks::{Chunk, Incomplete};
use rand::RngExt;
use rand::rngs::SmallRng;
use refold_domain::foods::Food;
use refold_domain::hash::{Hash, partition_of};
use refold_domain::lines::{Lines, chunk_hash};
use refold_domain::receipt::Receipt;
use refold_domain::{rule, stream};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How many keys clients draw from: few, so that they meet.
const KEYS: u32 = 3;
/// How many facts a body has; each is a chunk, for cutting is no matter of chance.
const LINES: RangeInclusive<u32> = 2..=3;
const ROUTE: &str = "POST /foods";

/// A body of many facts, under a key.
#[derive(Debug, Clone)]
pub(super) struct Many {
    key: String,
    food: &'static str,
    lines: u32,
}

/// What came of sending one.
#[derive(Debug)]
pub(super) struct Fed {
    pub many: Many,
    /// Nothing where the process died.
    pub outcome: Option<Result<Vec<Receipt>, Incomplete>>,
}

impl Many {
    pub(super) fn draw(rng: &mut SmallRng) -> Self {
        let key = format!("many {}", rng.random_range(0..KEYS));
        let food = if rng.random_bool(0.8) { "pie" } else { "soup" };
        Self { key, food, lines: rng.random_range(LINES) }
    }

    pub(super) fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        for number in 1..=self.lines {
            lines.push(number, &Food { food: self.food.into() });
        }
        lines
    }

    /// Its chunks, as the handler makes them, but of a line each.
    pub(super) fn chunks(&self, trace: &str) -> Vec<Chunk> {
        let chunk = |(number, (stream, hash)): (u32, (String, Hash))| {
            let line = number as usize;
            let request = Request {
                partition_key: Some(self.partition_key(number)),
                events: 1,
                idempotency: Some(stream),
                hash: Some(hash),
                trace: Some(format!("{trace}/{number}")),
                streams: Vec::new(),
            };
            Chunk { lines: line..line + 1, request }
        };
        (0..).zip(self.parts()).map(chunk).collect()
    }

    /// The stream and the hash of each chunk.
    fn parts(&self) -> Vec<(String, Hash)> {
        let hash = self.lines().hash();
        let part = |number| {
            let partition_key = self.partition_key(number);
            let stream = stream::idempotency_of_part("", ROUTE, &partition_key, &self.key, number);
            (stream, chunk_hash(hash, number))
        };
        (0..self.lines).map(part).collect()
    }

    /// Chunks that are under way at the same time, all but the first, are in different partitions: which of two in the same
    /// one comes first would be chance that no seed decides.
    fn partition_key(&self, number: u32) -> String {
        let partition = number % PARTITIONS;
        let mut keys = (0..).map(|salt| format!("{} {number} {salt}", self.key));
        keys.find(|key| partition_of(key, PARTITIONS) == partition).expect("one of all keys")
    }
}

impl Fed {
    /// Whether sending it again would be of no use: the first chunk is told, and it alone.
    pub(super) fn is_final(&self) -> bool {
        use crate::commands::CommandError::KeyReused;
        matches!(
            self.outcome,
            Some(Ok(_) | Err(Incomplete { cause: KeyReused, recorded: 0, unknown: 0, .. }))
        )
    }

    /// The outcome without ids, which are others each time.
    pub(super) fn summary(&self) -> String {
        match &self.outcome {
            Some(Ok(receipts)) => format!("recorded, in {} partitions", receipts.len()),
            Some(Err(Incomplete { recorded, unknown, .. })) => {
                format!("{recorded} recorded, {unknown} perhaps")
            }
            None => "nothing".into(),
        }
    }

    /// Holds it against a log that lost nothing.
    pub(super) fn follows(&self, model: &Model) -> Result<(), String> {
        if model.partitions.iter().any(|partition| partition.keys >= rule::keys_remembered()) {
            return Ok(());
        }
        let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {self:?}")) };
        let parts = self.many.parts();
        let standing: Vec<_> = parts.iter().map(|(stream, _)| stream_of(model, stream)).collect();
        let is_mine = |(stream, (_, hash)): (&Option<&Stream>, &(String, Hash))| {
            stream.is_some_and(|stream| stream.hash == Some(*hash))
        };
        let mine = standing.iter().zip(&parts).filter(|part| is_mine(*part)).count();
        let others = standing.iter().flatten().count() - mine;
        ensure(mine == 0 || others == 0, "two bodies share a key")?;
        match &self.outcome {
            Some(Ok(receipts)) => {
                ensure(mine == parts.len(), "not all chunks of what was told recorded are")?;
                let last: Vec<_> = last(&standing).into_values().map(|stream| stream.receipt).collect();
                ensure(last == *receipts, "a receipt is not the last of its partition")
            }
            Some(Err(incomplete)) => ensure(mine >= incomplete.recorded, "fewer are recorded than was told"),
            None => Ok(()),
        }
    }
}

fn stream_of<'m>(model: &'m Model, stream: &str) -> Option<&'m Stream> {
    model.partitions[stream::partition(stream, PARTITIONS) as usize].stream(stream)
}

/// The last of these in each partition.
fn last<'m>(standing: &[Option<&'m Stream>]) -> BTreeMap<u32, &'m Stream> {
    let mut last = BTreeMap::<u32, &Stream>::new();
    for stream in standing.iter().flatten().copied() {
        let place = |stream: &Stream| (stream.offset, stream.receipt.command);
        let known = last.entry(stream.receipt.partition).or_insert(stream);
        if place(stream) > place(known) {
            *known = stream;
        }
    }
    last
}
