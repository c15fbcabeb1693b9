//! Reads back what happened: the events of accepted commands, in log order, up to what the store has passed.
//!
//! The records come from the log, and the store says which of them count: it keeps every void command and duplicate
//! by its place. So nothing is judged a second time, and an emptied store says the same once it is folded again.

use crate::batch::{self, Content};
use crate::store::{Blob, Limit, Range, Space, Store, after_prefix};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use refold_domain::commit::{Commit, Event};
use refold_domain::log::{EventLog, Offset, Records};
use refold_domain::reading::{Passed, Place};
use refold_domain::receipt::{EventId, Receipt};
use refold_domain::schema::EventType;
use std::collections::BTreeSet;
use std::ops::{self, Bound};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// How long the log may take to hand out a record that the store has passed.
const RECORD_WAIT: Duration = Duration::from_secs(10);
/// How much is read at a time of what does not count.
const VOIDS: Limit = Limit { entries: 10_000, bytes: 1 << 20 };

/// Reads the accepted events of one partition, piece by piece.
pub struct Reader {
    source: Source,
    passed: Passed,
    records: Option<Records>,
}

/// What a reader reads.
struct Source {
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    id: Uuid,
    partition: u32,
}

/// A piece of what happened.
#[derive(Debug)]
pub struct Piece {
    /// The events, in log order.
    pub events: Vec<Happened>,
    /// How far it reaches; what lies between the last event and here does not count, or is no event.
    pub passed: Passed,
    /// How many records were read for it.
    pub records: usize,
}

/// An event that counts.
#[derive(Debug)]
pub struct Happened {
    /// Its type.
    pub kind: &'static EventType,
    /// The offset of its record.
    pub offset: Offset,
    /// Its place in the record.
    pub place: Place,
    /// The event in the JSON format of CloudEvents 1.0, without private fields, on one line.
    pub json: String,
    /// Where in it the event's data stands.
    pub data: ops::Range<usize>,
}

/// How much one piece takes: reading stops with the record that reaches one of the two.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Records of the log.
    pub records: usize,
    /// Bytes of records.
    pub bytes: usize,
}

impl Reader {
    /// A reader of a partition of the log `id` that goes on after what was `passed`.
    pub fn new(
        log: Arc<dyn EventLog>,
        store: Arc<dyn Store>,
        id: Uuid,
        partition: u32,
        passed: Passed,
    ) -> Self {
        Self { source: Source { log, store, id, partition }, passed, records: None }
    }

    /// How far it has come.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// The next piece, up to the record at `to`, which the store must have passed.
    ///
    /// # Errors
    /// Where log or store cannot be read, or the store was emptied or put back meanwhile. The next call tries again.
    pub async fn next(&mut self, to: Offset, size: Size) -> anyhow::Result<Piece> {
        let records = self.take(to, size).await;
        let piece = match records {
            Ok(records) => self.source.piece(self.passed, &records).await,
            Err(error) => Err(error),
        };
        match &piece {
            Ok(piece) => self.passed = piece.passed,
            Err(_) => self.records = None,
        }
        piece
    }

    async fn take(&mut self, to: Offset, size: Size) -> anyhow::Result<Vec<(Offset, Bytes)>> {
        let mut stream = match self.records.take() {
            Some(stream) => stream,
            None => self.source.read(self.passed).await?,
        };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < size.records && bytes < size.bytes {
            let next = timeout(RECORD_WAIT, stream.next()).await;
            let record = next.context("the log hands out no record where it should hold one")?;
            let (offset, record) =
                record.context("the log ended the reading")?.context("cannot read the log")?;
            ensure!(offset <= to, "the log no longer holds the record at offset {to}");
            bytes += record.len();
            taken.push((offset, record));
            if offset == to {
                break;
            }
        }
        self.records = Some(stream);
        Ok(taken)
    }
}

impl Source {
    async fn read(&self, passed: Passed) -> anyhow::Result<Records> {
        self.log.read(self.partition, passed.next()).await.context("cannot read the log")
    }

    async fn piece(&self, passed: Passed, records: &[(Offset, Bytes)]) -> anyhow::Result<Piece> {
        let (Some((first, _)), Some((last, _))) = (records.first(), records.last()) else {
            return Ok(Piece { events: Vec::new(), passed, records: 0 });
        };
        let void = Void {
            voids: self.keys(Space::Voids, *first, *last).await?,
            unreadable: self.keys(Space::Unreadable, *first, *last).await?,
        };
        let (read, too_new) = batch::read(self.id, records);
        if let Some(reason) = too_new {
            bail!("{reason}: start a newer refold");
        }
        let mut events = Vec::new();
        for record in &read {
            if let Content::Commit(commit, data) = &record.content {
                let offset = record.mark.offset;
                let counted = void.counted(offset, commit, data);
                let fresh = counted.filter(|(place, ..)| !passed.has(offset, *place));
                for (place, event, data) in fresh {
                    events.push(self.happened(offset, place, commit, event, data)?);
                }
            }
        }
        Ok(Piece { events, passed: Passed::record(*last), records: records.len() })
    }

    /// The keys of a space that name places of these records.
    async fn keys(&self, space: Space, first: Offset, last: Offset) -> anyhow::Result<BTreeSet<Blob>> {
        let mut keys = BTreeSet::new();
        let mut from = Bound::Included(first.to_be_bytes().to_vec());
        loop {
            let to = after_prefix(&last.to_be_bytes());
            let range = Range { space: space.clone(), from, to, reverse: false, limit: VOIDS };
            let scanned = self.store.scan(self.partition, range).await.context("cannot read the store")?;
            let stands = scanned.head.filter(|head| head.log == self.id).map(|head| head.position.offset);
            ensure!(stands >= Some(last), "the store was put back behind offset {last}");
            keys.extend(scanned.entries.into_iter().map(|(key, _)| key));
            match keys.last().filter(|_| scanned.more) {
                Some(key) => from = Bound::Excluded(key.clone()),
                None => return Ok(keys),
            }
        }
    }

    fn happened(
        &self,
        offset: Offset,
        place: Place,
        commit: &Commit<'_>,
        event: &Event<'_>,
        data: &batch::Data<'_>,
    ) -> anyhow::Result<Happened> {
        let receipt = Receipt {
            partition: self.partition,
            writer: commit.writer,
            seq: commit.seq,
            command: place.command,
        };
        let id = EventId { receipt, index: place.index };
        let shown = data.text();
        let json = cloud_event(self.id, &id, commit.time, event.key.as_deref(), data.kind, shown)?;
        // The brace of the event itself comes after them.
        let end = json.len() - 1;
        Ok(Happened { kind: data.kind, offset, place, json, data: end - shown.len()..end })
    }
}

/// What does not count of some records, as the store has it.
struct Void {
    voids: BTreeSet<Blob>,
    unreadable: BTreeSet<Blob>,
}

impl Void {
    fn counted<'c>(
        &'c self,
        offset: Offset,
        commit: &'c Commit<'c>,
        data: &'c [Vec<Result<batch::Data<'c>, String>>],
    ) -> impl Iterator<Item = (Place, &'c Event<'c>, &'c batch::Data<'c>)> {
        let of_commit = offset.to_be_bytes().to_vec();
        let commands = (0..).zip(commit.commands.iter().zip(data));
        let commands = commands.filter(move |(command, _)| {
            !self.voids.contains(&of_commit) && !self.voids.contains(&place_of(offset, &[*command]))
        });
        let events = commands.flat_map(|(command, (on_wire, data))| {
            let events = (0..).zip(on_wire.events.iter().zip(data));
            events.map(move |(index, (event, data))| (Place { command, index }, event, data))
        });
        events.filter_map(move |(place, event, data)| {
            let key = place_of(offset, &[place.command, place.index]);
            let data = data.as_ref().ok().filter(|_| !self.unreadable.contains(&key))?;
            Some((place, event, data))
        })
    }
}

fn place_of(offset: Offset, within: &[u32]) -> Blob {
    let mut key = offset.to_be_bytes().to_vec();
    within.iter().for_each(|number| key.extend_from_slice(&number.to_be_bytes()));
    key
}

/// An event as it is told to the outside, the data at its end. Ids, times and type names need no escapes, and the data is JSON already.
fn cloud_event(
    log: Uuid,
    id: &EventId,
    time: Timestamp,
    key: Option<&str>,
    kind: &EventType,
    data: &str,
) -> anyhow::Result<String> {
    let kind = kind.name;
    let subject = match key {
        Some(key) => format!(r#""subject":{},"#, serde_json::to_string(key)?),
        None => String::new(),
    };
    let json = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"urn:uuid:{log}","type":"{kind}","time":"{time}",{subject}"datacontenttype":"application/json","data":{data}}}"#
    );
    // Between the values of JSON a line may end; within them it cannot.
    Ok(if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json })
}
