//! Stats, series, ranges and the objects in arrays: what is accepted, what is refused, and with which words.

use super::*;
use proptest::prelude::*;

fn order(rest: &str) -> Result<Definition, String> {
    definition("'order.placed'", rest)
}

#[test]
fn numbers_mean_what_they_say() {
    for (rest, meaning) in [
        ("stats = { of = 'weight' }", "on order.placed: stats of weight"),
        (
            "stats = { of = 'items[].size', by = 'items[].type' }",
            "on order.placed: stats of items[].size by items[].type",
        ),
        (
            "series = { every = 'day', sum = ' items[].size*items[].price', by = ['type'], time = 'at' }",
            "on order.placed: series of items[].size * items[].price every day by type, at at",
        ),
        ("series = { every = 'minute' }", "on order.placed: series every minute"),
        (
            "count = {}\nwhere = { 'items[].type' = 'a' }",
            "on order.placed where items[].type = \"a\": counts",
        ),
        (
            "rows = {}\nwhere = { weight = { min = 1, max = 0x10 }, at = { from = '2026-01-01 00:00:00+00' } }",
            "on order.placed where at >= 2026-01-01T00:00:00Z and weight >= 1 and weight <= 16: rows",
        ),
        (
            "rows = {}\nwhere.at = { from = 2026-01-01T00:00:00Z, until = 2027-01-01T00:00:00Z }",
            "on order.placed where at >= 2026-01-01T00:00:00Z and at < 2027-01-01T00:00:00Z: rows",
        ),
        ("rows = {}\nwhere.weight.max = 7", "on order.placed where weight <= 7: rows"),
    ] {
        assert_eq!(order(rest).map(|it| it.to_string()).as_deref(), Ok(meaning), "{rest}");
    }
}

#[test]
fn mistakes_about_numbers_are_told() {
    for (rest, problem) in [
        ("stats = {}", "3:9: of is missing: the field of whole numbers to tell about"),
        (
            "stats = { off = 'weight', of = 'weight' }",
            "3:11: unknown key of stats \"off\": did you mean \"of\"?",
        ),
        ("stats = { of = 1 }", "3:16: of must be a text, not a whole number"),
        ("stats = { of = 'type' }", "3:16: type is a text; of takes whole numbers"),
        ("stats = { of = 'wieght' }", "3:16: unknown field \"wieght\": did you mean \"weight\"?"),
        (
            "stats = { of = 'items[].siz' }",
            "3:16: unknown field \"items[].siz\": did you mean \"items[].size\"?",
        ),
        ("stats = { of = 'items[].cost' }", "3:16: field \"items[].cost\" of order.placed is private"),
        ("count = { by = 'cards[].number' }", "3:16: field \"cards[].number\" of order.placed is private"),
        (
            "stats = { of = 'weight *' }",
            "3:16: unknown field \"\": known: type, at, weight, distance, items, items[].type,",
        ),
        (
            "stats = { of = 'weight * distance' }",
            "3:16: a product of fields of up to 5000 and 9223372036854775807 may be over 2^63",
        ),
        ("series = { sum = 'at * weight', every = 'day' }", "3:18: at is a time; sum takes whole numbers"),
        ("series = {}", "3:10: every is missing: one of minute, hour, day, month"),
        (
            "series = { every = 'dya' }",
            "3:20: unknown step \"dya\": did you mean \"day\"? known: minute, hour, day, month",
        ),
        (
            "series = { evry = 'day', every = 'day' }",
            "3:12: unknown key of series \"evry\": did you mean \"every\"?",
        ),
        ("series = { every = 'day', time = 'type' }", "3:34: type is a text; a series goes by a time"),
        ("series = { every = 'day', by = 'items[].value' }", "3:32: a view cannot be kept by \"value\": its"),
        (
            "count = { by = 'items' }",
            "3:16: items is a list; a view is kept by texts, whole numbers and times; its objects have items[].type, items[].size,",
        ),
        (
            "count = { by = ['type', 'items[].type'] }",
            "3:25: type and items[].type are both called \"type\" in answers",
        ),
        (
            "count = { by = ['items[].type', 'extras[].name'] }",
            "3:33: extras[].name beside items[].type: a definition goes through one array",
        ),
        (
            "count = { by = 'items[].type' }\nwhere = { 'extras[].name' = 'a' }",
            "4:11: extras[].name beside items[].type: a definition goes through one array",
        ),
        (
            "rows = { by = 'items[].type' }",
            "3:15: a view of the kind rows holds whole events, and items[].type is a part of one",
        ),
        (
            "latest = {}\nwhere = { 'items[].type' = 'a' }",
            "4:11: a view of the kind latest holds whole events, and",
        ),
        ("count = {}\nwhere.weight = {}", "4:16: the range of weight has neither min nor max"),
        ("count = {}\nwhere.weight = { from = 1 }", "4:18: unknown key of weight \"from\": known: min, max"),
        ("count = {}\nwhere.at = { min = 1 }", "4:14: unknown key of at \"min\": known: from, until"),
        (
            "count = {}\nwhere.weight = { min = 2, max = 1 }",
            "4:16: the range of weight ends before it begins",
        ),
        (
            "count = {}\nwhere.at = { from = 2026-01-01T00:00:00Z, until = 2026-01-01T00:00:00Z }",
            "4:12: the range of at ends before it begins",
        ),
        (
            "count = {}\nwhere.weight = { max = 5001 }",
            "4:24: weight is a whole number from 0 to 5000, never this one",
        ),
        (
            "count = {}\nwhere.type = { min = 1 }",
            "4:14: type is a text; a range is of whole numbers or times",
        ),
        ("count = {}\nwhere.items = { min = 1 }", "4:15: items is a list; a range is of"),
    ] {
        let errors = order(rest).unwrap_err();
        assert!(errors.starts_with(&format!("t.toml:{problem}")), "{rest}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{rest}: {errors}");
    }
}

const NOTHING: [usize; 0] = [];

#[test]
fn each_object_of_an_array_feeds_the_view() {
    let data = |items: &str| {
        format!(
            r#"{{"type":"x","at":"2026-01-01T00:00:00Z","weight":1,"distance":1,"cards":[],"items":[{items}]}}"#
        )
    };
    let item = |kind: &str, size: u32| {
        format!(r#"{{"type":"{kind}","size":{size},"sold":"2026-01-01T00:00:00Z","cost":1,"value":"v"}}"#)
    };
    let kind = TYPES.iter().find(|kind| kind.name == "order.placed").unwrap();
    let found = |text: &str, data: &str| {
        let definition = order(text).unwrap();
        let values = kind.read(data).unwrap();
        definition.elements(kind, &values).collect::<Vec<_>>()
    };
    let three = data(&[item("a", 1), item("b", 2), item("a", 3)].join(","));
    assert_eq!(found("count = { by = 'items[].type' }", &three), [0, 1, 2]);
    assert_eq!(found("count = {}\nwhere = { 'items[].type' = 'a' }", &three), [0, 2]);
    assert_eq!(
        found("stats = { of = 'items[].size' }\nwhere = { 'items[].size' = { min = 2 } }", &three),
        [1, 2]
    );
    assert_eq!(found("count = { by = 'items[].type' }\nwhere = { type = 'y' }", &three), NOTHING);
    // Whole events are counted once, however many objects they have.
    assert_eq!(found("count = {}", &three), [0]);
    assert_eq!(found("count = {}", &data("")), [0]);
    assert_eq!(found("count = { by = 'items[].type' }", &data("")), NOTHING);
    // An array that may be absent has no objects then.
    assert_eq!(found("count = { by = 'extras[].name' }", &three), NOTHING);
}

#[test]
fn an_amount_is_a_field_or_a_product() {
    let kind = TYPES.iter().find(|kind| kind.name == "order.placed").unwrap();
    let data = r#"{"type":"x","at":"2026-01-01T00:00:00Z","weight":7,"distance":1,"cards":[],"items":[
        {"type":"a","size":3,"price":5,"sold":"2026-01-01T00:00:00Z","cost":1,"value":"v"},
        {"type":"b","size":4,"sold":"2026-01-01T00:00:00Z","cost":1,"value":"v"}]}"#;
    let values = kind.read(data).unwrap();
    let amounts = |of: &str| {
        let View::Stats(stats) = order(&format!("stats = {{ of = '{of}' }}")).unwrap().view else {
            panic!("stats")
        };
        [0, 1].map(|element| stats.of.of(kind, &values, element))
    };
    assert_eq!(amounts("items[].size"), [Some(3), Some(4)]);
    // Without a price there is nothing to add.
    assert_eq!(amounts("items[].size * items[].price"), [Some(15), None]);
    assert_eq!(amounts("items[].size * weight * weight"), [Some(147), Some(196)]);
}

#[test]
fn steps_begin_and_end_in_utc() {
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    for (every, at, start, next) in [
        (Every::Minute, "2024-02-29T23:59:59.999Z", "2024-02-29T23:59:00Z", "2024-03-01T00:00:00Z"),
        (Every::Hour, "2024-02-29T23:59:59Z", "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z"),
        (Every::Day, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        (Every::Day, "1969-12-31T23:59:59.5Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
        (Every::Month, "2023-12-31T23:59:59Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z"),
    ] {
        assert_eq!(every.start(time(at)), time(start), "{at}");
        assert_eq!(every.next(time(start)), Some(time(next)), "{at}");
    }
    for every in [Every::Minute, Every::Hour, Every::Day, Every::Month] {
        let (first, last) = (every.start(jiff::Timestamp::MIN), every.start(jiff::Timestamp::MAX));
        assert!(every.next(first).is_some_and(|next| next > first));
        assert_eq!(every.next(last), None);
    }
}

proptest! {
    #[test]
    fn a_time_lies_in_its_step(seconds in -60_000_000_000i64..200_000_000_000, nanos in 0i32..1_000_000_000) {
        let time = jiff::Timestamp::new(seconds, nanos).unwrap();
        for every in [Every::Minute, Every::Hour, Every::Day, Every::Month] {
            let start = every.start(time);
            prop_assert!(start <= time && time < every.next(start).unwrap());
            prop_assert_eq!(every.start(start), start);
        }
    }
}
