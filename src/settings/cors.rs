//! Which other origins may use the API from within a browser.

use super::{Deserialize, Deserializer, Serialize};
use config::ValueKind;
use std::fmt;
use url::Url;

/// How many origins may be listed.
pub const ORIGINS_MAX: usize = 100;

/// Which other origins may use the API from within a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins, as browsers write them.
    #[serde(deserialize_with = "list")]
    pub origins: Vec<String>,
}

/// Whether a value is a list of origins; a variable has them in one text, with commas between them.
pub(super) fn are_origins(value: &ValueKind, is_text: bool) -> bool {
    let text = |value: &config::Value| match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    };
    let origins = match value {
        ValueKind::Array(items) => items.iter().map(text).collect(),
        ValueKind::String(text) if is_text => Some(split(text)),
        _ => None,
    };
    origins.is_some_and(|origins: Vec<String>| {
        origins.len() <= ORIGINS_MAX && origins.iter().all(|origin| is_origin(origin))
    })
}

/// Whether it is written as a browser writes the origin of a page.
fn is_origin(text: &str) -> bool {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    url.is_some_and(|url| url.origin().ascii_serialization() == text)
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(|origin| origin.trim().to_owned()).filter(|origin| !origin.is_empty()).collect()
}

fn list<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    struct Origins;

    impl<'de> serde::de::Visitor<'de> for Origins {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("origins")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(split(text))
        }

        fn visit_seq<S: serde::de::SeqAccess<'de>>(self, mut items: S) -> Result<Vec<String>, S::Error> {
            let mut origins = Vec::new();
            while let Some(origin) = items.next_element()? {
                origins.push(origin);
            }
            Ok(origins)
        }
    }

    value.deserialize_any(Origins)
}
