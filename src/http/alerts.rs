//! Alerts: each suspicious vehicle as it is detected, to everybody who listens.
//!
//! What is suspicious is what the view `suspicious_vehicles` takes. But alerts follow the events and not the view: one that is
//! folded anew would raise all of them again.

use super::Tag;
use super::failure::{Failure, Following};
use super::follow::{self, Lens};
use super::places::place;
use super::streams::{Sse, Streams};
use crate::service::Service;
use crate::tail::{Batch, Told};
use bytes::Bytes;
use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::{ApiResponse, OpenApi};
use refold_domain::schema::EventType;
use refold_projections::definition::Definition;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// The projection that says which detections are suspicious.
const SUSPICIOUS: &str = "suspicious_vehicles";

/// The route of the alerts.
pub struct Alerts {
    service: Arc<Service>,
    streams: Streams,
    watched: Watched,
}

#[derive(ApiResponse)]
enum Live {
    /// Each alert as a message: `event: alert`, its data is the detection, its id says from where to go on
    #[oai(status = 200)]
    Alerts(Sse),
}

/// The detections that raise an alert.
#[derive(Clone)]
struct Watched(Arc<Definition>);

/// A detection: read as it was recorded, written as producers do.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all(serialize = "PascalCase"))]
struct Detection<'d> {
    year: i64,
    #[serde(borrow)]
    make: Cow<'d, str>,
    #[serde(borrow)]
    model: Cow<'d, str>,
    #[serde(borrow)]
    category: Cow<'d, str>,
}

impl Alerts {
    /// The route.
    ///
    /// # Panics
    /// Never: a service without the projection does not start.
    pub fn new(service: &Arc<Service>, streams: Streams) -> Self {
        let watching =
            service.projection(SUSPICIOUS).expect("a definition that a route is built on is there");
        let watched = Watched(Arc::new(watching.definition.clone()));
        Self { service: Arc::clone(service), streams, watched }
    }
}

#[OpenApi(tag = "Tag::Detections")]
impl Alerts {
    /// Suspicious vehicles, as they are detected
    ///
    /// A stream (SSE) of the detections that the view `suspicious_vehicles` takes, from now on. Each message
    /// (`event: alert`) has one of them as its data, `{"Year", "Make", "Model", "Category"}`, and an `id`: who comes back
    /// with it as `Last-Event-ID` misses no alert and gets none twice, however long it was away. Those of a partition
    /// come in the order of the log. Comments keep the stream alive. A client that reads too slowly is told so
    /// (`event: dropped`) and dropped.
    #[oai(path = "/alerts", method = "get")]
    async fn follow(
        &self,
        request: &Request,
        /// Where an earlier stream ended: the id of its last message
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
    ) -> Result<Live, Failure<Following>> {
        let reading = match last.0.filter(|id| !id.is_empty()) {
            Some(id) => Some(place(&self.service, "Last-Event-ID", &id).await?),
            None => None,
        };
        let (tail, watched) = (&self.service.tail, self.watched.clone());
        Ok(Live::Alerts(follow::open(tail, &self.streams, request, watched, reading)?))
    }
}

impl Lens for Watched {
    fn has_type(&self, kind: &EventType) -> bool {
        self.0.is_on(kind)
    }

    fn show(&self, batch: &Batch) -> Bytes {
        let written = || batch.events().filter_map(|event| self.alert(&event)).collect::<String>().into();
        batch.alerts.get_or_init(written).clone()
    }
}

impl Watched {
    /// The alert that an event raises, if it raises any.
    fn alert(&self, event: &Told<'_>) -> Option<String> {
        let Told { kind, id, data, .. } = event;
        if !self.has_type(kind) {
            return None;
        }
        let detection = self.detection(kind, data).unwrap_or_else(|error| {
            // What the store says can be read was read before, by the same rules.
            tracing::error!(id, "a detection raises no alert, for it cannot be read: {error:#}");
            None
        })?;
        Some(format!("id: {id}\nevent: alert\ndata: {detection}\n\n"))
    }

    /// A detection as producers write it, if it is suspicious.
    fn detection(&self, kind: &EventType, data: &str) -> anyhow::Result<Option<String>> {
        if self.0.elements(kind, &kind.read(data)?).next().is_none() {
            return Ok(None);
        }
        let detection: Detection<'_> = serde_json::from_str(data)?;
        Ok(Some(serde_json::to_string(&detection)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refold_domain::detections::DETECTED;

    #[test]
    fn an_alert_is_the_detection_as_it_was_sent() {
        let text = "name = 'x'\non = 'vehicle.detected'\nwhere = { category = 'SUV', year = { min = 2000 } }\ncount = {}";
        let watched = Watched(Arc::new(Definition::parse("x.toml", "x", text).unwrap()));
        let detection = |data: &str| watched.detection(&DETECTED, data).unwrap();
        let data =
            |year: u32| format!(r#"{{"year":{year},"make":"Škoda","model":"\"x\"\n","category":"SUV"}}"#);
        let sent = r#"{"Year":2011,"Make":"Škoda","Model":"\"x\"\n","Category":"SUV"}"#;
        assert_eq!((detection(&data(2011)).as_deref(), detection(&data(1999))), (Some(sent), None));
        assert_eq!(detection(&data(2011).replace("SUV", "SUV, Wagon")), None);
    }
}
