//! A batch of records on its way into the store: read, planned, judged, folded.
//!
//! First every event is read once ([`read`]) and given the cells that it goes into, so that all keys that the batch
//! needs are known and one look at the store brings them. Then the gate judges command after command, and the
//! events of those that count are folded. What comes out is one [`Flush`](crate::store::Flush).

mod fold;
mod read;

pub use fold::{Folded, News, refused_key};
pub use read::{Record, commands, read};

use crate::catalogue::Projection;
use crate::gate::Place;
use crate::state::Head;
use crate::store::{Blob, Loaded, Space, Wanted};
use crate::view::{Event, Item};
pub(crate) use read::{Content, Data};
use refold_domain::commit::Commit;
use refold_domain::receipt::{EventId, Receipt};
use refold_domain::stream;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// A batch that knows which keys it needs.
#[derive(Debug)]
pub struct Batch<'d> {
    place: Place,
    records: &'d [Record<'d>],
    projections: &'d [Projection],
    /// By record that is a commit, by command.
    plans: Vec<Vec<Vec<Plan<'d>>>>,
    slots: Slots,
    expired: Vec<(u64, String)>,
}

/// An event and the cells that it goes into, or why it cannot be read.
#[derive(Debug)]
enum Plan<'d> {
    /// `items` are its places among the slots, each with the number of the object that goes there.
    Fold {
        event: Event<'d>,
        aggregate: Option<Change<'d>>,
        items: Vec<(usize, usize)>,
    },
    Skip(EventId, Cow<'d, str>),
}

/// What an event means to its aggregate.
struct Change<'d> {
    stream: String,
    /// The event's data, with private fields.
    whole: &'d str,
}

/// The cells of a batch, each once.
#[derive(Debug, Default)]
struct Slots {
    places: HashMap<(usize, Blob), usize>,
    keys: Vec<(usize, Blob)>,
}

impl<'d> Batch<'d> {
    /// Plans where each event goes on top of `head`. `expired` are idempotency keys that are old enough to be
    /// swept away.
    pub fn plan(
        place: Place,
        head: &Head,
        projections: &'d [Projection],
        records: &'d [Record<'d>],
        expired: Vec<(u64, String)>,
    ) -> Self {
        let live = projections.iter().enumerate();
        let live: Vec<_> = live.filter(|(_, projection)| projection.is_live(head)).collect();
        let mut slots = Slots::default();
        let plans = records.iter().map(|record| match &record.content {
            Content::Commit(commit, events) => plan_commit(place, &live, &mut slots, commit, events),
            Content::Opening | Content::Foreign => Vec::new(),
        });
        let plans = plans.collect();
        Self { place, records, projections, plans, slots, expired }
    }

    /// The keys that judging and folding the batch need.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::new();
        let mut want = |space, key| wanted.entry(space).or_default().push(key);
        for (record, plans) in self.records.iter().zip(&self.plans) {
            let Content::Commit(commit, _) = &record.content else {
                continue;
            };
            want(Space::Writers, commit.writer.as_bytes().to_vec());
            let guards = commit.commands.iter().flat_map(|command| &command.guards);
            guards.for_each(|guard| want(Space::Streams, guard.stream.as_bytes().to_vec()));
            let aggregates = plans.iter().flatten().filter_map(Plan::aggregate);
            aggregates.for_each(|stream| want(Space::Streams, stream.as_bytes().to_vec()));
        }
        self.expired.iter().for_each(|(_, stream)| want(Space::Streams, stream.as_bytes().to_vec()));
        for (projection, key) in &self.slots.keys {
            let projection = &self.projections[*projection];
            if projection.view.reads_before() {
                want(projection.space(), key.clone());
            }
        }
        for keys in wanted.values_mut() {
            keys.sort_unstable();
            keys.dedup();
        }
        wanted
    }

    /// Judges and folds the batch on top of `head`, with what was loaded of the keys that it wanted.
    ///
    /// # Errors
    /// Where the store holds what cannot be read. A projection that cannot fold an event is no error: it leaves
    /// the live set.
    pub fn fold(&self, head: &Head, loaded: &Loaded) -> anyhow::Result<Folded> {
        fold::fold(self, head, loaded)
    }
}

fn plan_commit<'d>(
    place: Place,
    live: &[(usize, &Projection)],
    slots: &mut Slots,
    commit: &'d Commit<'d>,
    events: &'d [Vec<Result<Data<'d>, String>>],
) -> Vec<Vec<Plan<'d>>> {
    let mut planned = Vec::with_capacity(events.len());
    for (command, (on_wire, read)) in (0..).zip(commit.commands.iter().zip(events)) {
        let receipt = Receipt { partition: place.partition, writer: commit.writer, seq: commit.seq, command };
        let mut plans = Vec::with_capacity(read.len());
        for (index, (event, data)) in (0..).zip(on_wire.events.iter().zip(read)) {
            let id = EventId { receipt, index };
            plans.push(match data {
                Ok(data) => Plan::new(live, slots, id, commit, event.key.as_deref(), data),
                Err(reason) => Plan::Skip(id, Cow::Borrowed(reason)),
            });
        }
        planned.push(plans);
    }
    planned
}

impl<'d> Plan<'d> {
    fn new(
        live: &[(usize, &Projection)],
        slots: &mut Slots,
        id: EventId,
        commit: &Commit<'_>,
        key: Option<&'d str>,
        data: &'d Data<'d>,
    ) -> Self {
        let kind = data.kind;
        let values = match kind.read(data.whole()) {
            Ok(values) => values,
            Err(unreadable) => return Self::Skip(id, Cow::Owned(unreadable.to_string())),
        };
        if kind.has_key && key.is_none() {
            return Self::Skip(id, Cow::Borrowed("it has no key"));
        }
        let aggregate = kind.aggregate.as_ref().zip(key);
        let aggregate = aggregate.map(|(aggregate, key)| Change {
            stream: stream::name(aggregate.system, key),
            whole: data.whole(),
        });
        let event = Event { id, time: commit.time, kind, key, data: data.text(), values };
        if let Err(error) = event.check() {
            return Self::Skip(id, Cow::Owned(error.to_string()));
        }
        let mut items = Vec::new();
        for (index, projection) in live {
            for element in projection.elements(kind, &event.values) {
                let key = projection.view.key(&Item { event: &event, element });
                items.extend(key.map(|key| (slots.place(*index, key), element)));
            }
        }
        Self::Fold { event, aggregate, items }
    }

    fn aggregate(&self) -> Option<&str> {
        match self {
            Self::Fold { aggregate, .. } => aggregate.as_ref().map(|change| change.stream.as_str()),
            Self::Skip(..) => None,
        }
    }
}

/// Who looks for a mistake must not find secrets.
impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)
    }
}

impl Slots {
    fn place(&mut self, projection: usize, key: Blob) -> usize {
        let next = self.keys.len();
        let place = *self.places.entry((projection, key.clone())).or_insert(next);
        if place == next {
            self.keys.push((projection, key));
        }
        place
    }
}
