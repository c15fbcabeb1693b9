//! What all commands share: who asks, under which key, and how that becomes a request to record something.

use super::headers::{idempotency_key, traceparent};
use super::ndjson::{Accepted, Created, Many, Sent};
use super::problem::Problem;
use crate::access::Caller;
use crate::commands::chunks::Chunk;
use crate::commands::{self, Recorded};
use crate::service::Service;
use anyhow::{Context, anyhow};
use poem::Request;
use poem_openapi::types::{ParseFromJSON, ToJSON};
use refold_domain::decision::{Decision, NewEvent};
use refold_domain::hash::{Hash, canonical};
use refold_domain::lines::{self, Lines};
use refold_domain::schema::EventType;
use refold_domain::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use uuid::Uuid;

/// Who asks when nobody says so.
const ANYBODY: &str = "";
/// The name space of ids that are made from a caller's key (RFC 9562, version 5).
const IDS: Uuid = Uuid::from_u128(0x5265_666f_6c64_4b65_7973_0000_0000_0001);

/// A caller's request to record something.
#[derive(Debug)]
pub struct Call {
    /// Who asks: keys of different people are different keys.
    caller: String,
    /// The method and path, with its parameters.
    route: String,
    key: Option<String>,
    trace: Option<String>,
}

impl Call {
    /// What the headers say about a request for `route`.
    ///
    /// # Errors
    /// Where a header cannot be read.
    pub fn of(request: &Request, route: impl Into<String>) -> Result<Self, Problem> {
        let caller = request.data::<Caller>().map_or(ANYBODY, |caller| &caller.id).to_owned();
        Ok(Self { caller, route: route.into(), key: idempotency_key(request)?, trace: traceparent(request) })
    }

    /// An id for what the server names: the same for the same key, so that a repeat finds the first command.
    pub fn new_id(&self) -> Uuid {
        match &self.key {
            Some(key) => named(&(&self.caller, &self.route, key)),
            None => Uuid::now_v7(),
        }
    }

    /// The method and path, with its parameters.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The request to record a fact, which rests on nothing: with a key it goes where the key says, without one anywhere.
    pub fn fact(&self, command: &impl Serialize) -> commands::Request {
        match self.key {
            Some(_) => self.request(self.new_id().to_string(), command, Vec::new()),
            None => self.anywhere(1),
        }
    }

    /// The chunks in which many facts are recorded. With a key the first goes where a single fact would, under the same
    /// name: so a key that was used for the one is not taken for the other. The others go where their number says.
    pub fn chunks(&self, lines: &Lines) -> Vec<Chunk> {
        let hash = lines.hash();
        let chunk = |(number, lines): (u32, Range<usize>)| {
            let hash = lines::chunk_hash(hash, number);
            let request = match &self.key {
                Some(key) if number > 0 => {
                    let id = named(&(&self.caller, &self.route, key, number)).to_string();
                    self.part(number, id, hash, Vec::new())
                }
                Some(_) => self.whole(self.new_id().to_string(), hash, Vec::new()),
                None => self.anywhere(lines.len()),
            };
            Chunk { lines, request }
        };
        (0..).zip(lines.chunks()).map(chunk).collect()
    }

    /// The request to execute `command` in the partition of `partition_key`, after a look at `streams`.
    pub fn request(
        &self,
        partition_key: String,
        command: &impl Serialize,
        streams: Vec<String>,
    ) -> commands::Request {
        self.whole(partition_key, Hash::of_command(command), streams)
    }

    /// The same for one of many commands in one body, told apart by the number of its line.
    pub fn line(
        &self,
        line: u32,
        partition_key: String,
        command: &impl Serialize,
        streams: Vec<String>,
    ) -> commands::Request {
        self.part(line, partition_key, Hash::of_command(command), streams)
    }

    fn whole(&self, partition_key: String, hash: Hash, streams: Vec<String>) -> commands::Request {
        let stream = |key: &String| stream::idempotency(&self.caller, &self.route, &partition_key, key);
        let idempotency = self.key.as_ref().map(stream);
        self.guarded(partition_key, idempotency, hash, streams)
    }

    fn part(&self, part: u32, partition_key: String, hash: Hash, streams: Vec<String>) -> commands::Request {
        let stream =
            |key: &String| stream::idempotency_of_part(&self.caller, &self.route, &partition_key, key, part);
        let idempotency = self.key.as_ref().map(stream);
        self.guarded(partition_key, idempotency, hash, streams)
    }

    fn guarded(
        &self,
        partition_key: String,
        idempotency: Option<String>,
        hash: Hash,
        streams: Vec<String>,
    ) -> commands::Request {
        commands::Request {
            partition_key: Some(partition_key),
            events: 1,
            idempotency,
            hash: Some(hash),
            trace: self.trace.clone(),
            streams,
        }
    }

    fn anywhere(&self, events: usize) -> commands::Request {
        commands::Request {
            partition_key: None,
            events,
            idempotency: None,
            hash: None,
            trace: self.trace.clone(),
            streams: Vec::new(),
        }
    }
}

/// An id that follows from a name.
fn named(name: &impl Serialize) -> Uuid {
    Uuid::new_v5(&IDS, canonical(name).as_bytes())
}

/// A fact that is on the log.
#[derive(Debug)]
pub struct Fact<T> {
    /// The id of its event.
    pub id: String,
    /// What it says.
    pub data: T,
}

/// Records what `route` was called with, about which there is nothing to decide, as events of this type. Answers a fact
/// as it is `shown`, and the receipts as one text.
///
/// # Errors
/// Where a header cannot be read, or something was not recorded.
pub async fn record_facts<T: Serialize + DeserializeOwned, S: ParseFromJSON + ToJSON>(
    service: &Service,
    request: &Request,
    route: &str,
    event: &EventType,
    sent: Sent<T>,
    shown: impl FnOnce(Fact<T>) -> S,
) -> Result<(Created<S>, String), Problem> {
    let call = Call::of(request, route)?;
    match sent {
        Sent::One(fact) => {
            let decide = |_: &_| {
                let events = vec![NewEvent::new(event.name, None, &fact)];
                Ok(Decision::Record { guards: Vec::new(), events })
            };
            let recorded = service.commands.execute(&call.fact(&fact), decide).await?;
            let id = recorded.events.first().map(|event| event.id.to_string()).unwrap_or_default();
            let shown = shown(Fact { id, data: data(&recorded)? });
            Ok((Created::One(shown), recorded.receipt.to_string()))
        }
        Sent::Many(Many { lines, .. }) => {
            let receipts = service.commands.record_facts(event, &lines, &call.chunks(&lines)).await?;
            let receipts: Vec<_> = receipts.iter().map(ToString::to_string).collect();
            let all = receipts.join(",");
            Ok((Created::Many(Accepted { accepted: lines.len(), receipts }), all))
        }
    }
}

/// The data of the only event of a command.
///
/// # Errors
/// Where the log holds another event than this command makes.
pub fn data<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, Problem> {
    let parse = || {
        let [event] = recorded.events.as_slice() else {
            return Err(anyhow!("it has {} events instead of one", recorded.events.len()));
        };
        serde_json::from_str(event.data.get()).context("its event has other data")
    };
    parse().map_err(|error| Problem::internal(format!("the command {} is odd: {error:#}", recorded.receipt)))
}
