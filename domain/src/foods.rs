//! Foods: somebody ate something. A plain fact, with nothing to decide but whether it is one.

use crate::decision::NewEvent;
use crate::schema::{EventType, Field, Kind};
use crate::validation::{FieldError, Form};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

/// How many characters a food's name may have.
pub const FOOD_CHARS: RangeInclusive<usize> = 1..=200;

/// A food was observed.
pub const OBSERVED: EventType = EventType {
    name: "food.observed",
    fields: &[Field::new("food", Kind::Text)],
    has_key: false,
    aggregate: None,
    upcasters: &[],
};

/// The command to record that a food was observed, and the data of the event that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Food {
    /// What was eaten.
    pub food: String,
}

impl Food {
    /// Reads a request body.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let food = form.text("food", &FOOD_CHARS, &[]);
        form.finish(Self { food })
    }

    /// The event that records it.
    pub fn observed(&self) -> NewEvent {
        NewEvent::new(OBSERVED.name, None, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_food_is_observed() {
        let pie = Food::parse(&json!({"food": "pie"})).unwrap();
        let event = pie.observed();
        assert_eq!((event.kind, event.data.get()), ("food.observed", r#"{"food":"pie"}"#));
        assert!(OBSERVED.read(event.data.get()).is_ok());
    }

    #[test]
    fn what_is_no_food() {
        for body in [
            json!({}),
            json!({"food": ""}),
            json!({"food": 1}),
            json!({"food": "a\u{0}"}),
            json!({"food": "x".repeat(201)}),
        ] {
            let errors = Food::parse(&body).unwrap_err();
            assert_eq!(errors[0].field, "food", "{body}");
        }
    }
}
