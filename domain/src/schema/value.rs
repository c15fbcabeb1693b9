//! Reads an event's data back: the values of its fields, in one pass and without copying text.

use super::{EventType, Field, Kind, Unreadable, malformed};
use crate::time;
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The value of a field, borrowed from the event's data.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// An optional field that is not there, or a private one.
    Absent,
    /// Of a [`Kind::Text`].
    Text(Cow<'a, str>),
    /// Of a [`Kind::Integer`].
    Integer(i64),
    /// Of a [`Kind::Time`].
    Time(Timestamp),
    /// Of a [`Kind::List`]: its JSON text.
    List(&'a str),
    /// Of a [`Kind::Objects`]: the values of the fields of the first object, then those of the second, and so on.
    Objects(Vec<Value<'a>>),
}

impl EventType {
    /// The values of all fields, in the order of [`Self::fields`]; private ones are held to their kind and left out.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] naming the first field that does not fit; of a private one no more than its name.
    pub fn read<'a>(&self, data: &'a str) -> Result<Vec<Value<'a>>, Unreadable> {
        let mut reader = serde_json::Deserializer::from_str(data);
        let mut values = Vec::with_capacity(self.fields.len());
        Object { fields: self.fields, into: &mut values }.deserialize(&mut reader).map_err(malformed)?;
        reader.end().map_err(malformed)?;
        Ok(values)
    }
}

/// Reads an object and appends the values of these fields, in one pass and without copying text.
struct Object<'v, 'a> {
    fields: &'static [Field],
    into: &'v mut Vec<Value<'a>>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { fields, into } = self;
        let start = into.len();
        into.resize(start + fields.len(), Value::Absent);
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let Some(at) = fields.iter().position(|field| field.name == name) else {
                map.next_value::<IgnoredAny>()?;
                return Err(M::Error::custom(format!("unknown field {name:?}")));
            };
            let field = &fields[at];
            let value = map.next_value_seed(field);
            // What the library says of it may quote it.
            let value = if field.private { value.map_err(|_| secret(field)) } else { value };
            into[start + at] = value?;
        }
        let missing = |(field, value): &(&Field, &Value<'_>)| !field.optional && **value == Value::Absent;
        if let Some((field, _)) = fields.iter().zip(&into[start..]).find(missing) {
            return Err(M::Error::custom(format!("missing field {:?}", field.name)));
        }
        let values = fields.iter().zip(&mut into[start..]);
        values.filter(|(field, _)| field.private).for_each(|(_, value)| *value = Value::Absent);
        Ok(())
    }
}

fn secret<E: Error>(field: &Field) -> E {
    E::custom(format!("field {:?}, which is private, does not fit", field.name))
}

/// Reads an array of objects into the values of their fields, one object after the other.
struct Objects(&'static [Field]);

impl<'de> Visitor<'de> for Objects {
    type Value = Vec<Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut objects: S) -> Result<Self::Value, S::Error> {
        let mut values = Vec::with_capacity(self.0.len());
        while objects.next_element_seed(Object { fields: self.0, into: &mut values })?.is_some() {}
        Ok(values)
    }
}

/// A text that is borrowed where the JSON has no escapes in it.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for &Field {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        use serde::Deserialize as _;
        let wrong = |reason: String| D::Error::custom(format!("field {:?} {reason}", self.name));
        match self.kind {
            Kind::Text => Text::deserialize(deserializer).map(|text| Value::Text(text.0)),
            Kind::Integer { max } => {
                let number = i64::deserialize(deserializer)?;
                let fits = (0..=max).contains(&number);
                fits.then_some(Value::Integer(number))
                    .ok_or_else(|| wrong(format!("is {number}, not between 0 and {max}")))
            }
            Kind::Time => {
                let text = Text::deserialize(deserializer)?;
                time::parse(&text.0).map(Value::Time).map_err(wrong)
            }
            Kind::List => {
                let text = <&RawValue>::deserialize(deserializer)?.get();
                let is_list = text.starts_with('[');
                is_list.then_some(Value::List(text)).ok_or_else(|| wrong("is not an array".into()))
            }
            Kind::Objects(fields) => deserializer.deserialize_seq(Objects(fields)).map(Value::Objects),
        }
    }
}
