//! The newest events, read once for everybody who follows them: one reader a partition, and a buffer that all share.
//!
//! While nobody follows, nothing is read. What is in the buffer is written as a stream (SSE) sends it: each batch is the
//! same bytes for every follower, with the ids of one common order. Who is farther behind than the buffer reaches reads
//! the log by itself, up to where the buffer begins.

use anyhow::Result;
use bytes::Bytes;
use refold_domain::log::{EventLog, Offset};
use refold_domain::reading::{Passed, Reading};
use refold_domain::receipt::log_digits;
use refold_domain::schema::EventType;
use refold_projections::events::{Happened, Reader, Size};
use refold_projections::progress::Progress;
use refold_projections::store::Store;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much of a partition is read for one batch.
pub const BATCH: Size = Size { records: 256, bytes: 64 << 10 };
/// How many bytes of batches are kept for those who have not sent them on yet.
const BUFFER_BYTES_MAX: usize = 16 << 20;
/// What keeping an event costs beside its bytes, about.
const EVENT_COST_BYTES: usize = 64;
/// How long to wait before reading is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// The newest events.
pub struct Tail {
    sources: Sources,
    buffer: Mutex<Buffer>,
    /// The number of the batch that comes next.
    next: watch::Sender<u64>,
}

/// What events are read from.
#[derive(Clone)]
pub struct Sources {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Which commands count.
    pub store: Arc<dyn Store>,
    /// How far the store has come.
    pub progress: Arc<Progress>,
}

/// Events of one partition that follow each other.
#[derive(Debug)]
pub struct Batch {
    /// The partition.
    pub partition: u32,
    /// All events, as a stream sends them.
    pub text: Bytes,
    /// How far whoever has it and all before it has come.
    pub reading: Reading,
    /// What raises an alert, as all streams of alerts send it, once one of them has asked; fewer bytes than the text.
    pub alerts: OnceLock<Bytes>,
    events: Vec<Written>,
}

/// An event of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Told<'b> {
    /// Its type.
    pub kind: &'static EventType,
    /// The event as a stream sends it.
    pub text: &'b str,
    /// The id under which a reader goes on after it.
    pub id: &'b str,
    /// Its data as JSON, without private fields.
    pub data: &'b str,
}

/// Where an event stands in its batch's text.
#[derive(Debug)]
struct Written {
    kind: &'static EventType,
    text: Range<usize>,
    id: Range<usize>,
    data: Range<usize>,
}

/// Somebody who follows; batches are kept while there is one.
pub struct Follower {
    tail: Arc<Tail>,
    next: u64,
}

/// It was too slow: what would come next is not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged;

struct Buffer {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// The number of the batch that comes next.
    next: u64,
    /// How far the newest batch has come.
    reading: Reading,
    followers: usize,
}

impl Sources {
    /// A reader of a partition's events.
    pub fn reader(&self, partition: u32, passed: Passed) -> Reader {
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        Reader::new(log, store, self.progress.log(), partition, passed)
    }
}

impl Tail {
    /// The tail of a log, and what keeps it going.
    pub fn start(sources: Sources) -> (Arc<Self>, JoinSet<()>) {
        let partitions = sources.progress.partitions();
        let reading = Reading::start(log_digits(sources.progress.log()), partitions);
        let buffer = Buffer { batches: VecDeque::new(), bytes: 0, next: 0, reading, followers: 0 };
        let tail = Arc::new(Self { sources, buffer: Mutex::new(buffer), next: watch::Sender::new(0) });
        let mut readers = JoinSet::new();
        for partition in 0..partitions {
            readers.spawn(Arc::clone(&tail).run(partition));
        }
        (tail, readers)
    }

    /// What it reads from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Follows from here on, and says where that is.
    pub fn follow(self: &Arc<Self>) -> (Follower, Reading) {
        let mut buffer = self.buffer();
        buffer.followers += 1;
        (Follower { tail: Arc::clone(self), next: buffer.next }, buffer.reading.clone())
    }

    /// Changes whenever the tail has come farther.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    async fn run(self: Arc<Self>, partition: u32) {
        let mut state = self.sources.progress.subscribe(partition);
        let mut reader = None;
        loop {
            let passed = self.buffer().reading.passed[partition as usize];
            let stands = |head: &refold_projections::state::Head| Passed::record(head.position.offset);
            let is_ahead = state
                .wait_for(|state| state.head.as_ref().is_some_and(|head| stands(head) > passed))
                .await
                .map(|state| state.head.as_ref().map(|head| head.position.offset));
            let Ok(Some(to)) = is_ahead else {
                return;
            };
            if self.skip(partition, to) {
                reader = None;
            } else if let Err(error) = self.pass(partition, &mut reader, to).await {
                self.sources.progress.note(&error);
                tracing::warn!(partition, "cannot read events: {error:#}");
                reader = None;
                tokio::time::sleep(RETRY_WAIT).await;
            }
        }
    }

    /// Goes past everything where nobody follows.
    fn skip(&self, partition: u32, to: Offset) -> bool {
        let mut buffer = self.buffer();
        let is_alone = buffer.followers == 0;
        if is_alone {
            buffer.reading.passed[partition as usize] = Passed::record(to);
            // Somebody may wait for just that.
            self.next.send_modify(|_| {});
        }
        is_alone
    }

    async fn pass(&self, partition: u32, reader: &mut Option<Reader>, to: Offset) -> Result<()> {
        let at = self.buffer().reading.passed[partition as usize];
        let known = reader.take().filter(|reader| reader.passed() == at);
        let reader = reader.insert(known.unwrap_or_else(|| self.sources.reader(partition, at)));
        let piece = reader.next(to, BATCH).await?;
        let mut buffer = self.buffer();
        let batch = Batch::write(&mut buffer.reading, partition, &piece.events, piece.passed);
        buffer.push(batch);
        self.next.send_replace(buffer.next);
        Ok(())
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    fn push(&mut self, batch: Batch) {
        self.bytes += batch.cost();
        self.batches.push_back(Arc::new(batch));
        self.next += 1;
        while self.bytes > BUFFER_BYTES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }

    fn get(&self, number: u64) -> Result<Option<Arc<Batch>>, Lagged> {
        let first = self.next - self.batches.len() as u64;
        let Some(at) = number.checked_sub(first) else {
            return Err(Lagged);
        };
        let at = usize::try_from(at).map_err(|_| Lagged)?;
        Ok(self.batches.get(at).map(Arc::clone))
    }
}

impl Batch {
    /// Events of a partition as a stream sends them to whoever has come to `reading`, which goes on to where they end.
    pub fn write(reading: &mut Reading, partition: u32, events: &[Happened], passed: Passed) -> Self {
        let mut text = String::new();
        let mut places = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let is_last = events.get(index + 1).is_none_or(|next| next.offset != event.offset);
            let at =
                if is_last { Passed::record(event.offset) } else { Passed::event(event.offset, event.place) };
            reading.passed[partition as usize] = at;
            places.push(Written::append(&mut text, reading, event));
        }
        reading.passed[partition as usize] = passed;
        let (text, reading) = (text.into(), reading.clone());
        Self { partition, text, reading, alerts: OnceLock::new(), events: places }
    }

    /// Its events.
    ///
    /// # Panics
    /// Never: all of it was written as text.
    pub fn events(&self) -> impl Iterator<Item = Told<'_>> {
        let part = |at: &Range<usize>| {
            std::str::from_utf8(&self.text[at.clone()]).expect("a batch is written as text")
        };
        let told = move |Written { kind, text, id, data }: &Written| {
            let [text, id, data] = [text, id, data].map(part);
            Told { kind, text, id, data }
        };
        self.events.iter().map(told)
    }

    fn cost(&self) -> usize {
        self.text.len() + (self.events.len() + 1) * EVENT_COST_BYTES
    }
}

impl Written {
    fn append(text: &mut String, id: &Reading, event: &Happened) -> Self {
        let start = text.len();
        text.push_str("id: ");
        let id = appended(text, &id.to_string());
        text.push_str("\ndata: ");
        let json = appended(text, &event.json);
        text.push_str("\n\n");
        let data = json.start + event.data.start..json.start + event.data.end;
        Self { kind: event.kind, text: start..text.len(), id, data }
    }
}

/// Appends a part to a text, and says where it stands.
fn appended(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

impl Follower {
    /// The next batch, if it is there.
    ///
    /// # Errors
    /// Where it is not kept any more.
    pub fn take(&mut self) -> Result<Option<Arc<Batch>>, Lagged> {
        let batch = self.tail.buffer().get(self.next)?;
        self.next += u64::from(batch.is_some());
        Ok(batch)
    }

    /// Returns when there is a next batch.
    pub async fn more(&self) {
        // The sender lives as long as the tail, which this keeps alive.
        drop(self.tail.next.subscribe().wait_for(|next| *next > self.next).await);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut buffer = self.tail.buffer();
        buffer.followers -= 1;
        if buffer.followers == 0 {
            buffer.batches.clear();
            buffer.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> Buffer {
        let reading = Reading::start("1a2b3c4d".into(), 1);
        Buffer { batches: VecDeque::new(), bytes: 0, next: 0, reading, followers: 1 }
    }

    fn batch(bytes: usize) -> Batch {
        let mut reading = Reading::start("1a2b3c4d".into(), 1);
        Batch { text: vec![b' '; bytes].into(), ..Batch::write(&mut reading, 0, &[], Passed::default()) }
    }

    #[test]
    fn the_buffer_keeps_the_newest_batches_and_no_more_bytes_than_it_may() {
        const HALF: usize = BUFFER_BYTES_MAX / 2 - EVENT_COST_BYTES;
        let mut buffer = buffer();
        assert!(buffer.get(0).unwrap().is_none());
        for _ in 0..2 {
            buffer.push(batch(HALF));
        }
        assert!(buffer.get(0).unwrap().is_some() && buffer.get(2).unwrap().is_none());
        buffer.push(batch(1));
        assert_eq!(buffer.get(0).unwrap_err(), Lagged);
        assert!(buffer.get(1).unwrap().is_some() && buffer.get(2).unwrap().is_some());
        assert!(buffer.bytes <= BUFFER_BYTES_MAX);
    }

    #[test]
    fn ids_say_where_a_reader_goes_on_also_within_a_commit() {
        let event = |offset, index| Happened {
            kind: &refold_domain::foods::OBSERVED,
            offset,
            place: refold_domain::reading::Place { command: 0, index },
            json: r#"{"data":{"food":"寿司"}}"#.into(),
            data: 8..25,
        };
        let mut reading: Reading = "1a2b3c4d:4,9".parse().unwrap();
        let events = [event(11, 0), event(11, 1), event(13, 0)];
        let batch = Batch::write(&mut reading, 1, &events, Passed::record(15));
        let told: Vec<_> = batch.events().collect();
        assert_eq!(told.iter().map(|told| told.text).collect::<String>().as_bytes(), batch.text);
        let ids = ["1a2b3c4d:4,10.0.0", "1a2b3c4d:4,11", "1a2b3c4d:4,13"];
        for (told, id) in told.iter().zip(ids) {
            assert_eq!((told.id, told.data), (id, r#"{"food":"寿司"}"#));
            assert_eq!(told.text, format!("id: {id}\ndata: {{\"data\":{}}}\n\n", told.data));
        }
        assert_eq!((told.len(), reading.to_string().as_str()), (3, "1a2b3c4d:4,15"));
        assert_eq!(batch.reading, reading);
    }
}
