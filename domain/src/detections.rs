//! Vehicle detections: a camera saw a vehicle. A plain fact; who watches for some of them asks a view.

use crate::decision::NewEvent;
use crate::schema::{EventType, Field, Kind};
use crate::validation::{FieldError, Form};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

/// The model years that a vehicle may have: from the first car on, and as far ahead as nobody builds one yet.
pub const YEARS: RangeInclusive<i64> = 1886..=2100;
/// How many characters make, model and category may have; the longest known have 13, 40 and 36.
pub const NAME_CHARS: RangeInclusive<usize> = 1..=200;

/// A vehicle was detected. It has no key: nothing tells whether two detections are of the same vehicle.
pub const DETECTED: EventType = EventType {
    name: "vehicle.detected",
    fields: &[
        Field::new("year", Kind::Integer { max: *YEARS.end() }),
        Field::new("make", Kind::Text),
        Field::new("model", Kind::Text),
        Field::new("category", Kind::Text),
    ],
    has_key: false,
    aggregate: None,
    upcasters: &[],
};

/// The command to record that a vehicle was detected, and the data of the event that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// The model year.
    pub year: i64,
    /// Who built it.
    pub make: String,
    /// What its builder calls it.
    pub model: String,
    /// What kind of vehicle it is: one name, such as `SUV`, or several after commas.
    pub category: String,
}

impl Detection {
    /// Reads a request body. Producers write `Year`, `Make`, `Model` and `Category`; everybody else writes names in
    /// lower case. Each field is taken under either name, but not under both.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let year = form.either("year", "Year");
        let make = form.either("make", "Make");
        let model = form.either("model", "Model");
        let category = form.either("category", "Category");
        let detection = Self {
            year: form.integer(year, &YEARS),
            make: form.text(make, &NAME_CHARS, &[]),
            model: form.text(model, &NAME_CHARS, &[]),
            category: form.text(category, &NAME_CHARS, &[]),
        };
        form.finish(detection)
    }

    /// The event that records it.
    pub fn detected(&self) -> NewEvent {
        NewEvent::new(DETECTED.name, None, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use serde_json::json;

    fn errors(body: &Value) -> Vec<String> {
        Detection::parse(body).unwrap_err().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_vehicle_is_detected() {
        let sent = json!({"Year": 2011, "Make": "Toyota", "Model": "Land Cruiser", "Category": "SUV"});
        let event = Detection::parse(&sent).unwrap().detected();
        let expected = r#"{"year":2011,"make":"Toyota","model":"Land Cruiser","category":"SUV"}"#;
        assert_eq!((event.kind, event.data.get()), ("vehicle.detected", expected));
        assert!(event.key.is_none() && DETECTED.read(event.data.get()).is_ok());
    }

    #[test]
    fn the_same_in_either_spelling_is_the_same_command() {
        let hash = |body: Value| Hash::of_command(&Detection::parse(&body).unwrap());
        let capitals = hash(json!({"Year": 2020, "Make": "Audi", "Model": "Q3", "Category": "SUV"}));
        let lower = hash(json!({"category": "SUV", "model": "Q3", "make": "Audi", "year": 2020.0}));
        let each_its_own = hash(json!({"Year": 2020, "make": "Audi", "Model": "Q3", "category": "SUV"}));
        assert_eq!((capitals, capitals), (lower, each_its_own));
    }

    #[test]
    fn a_field_has_one_name() {
        let both =
            json!({"Year": 2020, "year": 2020, "make": "Audi", "Make": 5, "model": "Q3", "category": "SUV"});
        assert_eq!(errors(&both), ["Year", "Make"]);
        let bad_in_both = json!({"Year": 2020, "year": 0, "make": "Audi", "model": "Q3", "category": "SUV"});
        assert_eq!(errors(&bad_in_both), ["Year", "year"]);
    }

    #[test]
    fn every_bad_field_is_named_as_it_was_sent() {
        assert_eq!(errors(&json!({})), ["year", "make", "model", "category"]);
        let bad =
            json!({"Year": 1885, "Make": "", "model": "x".repeat(201), "Category": "a\u{0}", "YEAR": 2020});
        assert_eq!(errors(&bad), ["Year", "Make", "model", "Category", "YEAR"]);
        for year in [json!(null), json!("2020"), json!(2020.5), json!(2101), json!(1e30), json!([])] {
            let bad = json!({"year": year, "make": "Audi", "model": "Q3", "category": "SUV"});
            assert_eq!(errors(&bad), ["year"], "{bad}");
        }
    }
}
