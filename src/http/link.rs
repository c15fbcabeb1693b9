//! A link, as the OpenAPI document shows it; the domain says what is one.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use refold_domain::introductions::LINK_CHARS;
use serde_json::Value;
use std::borrow::Cow;

/// Narrower than what is taken, so that whatever fits is one.
const PATTERN: &str = r"^https?://[a-z]+(\.[a-z]+)*(:[0-9]{1,4})?(/[A-Za-z0-9._~?=&/-]*)?$";

/// A URL with http or https.
#[derive(Debug)]
pub struct Link(String);

impl Example for Link {
    fn example() -> Self {
        Self("https://example.org/ada".into())
    }
}

impl Type for Link {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string(link)".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            pattern: Some(PATTERN.into()),
            min_length: Some(*LINK_CHARS.start()),
            max_length: Some(*LINK_CHARS.end()),
            ..MetaSchema::new("string")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Link {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => Ok(Self(text)),
            other => Err(ParseError::expected_type(other.unwrap_or_default())),
        }
    }
}

impl ToJSON for Link {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.clone()))
    }
}
