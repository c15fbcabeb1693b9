//! Picture registrations: a picture was weighed. A plain fact, of which there may be many for one picture.

use crate::decision::NewEvent;
use crate::schema::{EventType, Field, Kind};
use crate::validation::{FieldError, Form};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

/// How many characters a picture's id may have; today's have 12 digits.
pub const ID_CHARS: RangeInclusive<usize> = 1..=200;
/// What a picture may weigh, in grams. Producers send 20 to 4,999 and may be given larger scales; nothing weighs
/// nothing, and above a thousand tons it is a slip. Every sum of such weights stays far within 128 bits.
pub const WEIGHT_GRAMS: RangeInclusive<i64> = 1..=1_000_000_000;

/// A picture was registered. It has no key: a key promises the order of what is about it, and lives in one partition,
/// while registrations are counted and averaged, and a source brings all pictures in a partition of its own.
pub const REGISTERED: EventType = EventType {
    name: "picture.registered",
    fields: &[
        Field::new("picture_id", Kind::Text),
        Field::new("weight", Kind::Integer { max: *WEIGHT_GRAMS.end() }),
    ],
    has_key: false,
    aggregate: None,
    upcasters: &[],
};

/// The command to register a picture, and the data of the event that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Which picture.
    pub picture_id: String,
    /// What it weighs in grams.
    pub weight: i64,
}

impl Picture {
    /// Reads a request body.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let picture = Self {
            picture_id: form.text("picture_id", &ID_CHARS, &[]),
            weight: form.integer("weight", &WEIGHT_GRAMS),
        };
        form.finish(picture)
    }

    /// The event that records it.
    pub fn registered(&self) -> NewEvent {
        NewEvent::new(REGISTERED.name, None, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_picture_is_registered() {
        let picture = Picture::parse(&json!({"picture_id": "000000243626", "weight": 1778})).unwrap();
        let event = picture.registered();
        let expected = r#"{"picture_id":"000000243626","weight":1778}"#;
        assert_eq!((event.kind, event.data.get()), ("picture.registered", expected));
        assert!(event.key.is_none() && REGISTERED.read(event.data.get()).is_ok());
    }

    #[test]
    fn every_weight_that_is_taken_can_be_read_back() {
        for weight in [1, 20, 4_999, *WEIGHT_GRAMS.end()] {
            let picture = Picture::parse(&json!({"picture_id": "1", "weight": weight})).unwrap();
            assert!(REGISTERED.read(picture.registered().data.get()).is_ok(), "{weight}");
        }
    }

    #[test]
    fn what_is_no_registration() {
        let fields = |body: &Value| -> Vec<String> {
            Picture::parse(body).unwrap_err().into_iter().map(|error| error.field).collect()
        };
        assert_eq!(fields(&json!({})), ["picture_id", "weight"]);
        // An id is a text: as a number it would lose its zeros.
        assert_eq!(
            fields(&json!({"picture_id": 243626, "weight": 0, "grams": 1})),
            ["picture_id", "weight", "grams"]
        );
        for weight in [json!(-1), json!(0.5), json!("1778"), json!(null), json!(1_000_000_001)] {
            assert_eq!(fields(&json!({"picture_id": "1", "weight": weight})), ["weight"], "{weight}");
        }
    }
}
