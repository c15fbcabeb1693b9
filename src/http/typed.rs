//! Parameters and fields with a form of their own: read, and shown in the OpenAPI document with the same words that
//! refuse what is none.

use jiff::Timestamp;
use jiff::civil::Date;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use refold_domain::time;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// What has a form.
pub trait Form: Sized + Send + Sync {
    /// Its name in the library's own words.
    const NAME: &'static str;
    /// What it must be, in words for people.
    const EXPECTED: &'static str;

    /// Reads it, where the text is one.
    fn read(text: &str) -> Option<Self>;

    /// What the document says beside the words.
    fn schema() -> MetaSchema;
}

/// Something with a form, as a parameter or a field.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Typed<T>(pub T);

/// A time, as people write it.
impl Form for Timestamp {
    const NAME: &'static str = "string(time)";
    const EXPECTED: &'static str = "a time such as 2026-01-31T08:00:00Z, from the year 0000 to 9999-12-30T22:00:00Z; without an offset it is in UTC";

    fn read(text: &str) -> Option<Self> {
        time::parse(text).ok()
    }

    /// Without a `format`: `date-time` would forbid the blank and the missing offset that are taken.
    fn schema() -> MetaSchema {
        const PATTERN: &str = r"^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9][0-9](0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?$";
        MetaSchema { pattern: Some(PATTERN.into()), ..MetaSchema::new("string") }
    }
}

/// A day.
impl Form for Date {
    const NAME: &'static str = "string(day)";
    const EXPECTED: &'static str = "a day such as 2026-01-31";

    fn read(text: &str) -> Option<Self> {
        const FORM: &str = "0000-00-00";
        let fits =
            |(found, wanted): (u8, u8)| if wanted == b'0' { found.is_ascii_digit() } else { found == wanted };
        let has_form = text.len() == FORM.len() && text.bytes().zip(FORM.bytes()).all(fits);
        text.parse().ok().filter(|_| has_form)
    }

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "date")
    }
}

/// A name that a client gives to a command of its own.
#[derive(Debug, Clone, Copy)]
pub struct Key;

impl Form for Key {
    const NAME: &'static str = "string(key)";
    const EXPECTED: &'static str = "1 to 255 printable ASCII characters";

    fn read(text: &str) -> Option<Self> {
        let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        ((1..=255).contains(&text.len()) && text.bytes().all(is_printable)).then_some(Self)
    }

    fn schema() -> MetaSchema {
        let pattern = Some("^[ -~]*$".into());
        MetaSchema { pattern, min_length: Some(1), max_length: Some(255), ..MetaSchema::new("string") }
    }
}

impl<T: Form> Type for Typed<T> {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(T::EXPECTED), ..T::schema() }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Form> ParseFromParameter for Typed<T> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        T::read(text).map(Self).ok_or_else(|| ParseError::custom(T::EXPECTED))
    }
}

impl<T: Form> ParseFromJSON for Typed<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let read = value.as_ref().and_then(Value::as_str).and_then(T::read);
        read.map(Self).ok_or_else(|| ParseError::custom(T::EXPECTED))
    }
}

impl<T: Form + ToString> ToJSON for Typed<T> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_form() {
        assert_eq!(Date::read("2024-02-29"), Some(jiff::civil::date(2024, 2, 29)));
        for bad in
            ["2023-02-29", "20240229", "2024-02-29T00:00:00", "+002024-02-29", "2024-2-29", "", "today"]
        {
            assert_eq!(Date::read(bad), None, "{bad}");
        }
    }
}
