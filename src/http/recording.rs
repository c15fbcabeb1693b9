//! What all commands share: who asks, under which key, and how that becomes a request to record something.

use super::headers::{idempotency_key, traceparent};
use super::problem::Problem;
use crate::commands::{self, Recorded};
use crate::service::Service;
use anyhow::{Context, anyhow};
use poem::Request;
use refold_domain::decision::{Decision, NewEvent};
use refold_domain::hash::{Hash, canonical};
use refold_domain::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Who asks when nobody has to say so.
const ANYBODY: &str = "";
/// The name space of ids that are made from a caller's key (RFC 9562, version 5).
const IDS: Uuid = Uuid::from_u128(0x5265_666f_6c64_4b65_7973_0000_0000_0001);

/// A caller's request to record something.
#[derive(Debug)]
pub struct Call {
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
        Ok(Self { route: route.into(), key: idempotency_key(request)?, trace: traceparent(request) })
    }

    /// An id for what the server names: the same for the same key, so that a repeat finds the first command.
    pub fn new_id(&self) -> Uuid {
        match &self.key {
            Some(key) => Uuid::new_v5(&IDS, canonical(&(ANYBODY, &self.route, key)).as_bytes()),
            None => Uuid::now_v7(),
        }
    }

    /// The request to record a fact, which rests on nothing: with a key it goes where the key says, without one anywhere.
    pub fn fact(self, command: &impl Serialize) -> commands::Request {
        if self.key.is_some() {
            let partition_key = self.new_id().to_string();
            return self.request(partition_key, command, Vec::new());
        }
        let Self { trace, .. } = self;
        commands::Request { partition_key: None, idempotency: None, hash: None, trace, streams: Vec::new() }
    }

    /// The request to execute `command` in the partition of `partition_key`, after a look at `streams`.
    pub fn request(
        self,
        partition_key: String,
        command: &impl Serialize,
        streams: Vec<String>,
    ) -> commands::Request {
        let stream = |key: &String| stream::idempotency(ANYBODY, &self.route, &partition_key, key);
        commands::Request {
            idempotency: self.key.as_ref().map(stream),
            hash: Some(Hash::of_command(command)),
            trace: self.trace,
            partition_key: Some(partition_key),
            streams,
        }
    }
}

/// A fact that is on the log.
#[derive(Debug)]
pub struct Fact<T> {
    /// The id of its event.
    pub id: String,
    /// What it says.
    pub data: T,
    /// The receipt of the command.
    pub receipt: String,
}

/// Records a fact that `route` was called with, about which there is nothing to decide, as the event that it makes.
///
/// # Errors
/// Where a header cannot be read, or the fact was not recorded.
pub async fn record_fact<T: Serialize + DeserializeOwned>(
    service: &Service,
    request: &Request,
    route: &str,
    fact: &T,
    event: impl Fn() -> NewEvent,
) -> Result<Fact<T>, Problem> {
    let request = Call::of(request, route)?.fact(fact);
    let decide = |_: &_| Ok(Decision::Record { guards: Vec::new(), events: vec![event()] });
    let recorded = service.commands.execute(&request, decide).await?;
    let id = recorded.events.first().map(|event| event.id.to_string()).unwrap_or_default();
    Ok(Fact { id, data: data(&recorded)?, receipt: recorded.receipt.to_string() })
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
