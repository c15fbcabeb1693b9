//! No text makes the reader of definitions panic, however near it comes to being one.

use super::*;
use proptest::prelude::*;

/// Pieces of definitions, right and wrong, that are far likelier than chance to get through the parser.
fn piece() -> impl Strategy<Value = String> {
    let keys = [
        "name", "title", "enabled", "on", "where", "count", "stats", "series", "rows", "latest", "publish",
        "x", "'ż'",
    ];
    let inner = [
        "by",
        "of",
        "sum",
        "every",
        "time",
        "remove_on",
        "name",
        "age",
        "since",
        "password",
        "roles",
        "left",
        "count",
        "'items[].size'",
    ];
    let values = [
        "'t'",
        "'user.left'",
        "'user.registered'",
        "['user.left', 'user.renamed']",
        "'name'",
        "['name', 'age']",
        "'since'",
        "true",
        "false",
        "1",
        "-1",
        "0xffffffffffffffffff",
        "1.5",
        "nan",
        "2026-01-01",
        "07:32:00",
        "2026-01-01T00:00:00Z",
        "[]",
        "[[]]",
        "{}",
        "\"\"\"\nż\n\"\"\"",
        "'password'",
        "'roles'",
        "'day'",
        "'age * age'",
        "'items[].size'",
        "{ min = 1 }",
        "{ from = 2026-01-01T00:00:00Z, until = '2026-01-01 00:00:00' }",
    ];
    let value = prop::sample::select(values.to_vec());
    let (key, inner) = (prop::sample::select(keys.to_vec()), prop::sample::select(inner.to_vec()));
    (key, inner, value, 0..4).prop_map(|(key, inner, value, form)| match form {
        0 => format!("{key} = {value}\n"),
        1 => format!("{key} = {{ {inner} = {value} }}\n"),
        2 => format!("{key}.{inner} = {value}\n"),
        _ => format!("[{key}]\n{inner} = {value}\n"),
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text: String) {
        let _ = read(&text);
    }

    #[test]
    fn no_definition_makes_the_reader_panic(
        pieces in prop::collection::vec(piece(), 0..8), cut in any::<prop::sample::Index>(), into in "\\PC{0,3}|\\s",
    ) {
        let whole = pieces.concat();
        let _ = read(&whole).map_err(|errors| errors.to_string());
        let chars: Vec<char> = whole.chars().collect();
        let at = if chars.is_empty() { 0 } else { cut.index(chars.len()) };
        let broken: String = chars[..at].iter().copied().chain(into.chars()).chain(chars[at..].iter().copied()).collect();
        let _ = read(&broken).map_err(|errors| errors.to_string());
    }
}
