//! A link, as the OpenAPI document shows it; the domain says what is one.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use refold_domain::introductions::LINK_CHARS;
use serde_json::Value;
use std::borrow::Cow;

/// Narrower than what is taken, so that whatever fits is one: names of hosts in ASCII, without two hyphens in a row
/// (what follows `xn--` must be Punycode) and without a number at the end (it would have to be an IPv4 address, which
/// fits as four numbers), ports that exist, and any path, query and fragment.
const PATTERN: &str = concat!(
    r"^https?://",
    r"(([A-Za-z0-9]+(-[A-Za-z0-9]+)*\.)*[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*\.?",
    r"|((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]))",
    r"(:([1-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
    r"([/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?$",
);

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
            description: Some(
                "A URL such as https://example.org/ada; names of hosts may also have letters beyond ASCII",
            ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use refold_domain::introductions::Introduction;
    use serde_json::json;

    fn is_taken(link: &str) -> bool {
        Introduction::parse(&json!({"name": "Ada", "message": "Hello", "links": [link]})).is_ok()
    }

    proptest! {
        #[test]
        fn what_fits_the_document_is_taken(link in proptest::string::string_regex(PATTERN.trim_matches(['^', '$'])).unwrap()) {
            prop_assert!(link.chars().count() > *LINK_CHARS.end() || is_taken(&link), "{}", link);
        }
    }

    #[test]
    fn ordinary_links_fit_the_document() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for link in [
            "https://example.org",
            "https://3m.com/",
            "http://a-b.example:65535/a%20b?c=d#e",
            "http://127.0.0.1:8080/~ada/(x)",
            "https://EXAMPLE.org./",
            "http://localhost:5000",
        ] {
            assert!(pattern.is_match(link) && is_taken(link), "{link}");
        }
    }
}
