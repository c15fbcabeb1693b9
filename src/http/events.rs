//! What happened, as it is on the log: every event of every accepted command, in pages and live.

use super::Tag;
use super::failure::{Failure, Following, Querying, Statuses};
use super::follow::{self, Lens};
use super::places::{NOW, START, begin, place};
use super::problem::Problem;
use super::reading::{PAGE_DEFAULT, wait_for_receipts};
use super::streams::{Sse, Streams};
use super::typed::{Form, Typed};
use crate::service::Service;
use crate::tail::Batch;
use bytes::Bytes;
use paging::Paging;
use poem::Request;
use poem_openapi::param::{Header, Query as Parameter};
use poem_openapi::payload::Json;
use poem_openapi::registry::MetaSchema;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::nearest;
use refold_domain::schema::{self, EventType};
use refold_projections::query;
use serde::Deserialize;
use std::sync::Arc;

mod paging;

/// The routes of what happened.
pub struct Events(pub Arc<Service>, pub Streams);

/// An event in the JSON format of CloudEvents 1.0.
#[derive(Debug, Object, Deserialize)]
struct CloudEvent {
    /// The version of CloudEvents
    specversion: String,
    /// `partition.writer.seq.command.index`
    id: String,
    /// The log, as `urn:uuid:` and its id
    source: String,
    /// What happened, such as `food.observed`
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// When it was recorded
    time: String,
    /// What it is about, where the type has such a thing
    #[oai(skip_serializing_if_is_none)]
    subject: Option<String>,
    /// The content type of the data
    datacontenttype: String,
    /// What is told of it
    data: serde_json::Value,
}

/// A page of events.
#[derive(Debug, Object)]
struct EventsPage {
    /// The events, those of a partition in the order of the log
    data: Vec<CloudEvent>,
    /// The cursor of the next page; none where everything up to the position was read
    #[oai(nullable)]
    next: Option<String>,
    /// How far the store had come in each partition
    position: String,
}

#[derive(ApiResponse)]
enum Page {
    /// A page of events
    #[oai(status = 200)]
    Events(Json<EventsPage>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
enum Live {
    /// Each event as a message: its data is the event, its id says from where to go on
    #[oai(status = 200)]
    Events(Sse),
}

/// Event types, as they were typed; which of them are none is told together with the nearest one.
#[derive(Debug)]
struct Types(String);

impl Form for Types {
    const NAME: &'static str = "string(event types)";
    const EXPECTED: &'static str = "event types such as food.observed, with commas between them";

    fn read(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn schema() -> MetaSchema {
        let known = known_types().collect::<Vec<_>>().join("|").replace('.', r"\.");
        MetaSchema { pattern: Some(format!("^({known})(,({known}))*$")), ..MetaSchema::new("string") }
    }
}

fn known_types() -> impl Iterator<Item = &'static str> + Clone {
    schema::EVENT_TYPES.iter().map(|kind| kind.name)
}

/// Which events are asked for.
#[derive(Debug, Clone)]
struct Wanted {
    /// All, where there is none.
    types: Vec<String>,
    partition: Option<u32>,
}

#[OpenApi(tag = "Tag::Events")]
impl Events {
    /// What happened
    ///
    /// The events of a partition come in the order of the log; between partitions no order is promised. A page may have
    /// fewer events than asked for, even none, and still a `next`: then it went through much that was not wanted.
    #[oai(path = "/events", method = "get")]
    async fn read(
        &self,
        request: &Request,
        /// Only events of these types
        #[oai(name = "type")]
        types: Parameter<Option<Typed<Types>>>,
        /// Only events of this partition
        #[oai(validator(minimum(value = "0"), maximum(value = "1023")))]
        partition: Parameter<Option<u32>>,
        /// Only what came after this: `start`, unless said, `now`, or a `Refold-Position`
        from: Parameter<Option<String>>,
        /// How many events to answer at most, 100 unless said
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// Where to go on: `next` of the last page
        cursor: Parameter<Option<String>>,
    ) -> Result<Page, Failure<Listing>> {
        let wanted = Wanted::read(types.0.as_ref(), partition.0, self.0.progress.partitions())?;
        let mut reached = wait_for_receipts(&self.0, request).await?;
        let from = from.0.unwrap_or_else(|| START.to_owned());
        let mut paging = match cursor.0 {
            Some(cursor) => Paging::resume(&self.0, &wanted, &from, &cursor)?,
            None => Paging::begin(begin(&self.0, "from", &from).await?),
        };
        // The store may have been put back behind what the client has seen of it.
        paging.note(&mut reached);
        let until = query::passed(&self.0.progress, &reached)?;
        let limit = limit.0.unwrap_or(PAGE_DEFAULT) as usize;
        let data = paging.page(self.0.tail.sources(), &wanted, &until.clone().into(), limit).await?;
        // Now, so that all that was read is known to be borne out by the log.
        query::verified(&self.0.progress)?;
        let is_more = !paging.is_done(&wanted, &until.clone().into());
        let next = is_more.then(|| paging.cursor(&self.0, &wanted, &from));
        let position = until.to_string();
        Ok(Page::Events(Json(EventsPage { data, next, position: position.clone() }), position))
    }

    /// What happens, as it happens
    ///
    /// A stream (SSE). Each message is an event; its `id` is a `Refold-Position`, and within a commit also says after
    /// which event. Who comes back with it as `Last-Event-ID` misses nothing and gets nothing twice, however long it
    /// was away. Comments keep the stream alive. A client that reads too slowly is told so (`event: dropped`) and
    /// dropped.
    #[oai(path = "/events/live", method = "get")]
    async fn live(
        &self,
        request: &Request,
        /// Only events of these types
        #[oai(name = "type")]
        types: Parameter<Option<Typed<Types>>>,
        /// Only events of this partition
        #[oai(validator(minimum(value = "0"), maximum(value = "1023")))]
        partition: Parameter<Option<u32>>,
        /// Only what comes after this: `now`, unless said, `start`, or a `Refold-Position`
        from: Parameter<Option<String>>,
        /// Where an earlier stream ended: the id of its last message; it wins over `from`
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
    ) -> Result<Live, Failure<Following>> {
        let wanted = Wanted::read(types.0.as_ref(), partition.0, self.0.progress.partitions())?;
        let last = last.0.filter(|id| !id.is_empty());
        let reading = match (last.as_deref(), from.0.as_deref()) {
            (Some(id), _) => Some(place(&self.0, "Last-Event-ID", id).await?),
            // As soon as it is known where that is.
            (None, None | Some(NOW)) => None,
            (None, Some(from)) => Some(begin(&self.0, "from", from).await?),
        };
        Ok(Live::Events(follow::open(&self.0.tail, &self.1, request, wanted, reading)?))
    }
}

/// Queries for what happened.
#[derive(Debug)]
pub struct Listing;

impl Statuses for Listing {
    const STATUSES: &'static [(u16, &'static str)] = &[
        Querying::STATUSES[0],
        (410, "The position or cursor belongs to another log, or to what this one has lost"),
        Querying::STATUSES[1],
        Querying::STATUSES[2],
    ];
}

impl Wanted {
    fn read(types: Option<&Typed<Types>>, partition: Option<u32>, partitions: u32) -> Result<Self, Problem> {
        let types = types.iter().flat_map(|Typed(Types(types))| types.split(','));
        let types: Vec<String> = types.map(str::to_owned).collect();
        if let Some(unknown) = types.iter().find(|name| !known_types().any(|known| known == *name)) {
            let reason = nearest::unknown("event type", unknown, known_types());
            return Err(Problem::parameter("type", reason));
        }
        if partition.is_some_and(|partition| partition >= partitions) {
            return Err(Problem::parameter("partition", format!("must be from 0 to {}", partitions - 1)));
        }
        Ok(Self { types, partition })
    }
}

impl Lens for Wanted {
    fn has_partition(&self, partition: u32) -> bool {
        self.partition.is_none_or(|wanted| wanted == partition)
    }

    fn has_type(&self, kind: &EventType) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind.name)
    }

    fn show(&self, batch: &Batch) -> Bytes {
        if self.types.is_empty() {
            return batch.text.clone();
        }
        let events = batch.events().filter(|event| self.has_type(event.kind));
        events.map(|event| event.text).collect::<String>().into()
    }
}
