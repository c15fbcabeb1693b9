//! Reading a JSON body field by field, so that every bad field is named at once.

mod errors;
pub mod json;
mod pattern;
pub mod unseen;

pub use errors::{ERRORS_MAX, FieldError};
pub use pattern::Pattern;

use errors::{Errors, shown};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use unseen::is_visible;
use uuid::Uuid;

/// How many characters an e-mail address may have.
pub const EMAIL_CHARS: RangeInclusive<usize> = 3..=254;

/// An e-mail address as HTML has it (a name without quotes, a domain without a literal), also with letters beyond ASCII. In
/// these U+037E is a semicolon, and three characters are the dots of domains.
pub static EMAIL: LazyLock<Pattern> = LazyLock::new(|| {
    let unseen = unseen::class();
    let atom = format!(r#"[^{unseen}\x22\x28\x29\x2c\x2e\x3a-\x3c\x3e\x40\x5b-\x5d\u037e]+"#);
    let no_letters = r"\x21-\x2c\x2e\x2f\x3a-\x40\x5b-\x60\x7b-\x7e\u037e\u1fef\u3002\uff0e\uff61";
    let (end, inside) = (format!(r"[^{unseen}{no_letters}\x2d]"), format!("[^{unseen}{no_letters}]"));
    let label = format!("{end}({inside}{{0,61}}{end})?");
    Pattern::new(
        // All of it in brackets: testers that write lengths into a pattern make one of it that no library takes.
        format!(r"^({atom}(\.{atom})*@{label}(\.{label})*)$"),
        "must be an e-mail address such as ada@example.org",
    )
});

/// An object being read: takes field after field and gathers what is wrong.
#[derive(Debug)]
pub struct Form<'a> {
    object: Option<&'a Map<String, Value>>,
    path: String,
    known: Vec<&'static str>,
    errors: Errors,
}

impl<'a> Form<'a> {
    /// Starts to read a body.
    pub fn new(body: &'a Value) -> Self {
        Self::at(body, String::new())
    }

    fn at(body: &'a Value, path: String) -> Self {
        let mut form = Self { object: body.as_object(), path, known: Vec::new(), errors: Errors::default() };
        if form.object.is_none() {
            let field = form.path.trim_end_matches('.').to_owned();
            form.errors.push(|| FieldError { field, reason: "must be an object".into() });
        }
        form
    }

    /// A text of so many characters, none of them a control character (but for the `allowed` ones).
    pub fn text(&mut self, name: &'static str, length: &RangeInclusive<usize>, allowed: &[char]) -> String {
        let value = self.required(name);
        value.and_then(|value| self.check(name, text(value, length, allowed))).unwrap_or_default()
    }

    /// A whole number within a range.
    pub fn integer(&mut self, name: &'static str, range: &RangeInclusive<i64>) -> i64 {
        let value = self.required(name);
        value.and_then(|value| self.check(name, integer(value, range))).unwrap_or_default()
    }

    /// A UUID with its hyphens, in either case.
    pub fn uuid(&mut self, name: &'static str) -> Uuid {
        let value = self.required(name);
        value.and_then(|value| self.check(name, uuid(value))).unwrap_or_default()
    }

    /// A value that `read` makes of the field.
    pub fn with<T: Default>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> T {
        let value = self.required(name);
        value.and_then(|value| self.check(name, read(value))).unwrap_or_default()
    }

    /// A value that `read` makes of the field, `None` where it is absent or null.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(name).filter(|value| !value.is_null())?;
        self.check(name, read(value))
    }

    /// An array of objects, each read by `read`.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        length: &RangeInclusive<usize>,
        read: impl Fn(&mut Form<'a>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.required(name) else {
            return Vec::new();
        };
        let Some(items) = self.check(name, items(value, length)) else {
            return Vec::new();
        };
        let mut read_item = |(index, item)| {
            let mut form = Form::at(item, format!("{}{name}[{index}].", self.path));
            let made = read(&mut form);
            self.errors.extend(form.into_errors());
            made
        };
        items.iter().enumerate().map(&mut read_item).collect()
    }

    /// An array of values, each made by `read`, `None` where it is absent or null.
    pub fn optional_items<T>(
        &mut self,
        name: &'static str,
        length: &RangeInclusive<usize>,
        read: impl Fn(&'a Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let values = self.optional(name, |value| items(value, length))?;
        let read_item = |(index, value)| self.check(&format!("{name}[{index}]"), read(value));
        Some(values.iter().enumerate().filter_map(read_item).collect())
    }

    /// The name under which a field with two names is given; the first where it is given under neither. Under both is
    /// an error, for they may differ.
    pub fn either(&mut self, first: &'static str, second: &'static str) -> &'static str {
        self.known.extend([first, second]);
        let has = |name: &str| self.object.is_some_and(|object| object.contains_key(name));
        match (has(first), has(second)) {
            (true, true) => {
                let reason = format!("is given as {first}, too; one of the two is enough");
                self.check::<()>(second, Err(reason));
                first
            }
            (false, true) => second,
            (_, false) => first,
        }
    }

    /// Ends the reading: `made`, or everything that is wrong, unknown fields among it.
    ///
    /// # Errors
    /// Every bad field.
    pub fn finish<T>(self, made: T) -> Result<T, Vec<FieldError>> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(made) } else { Err(errors.told()) }
    }

    fn into_errors(self) -> Errors {
        let Self { object, path, known, mut errors } = self;
        let names = object.into_iter().flat_map(Map::keys);
        for name in names.filter(|name| !known.contains(&name.as_str())) {
            errors.push(|| {
                let reason = format!("is unknown; known are {}", known.join(", "));
                FieldError { field: format!("{path}{}", shown(name)), reason }
            });
        }
        errors
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.object?.get(name)
    }

    fn required(&mut self, name: &'static str) -> Option<&'a Value> {
        let value = self.take(name);
        if value.is_none() && self.object.is_some() {
            self.check::<()>(name, Err("is missing".into()));
        }
        value
    }

    fn check<T>(&mut self, name: &str, read: Result<T, String>) -> Option<T> {
        let path = &self.path;
        read.map_err(|reason| self.errors.push(|| FieldError { field: format!("{path}{name}"), reason })).ok()
    }
}

/// A text of so many characters, none of them a control character but for the `allowed` ones, and not all invisible.
/// It is taken as it is sent: letters that are composed otherwise are another text.
///
/// # Errors
/// What it must be.
pub fn text(value: &Value, length: &RangeInclusive<usize>, allowed: &[char]) -> Result<String, String> {
    let text = value.as_str().ok_or("must be a text")?;
    let (least, most) = (length.start(), length.end());
    if !length.contains(&text.chars().count()) {
        return Err(format!("must have {least} to {most} characters"));
    }
    if text.chars().any(|c| c.is_control() && !allowed.contains(&c)) {
        return Err("must not contain control characters".into());
    }
    if !text.chars().any(is_visible) {
        return Err("must have a character that can be seen".into());
    }
    Ok(text.to_owned())
}

/// An e-mail address.
///
/// # Errors
/// What it must be.
pub fn email(value: &Value) -> Result<String, String> {
    EMAIL.hold(text(value, &EMAIL_CHARS, &[])?)
}

fn items<'a>(value: &'a Value, length: &RangeInclusive<usize>) -> Result<&'a [Value], String> {
    let items = value.as_array().ok_or("must be an array")?;
    let (least, most) = (length.start(), length.end());
    let fits = length.contains(&items.len());
    fits.then_some(items.as_slice()).ok_or_else(|| format!("must have {least} to {most} items"))
}

fn integer(value: &Value, range: &RangeInclusive<i64>) -> Result<i64, String> {
    let (least, most) = (range.start(), range.end());
    let number = value.as_i64().or_else(|| whole(value)).filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// JSON knows only numbers: `2.0` is as whole as `2`.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    Some(number as i64)
}

fn uuid(value: &Value) -> Result<Uuid, String> {
    const HYPHENATED: usize = 36;
    let text = value.as_str().filter(|text| text.len() == HYPHENATED);
    text.and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| "must be a UUID such as 0198a6c2-7a10-7000-8000-000000000001".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(body: &Value) -> Vec<(String, String)> {
        let mut form = Form::new(body);
        form.text("name", &(1..=3), &[]);
        form.integer("count", &(1..=9));
        form.uuid("id");
        form.optional("note", |value| text(value, &(1..=5), &['\n']));
        form.list("parts", &(1..=2), |part| part.integer("size", &(1..=9)));
        let errors = form.finish(()).err().unwrap_or_default();
        errors.into_iter().map(|error| (error.field, error.reason)).collect()
    }

    #[test]
    fn a_good_body_passes() {
        let id = "0198A6C2-7A10-7000-8000-000000000001";
        let body = json!({"name": "äöü", "count": 2.0, "id": id, "note": null, "parts": [{"size": 1}]});
        assert_eq!(errors(&body), []);
    }

    #[test]
    fn every_bad_field_is_named() {
        let body = json!({"name": "", "count": 10, "id": "x", "note": "a\tb", "parts": [{"size": 0, "z": 1}, 3], "more": 1});
        let fields: Vec<_> = errors(&body).into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            ["name", "count", "id", "note", "parts[0].size", "parts[0].z", "parts[1]", "more"]
        );
    }

    #[test]
    fn missing_fields_are_named() {
        let expected: Vec<_> =
            ["name", "count", "id", "parts"].map(|field| (field.to_owned(), "is missing".to_owned())).into();
        assert_eq!(errors(&json!({})), expected);
    }

    #[test]
    fn no_more_errors_are_named_than_anybody_reads() {
        let unknown =
            |count: usize| (0..count).map(|number| (format!("x{number}"), json!(1))).collect::<Value>();
        assert_eq!(Form::new(&unknown(ERRORS_MAX)).finish(()).unwrap_err().len(), ERRORS_MAX);
        let many = Form::new(&unknown(ERRORS_MAX + 7)).finish(()).unwrap_err();
        assert_eq!((many.len(), many[ERRORS_MAX].reason.as_str()), (ERRORS_MAX + 1, "has 7 more bad fields"));

        let body = json!({"parts": vec![json!({"size": 0, "x": 1}); 60]});
        let mut form = Form::new(&body);
        form.list("parts", &(1..=60), |part| part.integer("size", &(1..=9)));
        let errors = form.finish(()).unwrap_err();
        assert_eq!(
            (errors.len(), errors[ERRORS_MAX].reason.as_str()),
            (ERRORS_MAX + 1, "has 20 more bad fields")
        );
    }

    #[test]
    fn a_name_that_is_absurdly_long_is_cut() {
        let body: Value = [("ä".repeat(100_000), json!(1))].into_iter().collect();
        let errors = Form::new(&body).finish(()).unwrap_err();
        assert_eq!(errors[0].field.chars().count(), 81);
    }

    #[test]
    fn a_field_with_two_names_is_taken_under_one() {
        let read = |body: &Value| {
            let mut form = Form::new(body);
            let name = form.either("size", "Size");
            let size = form.integer(name, &(1..=9));
            form.finish(size)
                .map_err(|errors| errors.into_iter().map(|error| error.field).collect::<Vec<_>>())
        };
        assert_eq!((read(&json!({"size": 1})), read(&json!({"Size": 2}))), (Ok(1), Ok(2)));
        let wrong = |field: &str| Err(vec![field.to_owned()]);
        assert_eq!(read(&json!({})), wrong("size"));
        assert_eq!(read(&json!({"size": 1, "Size": 1})), wrong("Size"));
        assert_eq!(read(&json!({"Size": 0})), wrong("Size"));
        assert_eq!(read(&json!([])), wrong(""));
    }

    #[test]
    fn only_an_object_is_an_object() {
        for body in [json!(null), json!([]), json!(1), json!("x")] {
            assert_eq!(errors(&body), [(String::new(), "must be an object".to_owned())]);
        }
    }

    #[test]
    fn a_text_shows_something() {
        for unseen in [
            " ",
            "\u{a0}\u{3000}",
            "\u{200b}",
            "\u{feff}\u{2060} ",
            "\u{ad}",
            "\u{3164}",
            "\n",
            "\u{fe0f}\u{34f}",
            "\u{e0061}",
        ] {
            let told = text(&json!(unseen), &(1..=9), &['\n']);
            assert_eq!(told, Err("must have a character that can be seen".into()), "{unseen:?}");
        }
        for seen in [" a ", "\u{200b}ä", ".", "👩\u{200d}🚀", "\u{e000}"] {
            assert_eq!(text(&json!(seen), &(1..=9), &[]), Ok(seen.to_owned()));
        }
    }

    #[test]
    fn what_is_an_address_and_what_is_not() {
        let long = "x".repeat(63);
        for good in [
            "ada@example.org",
            "ada+box@example",
            "a.b-c@xn--exmple-cua.org",
            "o'neil!#$%&*/=?^_`{|}~@example.org",
            "am\u{e9}lie@b\u{fc}cher.example",
            "\u{611b}@\u{611b}.jp",
            "a@b",
            &format!("{long}@{long}.{long}"),
        ] {
            assert_eq!(email(&json!(good)).as_deref(), Ok(good));
        }
        for bad in [
            "Ada <a@b.de>",
            "Ada Lovelace, <a@b.de>",
            "<a@b.de>",
            " a@b.de",
            "a@b.de ",
            "a@",
            "@b.de",
            "a@b@c",
            "a",
            "\"x\"@e.org",
            "\"ada l\"@example.org",
            "a@[127.0.0.1]",
            "a@b_c.de",
            "a@-b.de",
            "a@b-.de",
            "a@b..de",
            "a@.de",
            "a@b.de.",
            "a b@c.de",
            "a\u{200b}@b.de",
            "a\u{fe0f}@b.de",
            "a@b\u{ad}.de",
            "a@b\u{3002}de",
            "a\n@b.de",
            "a@b.de\n",
            &format!("a@{long}x.de"),
            &format!("{}@b.de", "x".repeat(250)),
        ] {
            assert!(email(&json!(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn absurd_numbers_are_refused() {
        for count in [json!(1e300), json!(2.5), json!(-1), json!(u64::MAX), json!("1"), json!(true)] {
            let found =
                errors(&json!({"name": "a", "count": count, "id": Uuid::nil(), "parts": [{"size": 1}]}));
            assert_eq!(found, [("count".to_owned(), "must be a whole number from 1 to 9".to_owned())]);
        }
    }
}
