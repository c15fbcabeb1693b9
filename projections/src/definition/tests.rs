//! What is accepted, what is refused, and with which words.

use super::check::{Checked, Source, check};
use super::*;
use refold_domain::schema::{Field, Kind};

mod numbers;
mod random;
mod readme;

/// Types with what the real ones do not have yet: private fields, numbers, and names that differ in kind.
static TYPES: &[&EventType] = &[
    &kind(
        "user.registered",
        &[
            Field::new("name", Kind::Text),
            Field { private: true, ..Field::new("password", Kind::Text) },
            Field::new("age", Kind::Integer { max: 200 }),
            Field::new("since", Kind::Time),
            Field::optional("left", Kind::Time),
            Field::new("roles", Kind::List),
        ],
    ),
    &kind(
        "user.renamed",
        &[
            Field::new("since", Kind::Text),
            Field::new("age", Kind::Integer { max: 900 }),
            Field::optional("name", Kind::Text),
            Field::new("limit", Kind::Integer { max: 1 }),
            Field::new("count", Kind::Integer { max: 1 }),
        ],
    ),
    &kind("user.left", &[Field::new("name", Kind::Text)]),
    &EventType { has_key: false, ..kind("page.seen", &[Field::new("page", Kind::Text)]) },
    &kind(
        "order.placed",
        &[
            Field::new("type", Kind::Text),
            Field::new("at", Kind::Time),
            Field::new("weight", Kind::Integer { max: 5_000 }),
            Field::new("distance", Kind::Integer { max: i64::MAX }),
            Field::new("items", Kind::Objects(ITEM)),
            Field::optional("extras", Kind::Objects(&[Field::new("name", Kind::Text)])),
            Field {
                private: true,
                ..Field::new("cards", Kind::Objects(&[Field::new("number", Kind::Text)]))
            },
        ],
    ),
    &refold_domain::introductions::WITHDRAWN,
];

const ITEM: &[Field] = &[
    Field::new("type", Kind::Text),
    Field::new("size", Kind::Integer { max: 100 }),
    Field::optional("price", Kind::Integer { max: 1_000 }),
    Field::new("sold", Kind::Time),
    Field { private: true, ..Field::new("cost", Kind::Integer { max: 1_000 }) },
    Field::new("value", Kind::Text),
];

const fn kind(name: &'static str, fields: &'static [Field]) -> EventType {
    EventType { name, fields, has_key: true, aggregate: None, upcasters: &[] }
}

fn read(text: &str) -> Result<Checked, DefinitionErrors> {
    check(TYPES, &Source { file: "t.toml".into(), name: "t".into(), text: text.into() })
}

/// The definition of three lines: its name, and these.
fn definition(on: &str, rest: &str) -> Result<Definition, String> {
    match read(&format!("name = 't'\non = {on}\n{rest}")) {
        Ok(Checked::On(definition)) => Ok(*definition),
        Ok(Checked::Off) => Err("switched off".into()),
        Err(errors) => Err(errors.to_string()),
    }
}

#[test]
fn definitions_mean_what_they_say() {
    for (on, rest, meaning) in [
        ("'user.left'", "count = {}", "on user.left: counts"),
        ("['user.left']", "count = { by = [] }", "on user.left: counts"),
        (
            "['user.renamed', 'user.left']",
            "[count]\nby = 'name'",
            "on user.left, user.renamed: counts by name",
        ),
        ("'user.registered'", "rows = {}", "on user.registered: rows"),
        (
            "'user.registered'",
            "rows = { by = ['name', 'since'], time = 'since' }",
            "on user.registered: rows by name, since, ordered by since",
        ),
        ("'user.registered'", "latest = {}", "on user.registered: latest"),
        ("'user.registered'", "latest = { by = 'age' }", "on user.registered: latest by age"),
        (
            "'user.registered'",
            "latest = { remove_on = ['user.renamed', 'user.left'] }",
            "on user.registered: latest, removed on user.left, user.renamed",
        ),
        (
            "'user.registered'",
            "enabled = true\nrows = {}\n[where]\nname = ['a', 'b']\nage = 0x2_0\nsince = 2026-01-01T00:00:00Z",
            r#"on user.registered where age = 32 and name = "a" or "b" and since = 2026-01-01T00:00:00Z: rows"#,
        ),
    ] {
        assert_eq!(definition(on, rest).map(|it| it.to_string()).as_deref(), Ok(meaning), "{on} {rest}");
    }
}

#[test]
fn mistakes_are_told_with_place_known_names_and_the_nearest() {
    for (on, rest, problem) in [
        ("'user.left'", "count = [", "t.toml:3:10: "),
        ("'user.left'", "count = {}\ncount = {}", "t.toml:4:1: duplicate key"),
        (
            "'user.left'",
            "counts = {}\nrows = {}",
            "t.toml:3:1: unknown key \"counts\": did you mean \"count\"? known: name, ",
        ),
        (
            "'user.left'",
            "count = { bye = [] }",
            "t.toml:3:11: unknown key of count \"bye\": did you mean \"by\"? known: by",
        ),
        (
            "'user.left'",
            "rows = { tiem = 1 }",
            "t.toml:3:10: unknown key of rows \"tiem\": did you mean \"time\"? known: by, time",
        ),
        (
            "'user.left'",
            "latest = { removeon = 1 }",
            "t.toml:3:12: unknown key of latest \"removeon\": did you mean \"remove_on\"?",
        ),
        ("'user.left'", "count = {}\npublish = {}", "t.toml:4:1: publish is not yet built"),
        ("'user.left'", "count = 1", "t.toml:3:9: count must be a table such as {}, not a whole number"),
        (
            "'user.left'",
            "count = { by = 1 }",
            "t.toml:3:16: by must be a text or an array of texts, not a whole number",
        ),
        (
            "'user.left'",
            "count = { by = ['name', 1.5] }",
            "t.toml:3:25: by must be an array of texts, not a number with a fraction",
        ),
        ("'user.left'", "count = { by = ['name', 'name'] }", "t.toml:3:25: \"name\" stands in by twice"),
        ("'user.left'", "count = {}\ntitle = 1", "t.toml:4:9: title must be a text, not a whole number"),
        (
            "'user.left'",
            "count = {}\nenabled = 'no'",
            "t.toml:4:11: enabled must be true or false, not a text",
        ),
        (
            "'user.left'",
            "count = {}\nwhere = 'all'",
            "t.toml:4:9: where must be a table such as {}, not a text",
        ),
        ("'user.left'", "", "t.toml:1:1: a view is missing: one of count, stats, series, rows, latest"),
        (
            "'user.left'",
            "rows = {}\ncount = {}",
            "t.toml:4:1: count beside rows: a definition makes one view",
        ),
        (
            "'user.let'",
            "count = {}",
            "t.toml:2:6: unknown event type \"user.let\": did you mean \"user.left\"? known: user.registered, user.renamed, user.left, page.seen, order.placed, introduction.withdrawn",
        ),
        ("[]", "count = {}", "t.toml:2:6: on names no event type"),
        ("[1]", "count = {}", "t.toml:2:7: on must be an array of texts, not a whole number"),
        (
            "'user.left'",
            "count = { by = ['nam'] }",
            "t.toml:3:17: unknown field \"nam\": did you mean \"name\"? known: name",
        ),
        (
            "'user.registered'",
            "count = { by = 'password' }",
            "t.toml:3:16: field \"password\" of user.registered is private and never reaches a view: known: name, age, since, left, roles",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere.password = 'x'",
            "t.toml:4:7: field \"password\" of user.registered is private",
        ),
        (
            "['user.registered', 'user.left']",
            "count = { by = 'age' }",
            "t.toml:3:16: field \"age\" is not in user.left, but must be in every event type of `on`: known: name",
        ),
        (
            "['user.registered', 'user.renamed']",
            "rows = { by = 'since' }",
            "t.toml:3:15: field \"since\" is a time in user.registered but a text in user.renamed: known: name, age",
        ),
        (
            "'user.registered'",
            "count = { by = 'roles' }",
            "t.toml:3:16: roles is a list; a view is kept by texts",
        ),
        (
            "'user.registered'",
            "rows = { time = 'age' }",
            "t.toml:3:17: age is a whole number; rows are ordered by a time",
        ),
        (
            "'user.registered'",
            "rows = { time = 'left' }",
            "t.toml:3:17: left may be absent; rows are ordered by a time",
        ),
        (
            "'user.registered'",
            "rows = { time = ['since'] }",
            "t.toml:3:17: time must be a text, not an array",
        ),
        ("'user.renamed'", "rows = { by = 'limit' }", "t.toml:3:15: a view cannot be kept by \"limit\""),
        ("'user.renamed'", "count = { by = 'count' }", "t.toml:3:16: a view cannot be kept by \"count\""),
        (
            "'user.registered'",
            "latest = { by = 'nme' }",
            "t.toml:3:17: unknown field \"nme\": did you mean \"name\"?",
        ),
        (
            "'user.registered'",
            "latest = { by = 'name', remove_on = 'user.left' }",
            "t.toml:3:17: remove_on goes by the events' own key",
        ),
        (
            "'user.registered'",
            "latest = { remove_on = 'user.lft' }",
            "t.toml:3:24: unknown event type \"user.lft\": did you mean \"user.left\"?",
        ),
        (
            "'user.left'",
            "latest = { remove_on = 'user.left' }",
            "t.toml:3:24: user.left cannot both make an entry",
        ),
        (
            "['user.left', 'page.seen']",
            "latest = {}",
            "t.toml:3:10: page.seen has no key, so latest needs a field to go by: latest = { by = \"...\" }",
        ),
        ("'page.seen'", "latest = { by = ['of'] }", "t.toml:3:17: by must be a text, not an array"),
        (
            "'user.left'",
            "latest = { remove_on = 'introduction.withdrawn' }",
            "t.toml:3:24: introduction.withdrawn is about other keys than user.left",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { nme = 1 }",
            "t.toml:4:11: unknown field \"nme\": did you mean \"name\"?",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { name = 1 }",
            "t.toml:4:18: name is a text, which cannot be compared with a whole number",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { name = ['a', 1] }",
            "t.toml:4:24: name is a text, which cannot",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { name = [] }",
            "t.toml:4:18: name has no value to choose from",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { age = [{ min = 1 }] }",
            "t.toml:4:18: age is a whole number, which cannot be compared with a table",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { age = 1.5 }",
            "t.toml:4:17: age is a whole number, which cannot",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { age = 201 }",
            "t.toml:4:17: age is a whole number from 0 to 200, never this one",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { age = 99999999999999999999 }",
            "t.toml:4:17: age is a whole number from 0 to 200, never this one",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { since = 'soon' }",
            "t.toml:4:19: since \"soon\" is not a time",
        ),
        (
            "'user.registered'",
            "rows = {}\nwhere = { roles = 'a' }",
            "t.toml:4:19: roles is a list, which cannot be compared",
        ),
    ] {
        let errors = definition(on, rest).unwrap_err();
        assert!(errors.starts_with(problem), "{on} {rest}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{on} {rest}: {errors}");
    }
}

#[test]
fn names_are_the_files() {
    for (name, problem) in [
        ("name = 'other'", "t.toml:1:8: name must be the file's, \"t\", not \"other\""),
        ("name = 'T'", "t.toml:1:8: name \"T\" must be 1 to 63 characters of a-z, 0-9 and _"),
        ("name = ''", "t.toml:1:8: name \"\" must be"),
        ("name = '9'", "t.toml:1:8: name \"9\" must be"),
        ("name = 1", "t.toml:1:8: name must be a text, not a whole number"),
        ("", "t.toml:1:1: name is missing: it is the file's, \"t\""),
    ] {
        let errors = read(&format!("{name}\non = 'user.left'\ncount = {{}}")).unwrap_err().to_string();
        assert!(errors.starts_with(problem) && errors.lines().count() == 1, "{errors}");
    }
    let long = |length| {
        let name = "t".repeat(length);
        let text = format!("name = '{name}'\non = 'user.left'\ncount = {{}}");
        check(TYPES, &Source { file: "t.toml".into(), name, text })
    };
    assert!(long(63).is_ok() && long(64).is_err());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = include_str!("../../golden/mistaken.toml");
    let errors = Definition::parse("mistaken.toml", "mistaken", text).unwrap_err();
    assert_eq!(format!("{errors}\n"), include_str!("../../golden/mistaken.txt"));
}

#[test]
fn what_is_switched_off_is_not_judged_but_for_its_keys() {
    assert!(matches!(read("name = 't'\nenabled = false"), Ok(Checked::Off)));
    assert!(matches!(read("name = 't'\nenabled = false\non = 'gone.by'\nrows.by = 'x'"), Ok(Checked::Off)));
    assert!(read("name = 't'\nenabled = false\nons = 1").is_err());
    assert!(Definition::parse("t.toml", "t", "name = 't'\nenabled = false").is_err());
}

#[test]
fn fields_are_found_in_each_type_at_its_own_place() {
    let definition =
        definition("['user.renamed', 'user.registered']", "count = { by = ['name', 'age'] }").unwrap();
    let [name, age] = definition.view.by() else { panic!("two fields") };
    assert_eq!((age.kind, age.optional), (Kind::Integer { max: 900 }, false));
    assert_eq!((name.kind, name.optional), (Kind::Text, true));
    let registered = TYPES[0].read(REGISTERED).unwrap();
    let renamed = TYPES[1].read(r#"{"since":"x","age":7,"limit":0,"count":0}"#).unwrap();
    assert_eq!(name.value(TYPES[0], &registered, 0), &Value::Text("ann".into()));
    assert_eq!(age.value(TYPES[0], &registered, 0), &Value::Integer(30));
    assert_eq!(name.value(TYPES[1], &renamed, 0), &Value::Absent);
    assert_eq!(age.value(TYPES[1], &renamed, 0), &Value::Integer(7));
}

#[test]
fn a_filter_takes_what_passes_all_conditions() {
    let values = TYPES[0].read(REGISTERED).unwrap();
    for (conditions, takes) in [
        ("", true),
        ("name = 'ann'", true),
        ("name = 'bob'", false),
        ("name = ['bob', 'ann']", true),
        ("age = 30", true),
        ("age = [29, 31]", false),
        ("since = '2026-01-01 01:00:00+01'", true),
        ("since = 2026-01-01T00:00:01Z", false),
        ("left = 2026-01-01T00:00:00Z", false),
        ("age = { min = 30 }", true),
        ("age = { min = 31 }", false),
        ("age = { max = 30 }", true),
        ("age = { max = 29 }", false),
        ("age = { min = 30, max = 30 }", true),
        ("age = { min = 20, max = 29 }", false),
        ("since = { from = 2026-01-01T00:00:00Z }", true),
        ("since = { from = 2026-01-01T00:00:01Z }", false),
        ("since = { until = 2026-01-01T00:00:00Z }", false),
        ("since = { from = '2025-12-31 00:00:00', until = '2026-01-01 00:00:01' }", true),
        ("left = { until = 2027-01-01T00:00:00Z }", false),
        ("left = { from = 1999-01-01T00:00:00Z }", false),
        ("name = 'ann', age = 30", true),
        ("name = 'ann', age = 31", false),
    ] {
        let rest = format!("rows = {{}}\nwhere = {{ {conditions} }}");
        let definition = definition("'user.registered'", &rest).unwrap();
        assert_eq!(definition.elements(TYPES[0], &values).count(), usize::from(takes), "{conditions}");
        assert!(definition.is_on(TYPES[0]) && !definition.is_on(TYPES[2]));
    }
}

const REGISTERED: &str =
    r#"{"name":"ann","password":"x","age":30,"since":"2026-01-01T00:00:00Z","roles":["admin"]}"#;
