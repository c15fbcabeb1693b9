//! Ice-cream purchases: a purchase is recorded once, whoever repeats it; its id is guarded for ever.

use crate::commit::Guard;
use crate::decision::{Decision, NewEvent, Rejection};
use crate::hash::Hash;
use crate::schema::{EventType, Field, Kind};
use crate::validation::{FieldError, Form};
use crate::{stream, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// The system's name in streams.
pub const SYSTEM: &str = "purchase";
/// The flavours on sale.
pub const FLAVOURS: [&str; 7] =
    ["banana", "chocolate", "lemon", "pistachio", "raspberry", "strawberry", "vanilla"];
/// How many scoops one purchase may list.
pub const SCOOPS: RangeInclusive<usize> = 1..=1_000;
/// How many scoops of one flavour.
pub const QUANTITY: RangeInclusive<i64> = 1..=1_000_000;
/// The price of a scoop in cents.
pub const PRICE_CENTS: RangeInclusive<i64> = 1..=1_000_000_000;

/// A purchase was recorded; its key is the purchase's id.
pub const RECORDED: EventType = EventType {
    name: "purchase.recorded",
    fields: &[
        Field::new("shop_id", Kind::Text),
        Field::new("purchase_id", Kind::Text),
        Field::new("timestamp", Kind::Time),
        Field::new("scoops", Kind::Objects(SCOOP)),
    ],
    has_key: true,
    aggregate: None,
    upcasters: &[],
};

/// The fields of a scoop.
const SCOOP: &[Field] = &[
    Field::new("type", Kind::Text),
    Field::new("quantity", Kind::Integer { max: *QUANTITY.end() }),
    Field::new("price", Kind::Integer { max: *PRICE_CENTS.end() }),
];

/// The command to record a purchase, and the data of the event that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// The shop.
    pub shop_id: Uuid,
    /// The purchase's own id; one id is one purchase.
    pub purchase_id: Uuid,
    /// When it was made.
    pub timestamp: Timestamp,
    /// What was bought.
    pub scoops: Vec<Scoop>,
}

/// Scoops of one flavour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoop {
    /// One of [`FLAVOURS`].
    #[serde(rename = "type")]
    pub flavour: String,
    /// How many.
    pub quantity: i64,
    /// Each one's price in cents.
    pub price: i64,
}

impl Purchase {
    /// Reads a request body.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let purchase = Self {
            shop_id: form.uuid("shop_id"),
            purchase_id: form.uuid("purchase_id"),
            timestamp: form.with("timestamp", timestamp),
            scoops: form.list("scoops", &SCOOPS, Scoop::read),
        };
        form.finish(purchase)
    }

    /// The stream that guards the purchase's id.
    pub fn stream(&self) -> String {
        stream::name(SYSTEM, &self.key())
    }

    /// The partition key, and the key of the event: the purchase's id.
    pub fn key(&self) -> String {
        self.purchase_id.to_string()
    }

    /// Decides about a purchase, given the hash of the one recorded under its id, if there is one.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] where another purchase has the same id.
    pub fn decide(&self, recorded: Option<Hash>) -> Result<Decision, Rejection> {
        match recorded {
            None => Ok(Decision::Record {
                guards: vec![Guard::step(self.stream(), 0)],
                events: vec![NewEvent::new(RECORDED.name, Some(self.key()), self)],
            }),
            Some(hash) if hash == Hash::of_command(self) => Ok(Decision::Repeat { stream: self.stream() }),
            Some(_) => Err(Rejection::Conflict(format!(
                "purchase {} is recorded already, with other contents",
                self.purchase_id
            ))),
        }
    }
}

impl Scoop {
    fn read(form: &mut Form<'_>) -> Self {
        Self {
            flavour: form.with("type", flavour),
            quantity: form.integer("quantity", &QUANTITY),
            price: form.integer("price", &PRICE_CENTS),
        }
    }
}

fn flavour(value: &Value) -> Result<String, String> {
    let known = value.as_str().filter(|text| FLAVOURS.contains(text));
    known.map(str::to_owned).ok_or_else(|| format!("must be one of {}", FLAVOURS.join(", ")))
}

fn timestamp(value: &Value) -> Result<Timestamp, String> {
    let text = value.as_str().ok_or("must be a time")?;
    time::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({
            "shop_id": "91E1A2DB-9C1C-4B3E-9F0A-1C1E4E4D0001",
            "purchase_id": "91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0002",
            "timestamp": "2021-12-28 12:00:00+00",
            "scoops": [{"type": "chocolate", "quantity": 2, "price": 200}],
        })
    }

    fn purchase() -> Purchase {
        Purchase::parse(&body()).unwrap()
    }

    #[test]
    fn given_nothing_when_recorded_then_recorded() {
        let Ok(Decision::Record { guards, events }) = purchase().decide(None) else {
            panic!("not recorded");
        };
        assert_eq!(guards, [Guard::step(purchase().stream(), 0)]);
        assert_eq!(
            events[0].data.get(),
            r#"{"shop_id":"91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0001","purchase_id":"91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0002","timestamp":"2021-12-28T12:00:00Z","scoops":[{"type":"chocolate","quantity":2,"price":200}]}"#
        );
        assert!(RECORDED.read(events[0].data.get()).is_ok());
    }

    #[test]
    fn given_the_same_when_recorded_then_repeated() {
        let mut spelt_otherwise = body();
        spelt_otherwise["timestamp"] = json!("2021-12-28T14:00:00+02:00");
        let again = Purchase::parse(&spelt_otherwise).unwrap();
        let decision = again.decide(Some(Hash::of_command(&purchase())));
        assert!(matches!(decision, Ok(Decision::Repeat { stream }) if stream == purchase().stream()));
    }

    #[test]
    fn given_another_when_recorded_then_conflict() {
        let mut other = body();
        other["scoops"][0]["price"] = json!(201);
        let other = Purchase::parse(&other).unwrap();
        let decision = other.decide(Some(Hash::of_command(&purchase())));
        assert!(matches!(decision, Err(Rejection::Conflict(_))));
    }

    #[test]
    fn every_bad_field_is_named() {
        let body = json!({
            "shop_id": "x", "purchase_id": 5, "timestamp": "noon",
            "scoops": [{"type": "mud", "quantity": 0, "price": -1}],
        });
        let fields: Vec<_> =
            Purchase::parse(&body).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            [
                "shop_id",
                "purchase_id",
                "timestamp",
                "scoops[0].type",
                "scoops[0].quantity",
                "scoops[0].price"
            ]
        );
    }

    #[test]
    fn a_purchase_needs_a_scoop() {
        let mut empty = body();
        empty["scoops"] = json!([]);
        assert_eq!(Purchase::parse(&empty).unwrap_err()[0].field, "scoops");
    }
}
