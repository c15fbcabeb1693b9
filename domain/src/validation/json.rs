//! Reading JSON in which every name stands once: of two values under one name, one would be lost without a word.

use super::errors::{Errors, FieldError, shown};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Why a text is no JSON that can be taken.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no JSON.
    Syntax(serde_json::Error),
    /// These names stand twice in one object.
    Repeated(Vec<FieldError>),
}

/// Reads a JSON text.
///
/// # Errors
/// [`Unreadable`]
pub fn read(text: &[u8]) -> Result<Value, Unreadable> {
    let repeated = RefCell::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = Place { above: None, repeated: &repeated }.deserialize(&mut json);
    let value = read.and_then(|value| json.end().map(|()| value)).map_err(Unreadable::Syntax)?;
    let repeated = repeated.into_inner();
    if repeated.is_empty() { Ok(value) } else { Err(Unreadable::Repeated(repeated.told())) }
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    above: Option<(&'p Place<'p>, Step<'p>)>,
    repeated: &'p RefCell<Errors>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    fn below(&'p self, step: Step<'p>) -> Self {
        Self { above: Some((self, step)), repeated: self.repeated }
    }

    fn path(&self) -> String {
        let Some((above, step)) = self.above else {
            return String::new();
        };
        match (above.path(), step) {
            (above, Step::Index(index)) => format!("{above}[{index}]"),
            (above, Step::Name(name)) if above.is_empty() => shown(name),
            (above, Step::Name(name)) => format!("{above}.{}", shown(name)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.below(Step::Index(values.len())))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(self.below(Step::Name(&name)))?;
            match object.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(value);
                }
                Entry::Occupied(twice) => self.repeated.borrow_mut().push(|| FieldError {
                    field: self.below(Step::Name(twice.key())).path(),
                    reason: "is given more than once".into(),
                }),
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::ERRORS_MAX;
    use proptest::prelude::*;

    fn repeated(text: &str) -> Vec<String> {
        match read(text.as_bytes()) {
            Err(Unreadable::Repeated(errors)) => errors.into_iter().map(|error| error.field).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_name_stands_once() {
        assert_eq!(repeated(r#"{"food": "pie", "food": "cake"}"#), ["food"]);
        assert_eq!(
            repeated(r#"{"a": 1, "\u0061": 1, "b": {"c": [{}, {"d": 1, "d": 1}]}}"#),
            ["a", "b.c[1].d"]
        );
        assert_eq!(repeated(r#"[[{"": 1, "": 2}]]"#), ["[0][0]."]);
        assert!(read(br#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}"#).is_ok());
    }

    #[test]
    fn no_more_are_named_than_anybody_reads() {
        let text = format!("{{{}\"a\": 1}}", r#""a": 1,"#.repeat(1_000));
        let Err(Unreadable::Repeated(errors)) = read(text.as_bytes()) else { panic!("it was read") };
        assert_eq!((errors.len(), errors[ERRORS_MAX].reason.as_str()), (101, "has 900 more bad fields"));
    }

    #[test]
    fn what_is_no_json() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{}}", "[1,]", "nul", "\u{feff}{}", "1e400", &deep] {
            assert!(matches!(read(text.as_bytes()), Err(Unreadable::Syntax(_))), "{text:.40}");
        }
    }

    proptest! {
        /// It reads what the library's own reader does, but for names that stand twice.
        #[test]
        fn it_reads_as_the_library_does(text in r#"([\[\]{}:,"0-9a-c.e-]|"[a-c]":|null|true){0,40}"#) {
            let library = serde_json::from_slice::<Value>(text.as_bytes()).ok();
            match read(text.as_bytes()) {
                Ok(value) => prop_assert_eq!(Some(value), library),
                Err(Unreadable::Syntax(_)) => prop_assert_eq!(None, library),
                Err(Unreadable::Repeated(_)) => prop_assert!(library.is_some()),
            }
        }
    }
}
