//! What each event type looks like: the fields that definitions may name, and how its data is read back.

use crate::{detections, foods, introductions, pictures, purchases, time};
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Every event type that this binary knows.
pub const EVENT_TYPES: &[&EventType] = &[
    &introductions::INTRODUCED,
    &introductions::REVISED,
    &introductions::WITHDRAWN,
    &foods::OBSERVED,
    &purchases::RECORDED,
    &detections::DETECTED,
    &pictures::REGISTERED,
];

/// A type of event.
#[derive(Debug)]
pub struct EventType {
    /// The name on the wire, in the past tense: `food.observed`.
    pub name: &'static str,
    /// The fields of its data.
    pub fields: &'static [Field],
    /// Whether each event of it names what it is about: its key.
    pub has_key: bool,
    /// The aggregate whose state it changes, if it belongs to one.
    pub aggregate: Option<Aggregate>,
    /// How to bring older data up to date: the first entry turns version 1 into version 2, and so on.
    pub upcasters: &'static [Upcaster],
}

/// Turns data of one version into data of the next.
pub type Upcaster = fn(serde_json::Value) -> Result<serde_json::Value, String>;

/// The aggregate that an event belongs to.
#[derive(Debug)]
pub struct Aggregate {
    /// The first part of its streams' names.
    pub system: &'static str,
    /// The state, as JSON, after an event of this type and data happened to the state before it.
    pub apply: fn(state: Option<&str>, kind: &str, data: &str) -> Result<String, String>,
}

/// A field of an event's data.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the data.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be absent.
    pub optional: bool,
    /// Whether it is a secret, kept from every view and answer.
    pub private: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number from 0 to `max`.
    Integer {
        /// The largest value; it keeps every sum within 128 bits.
        max: i64,
    },
    /// A time, RFC 3339 in UTC.
    Time,
    /// A JSON array, whatever stands in it.
    List,
    /// A JSON array of objects, each with these fields; there is at least one.
    Objects(&'static [Field]),
}

/// The value of a field, borrowed from the event's data.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// An optional field that is not there.
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

/// Why an event's data cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Of a type that only a newer binary can have written: no type is ever taken out of [`EVENT_TYPES`].
    #[error("the event type {0:?} is not known to this binary")]
    Unknown(String),
    /// Written by a newer binary.
    #[error("{kind} has version {v}, this binary reads up to {known}")]
    Newer {
        /// The event's type.
        kind: &'static str,
        /// The version found.
        v: u32,
        /// The newest version known.
        known: u32,
    },
    /// Its data does not fit its type.
    #[error("{0}")]
    Malformed(String),
}

impl Field {
    /// A field that is always there.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: false, private: false }
    }

    /// A field that may be absent.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, optional: true, private: false }
    }
}

/// The event type of this name.
///
/// # Errors
/// [`Unreadable::Unknown`]
pub fn find(name: &str) -> Result<&'static EventType, Unreadable> {
    let found = EVENT_TYPES.iter().copied().find(|kind| kind.name == name);
    found.ok_or_else(|| Unreadable::Unknown(name.to_owned()))
}

impl EventType {
    /// The version that this binary writes.
    pub fn version(&self) -> u32 {
        u32::try_from(self.upcasters.len()).expect("fewer versions than 2^32") + 1
    }

    /// The place of a field among [`Self::fields`].
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The data's JSON text without private fields, as it may be shown to anybody.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`]
    pub fn public<'a>(&self, data: &'a str) -> Result<Cow<'a, str>, Unreadable> {
        let private = self.fields.iter().filter(|field| field.private);
        if private.clone().next().is_none() {
            return Ok(Cow::Borrowed(data));
        }
        let mut shown: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(data).map_err(malformed)?;
        private.for_each(|field| drop(shown.shift_remove(field.name)));
        Ok(Cow::Owned(serde_json::Value::Object(shown).to_string()))
    }

    /// The data's JSON text, brought up to the newest version.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn current<'a>(&'static self, v: u32, data: &'a RawValue) -> Result<Cow<'a, str>, Unreadable> {
        let known = self.version();
        if v > known {
            return Err(Unreadable::Newer { kind: self.name, v, known });
        }
        if v == known {
            return Ok(Cow::Borrowed(data.get()));
        }
        let Some(older) = v.checked_sub(1) else {
            return Err(Unreadable::Malformed(format!("{} has no version 0", self.name)));
        };
        let parsed = serde_json::from_str(data.get()).map_err(malformed)?;
        let mut steps = self.upcasters.iter().skip(older as usize);
        let current = steps.try_fold(parsed, |data, upcast| upcast(data)).map_err(Unreadable::Malformed)?;
        Ok(Cow::Owned(current.to_string()))
    }

    /// The values of all fields, in the order of [`Self::fields`].
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] naming the first field that does not fit.
    pub fn read<'a>(&self, data: &'a str) -> Result<Vec<Value<'a>>, Unreadable> {
        let mut reader = serde_json::Deserializer::from_str(data);
        let mut values = Vec::with_capacity(self.fields.len());
        Object { fields: self.fields, into: &mut values }.deserialize(&mut reader).map_err(malformed)?;
        reader.end().map_err(malformed)?;
        Ok(values)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn malformed(error: serde_json::Error) -> Unreadable {
    Unreadable::Malformed(error.to_string())
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
            into[start + at] = map.next_value_seed(&fields[at])?;
        }
        let missing = |(field, value): &(&Field, &Value<'_>)| !field.optional && **value == Value::Absent;
        if let Some((field, _)) = fields.iter().zip(&into[start..]).find(missing) {
            return Err(M::Error::custom(format!("missing field {:?}", field.name)));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Event;
    use proptest::prelude::*;
    use serde_json::json;

    const PARTS: &[Field] =
        &[Field::new("size", Kind::Integer { max: 9 }), Field::optional("name", Kind::Text)];

    static SAMPLE: EventType = EventType {
        name: "sample.taken",
        fields: &[
            Field::new("text", Kind::Text),
            Field::new("number", Kind::Integer { max: 100 }),
            Field::optional("time", Kind::Time),
            Field::optional("list", Kind::List),
            Field::optional("parts", Kind::Objects(PARTS)),
        ],
        has_key: false,
        aggregate: None,
        upcasters: &[|mut data| {
            data["number"] = data["old_number"].take();
            data.as_object_mut().map(|object| object.remove("old_number"));
            Ok(data)
        }],
    };

    fn raw(value: &serde_json::Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    #[test]
    fn reads_every_kind() {
        let values =
            SAMPLE.read(r#"{"list":[1, 2],"text":"a\"b","number":7,"time":"2026-01-01T00:00:00Z"}"#).unwrap();
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            values,
            [
                Value::Text("a\"b".into()),
                Value::Integer(7),
                Value::Time(time),
                Value::List("[1, 2]"),
                Value::Absent
            ]
        );
    }

    #[test]
    fn reads_objects_one_after_the_other() {
        let data =
            r#"{"text":"a","number":7,"parts":[{"name":"x","size":1},{"size":2}, {"size":3,"name":"y"}]}"#;
        let [.., Value::Objects(parts)] = &SAMPLE.read(data).unwrap()[..] else { panic!("no objects") };
        let expected = [
            Value::Integer(1),
            Value::Text("x".into()),
            Value::Integer(2),
            Value::Absent,
            Value::Integer(3),
            Value::Text("y".into()),
        ];
        assert_eq!(parts, &expected);
        // What has no escapes is not copied.
        assert!(matches!(&parts[1], Value::Text(Cow::Borrowed(_))));
        let none = SAMPLE.read(r#"{"text":"a","number":7,"parts":[]}"#).unwrap();
        assert_eq!(none.last(), Some(&Value::Objects(Vec::new())));
    }

    #[test]
    fn says_what_does_not_fit() {
        for (data, reason) in [
            (r#"{"text":"a"}"#, "missing field \"number\""),
            (r#"{"text":"a","number":101}"#, "field \"number\" is 101"),
            (r#"{"text":"a","number":-1}"#, "field \"number\" is -1"),
            (r#"{"text":"a","number":1,"list":{}}"#, "field \"list\" is not an array"),
            (r#"{"text":"a","number":1,"parts":{}}"#, "expected an array of objects"),
            (r#"{"text":"a","number":1,"parts":[1]}"#, "expected an object"),
            (r#"{"text":"a","number":1,"parts":[{"size":1},{}]}"#, "missing field \"size\""),
            (r#"{"text":"a","number":1,"parts":[{"size":10}]}"#, "field \"size\" is 10"),
            (r#"{"text":"a","number":1,"parts":[{"size":1,"x":1}]}"#, "unknown field \"x\""),
            (r#"{"text":"a","number":1,"time":"soon"}"#, "field \"time\" \"soon\" is not a time"),
            (r#"{"text":1,"number":1}"#, "invalid type"),
            (r#"{"text":"a","number":1,"more":1}"#, "unknown field \"more\""),
            (r#"[]"#, "expected an object"),
            (r#"{"text":"a","number":1} x"#, "trailing"),
        ] {
            let error = SAMPLE.read(data).unwrap_err().to_string();
            assert!(error.contains(reason), "{data}: {error}");
        }
    }

    #[test]
    fn older_data_is_brought_up_to_date() {
        let old = raw(&json!({"text": "a", "old_number": 5}));
        let current = SAMPLE.current(1, &old).unwrap();
        assert_eq!(SAMPLE.read(&current).unwrap()[1], Value::Integer(5));
    }

    #[test]
    fn secrets_are_not_shown() {
        static SECRET: EventType = EventType {
            name: "user.registered",
            fields: &[
                Field::new("name", Kind::Text),
                Field { private: true, ..Field::new("hash", Kind::Text) },
                Field::new("email", Kind::Text),
            ],
            has_key: false,
            aggregate: None,
            upcasters: &[],
        };
        let shown = SECRET.public(r#"{"name":"Ada", "hash":"x", "email":"a@b"}"#).unwrap();
        assert_eq!(shown, r#"{"name":"Ada","email":"a@b"}"#);
        assert!(SECRET.public("[]").is_err());
        assert_eq!(SAMPLE.public("as it is").unwrap(), "as it is");
    }

    #[test]
    fn newer_data_is_not_guessed_at() {
        let data = raw(&json!({}));
        let newer = Unreadable::Newer { kind: "sample.taken", v: 3, known: 2 };
        assert_eq!(SAMPLE.current(3, &data).unwrap_err(), newer);
        assert!(matches!(SAMPLE.current(0, &data), Err(Unreadable::Malformed(_))));
    }

    #[test]
    fn what_is_on_logs_can_be_read_for_ever() {
        let golden = include_str!("../golden/events.ndjson");
        for kind in EVENT_TYPES {
            assert!(golden.contains(&format!(r#""type":"{}""#, kind.name)), "{} is missing", kind.name);
        }
        for line in golden.lines() {
            let event: Event<'_> = serde_json::from_str(line).unwrap();
            let kind = find(&event.kind).unwrap();
            assert_eq!(event.key.is_some(), kind.has_key, "{line}");
            let current = kind.current(event.v, event.data).unwrap();
            assert_eq!(kind.read(&current).map(|values| values.len()), Ok(kind.fields.len()), "{line}");
        }
    }

    #[test]
    fn objects_have_fields() {
        for field in EVENT_TYPES.iter().flat_map(|kind| kind.fields) {
            assert!(!matches!(field.kind, Kind::Objects([])), "{}", field.name);
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for kind in EVENT_TYPES {
            assert_eq!(find(kind.name).unwrap().name, kind.name);
            let same = EVENT_TYPES.iter().filter(|other| other.name == kind.name);
            assert_eq!(same.count(), 1, "{}", kind.name);
        }
        assert_eq!(find("food.eaten").unwrap_err(), Unreadable::Unknown("food.eaten".into()));
    }

    proptest! {
        #[test]
        fn no_data_makes_the_reader_panic(data: String) {
            let _ = SAMPLE.read(&data);
        }
    }
}
