//! What is on logs can be read, and what does not fit is told.

use super::*;
use crate::commit::Event;
use proptest::prelude::*;
use serde_json::json;

const PARTS: &[Field] = &[Field::new("size", Kind::Integer { max: 9 }), Field::optional("name", Kind::Text)];

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
    let data = r#"{"text":"a","number":7,"parts":[{"name":"x","size":1},{"size":2}, {"size":3,"name":"y"}]}"#;
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

static SECRET: EventType = EventType {
    name: "order.placed",
    fields: &[
        Field::new("name", Kind::Text),
        Field::private("hash", Kind::Text),
        Field::private("age", Kind::Integer { max: 9 }),
        Field::optional(
            "cards",
            Kind::Objects(&[Field::new("bank", Kind::Text), Field::private("number", Kind::Text)]),
        ),
    ],
    has_key: false,
    aggregate: None,
    upcasters: &[],
};

#[test]
fn secrets_are_not_shown() {
    let data = r#"{"name":"Ada", "hash":"h9", "age":7, "cards":[{"number":"n1","bank":"B"},{"bank":"C","number":"n2"}]}"#;
    let shown = SECRET.public(data).unwrap();
    assert_eq!(shown, r#"{"name":"Ada","cards":[{"bank":"B"},{"bank":"C"}]}"#);
    assert_eq!(SAMPLE.public("as it is").unwrap(), "as it is");

    let cards = vec![Value::Text("B".into()), Value::Absent, Value::Text("C".into()), Value::Absent];
    let values = [Value::Text("Ada".into()), Value::Absent, Value::Absent, Value::Objects(cards)];
    assert_eq!(SECRET.read(data).unwrap(), values);
}

#[test]
fn what_is_wrong_with_a_secret_is_told_without_it() {
    for data in [
        r#"{"name":"Ada","hash":["h9"],"age":1}"#,
        r#"{"name":"Ada","hash":4711,"age":1}"#,
        r#"{"name":"Ada","hash":"h9","age":4711}"#,
        r#"{"name":"Ada","hash":"h9","age":"4711"}"#,
        r#"{"name":"Ada","hash":"h9","age":1,"cards":[{"bank":"B","number":4711}]}"#,
    ] {
        let told = SECRET.read(data).unwrap_err().to_string();
        assert!(told.contains("is private, does not fit"), "{told}");
        assert!(!told.contains("h9") && !told.contains("4711"), "{told}");
    }
    assert_eq!(SECRET.public(r#"["h9"]"#).unwrap_err().to_string(), "the data of order.placed is no object");
    assert!(
        SECRET.read(r#"{"name":"Ada","age":1}"#).unwrap_err().to_string().contains("missing field \"hash\"")
    );
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
    let golden = include_str!("../../golden/events.ndjson");
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
