//! Texts whose form is a pattern of the domain: what the OpenAPI document says is what refuses them.

use super::typed::{Form, Typed};
use poem_openapi::registry::MetaSchema;
use refold_domain::users::{NAME, NAME_CHARS, USERNAME, USERNAME_CHARS};
use refold_domain::validation::{EMAIL, EMAIL_CHARS, Pattern};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

/// What such a text is called, and what it looks like.
pub trait Look: Send + Sync {
    /// Its name in the library's own words.
    const NAME: &'static str;
    /// What it must be, in words for people.
    const EXPECTED: &'static str;
    /// How many characters it has.
    const CHARS: RangeInclusive<usize>;

    /// The pattern.
    fn pattern() -> &'static Pattern;
}

/// A text that looks so.
#[derive(Debug)]
pub struct Text<L>(String, PhantomData<L>);

/// A user name.
#[derive(Debug)]
pub struct Username;

/// The name of a person.
#[derive(Debug)]
pub struct Name;

/// An e-mail address.
#[derive(Debug)]
pub struct Email;

impl Look for Username {
    const NAME: &'static str = "string(username)";
    const EXPECTED: &'static str =
        "a letter or a digit, and after it no others than those, their marks and . _ - @ +";
    const CHARS: RangeInclusive<usize> = USERNAME_CHARS;

    fn pattern() -> &'static Pattern {
        &USERNAME
    }
}

impl Look for Name {
    const NAME: &'static str = "string(name)";
    const EXPECTED: &'static str =
        "a text with something to be seen, and with nothing that changes its direction or line";
    const CHARS: RangeInclusive<usize> = NAME_CHARS;

    fn pattern() -> &'static Pattern {
        &NAME
    }
}

impl Look for Email {
    const NAME: &'static str = "string(email)";
    const EXPECTED: &'static str =
        "an e-mail address such as ada@example.org, without quotes; also with letters beyond ASCII";
    const CHARS: RangeInclusive<usize> = EMAIL_CHARS;

    fn pattern() -> &'static Pattern {
        &EMAIL
    }
}

impl<L: Look> Form for Text<L> {
    const NAME: &'static str = L::NAME;
    const EXPECTED: &'static str = L::EXPECTED;

    fn read(text: &str) -> Option<Self> {
        let fits = L::CHARS.contains(&text.chars().count());
        let text = L::pattern().hold(text.to_owned()).ok().filter(|_| fits)?;
        Some(Self(text, PhantomData))
    }

    fn schema() -> MetaSchema {
        MetaSchema {
            pattern: Some(L::pattern().as_str().to_owned()),
            min_length: Some(*L::CHARS.start()),
            max_length: Some(*L::CHARS.end()),
            ..MetaSchema::new("string")
        }
    }
}

impl<L> fmt::Display for Text<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One for an example, as it stands in the code.
impl<L> From<&str> for Typed<Text<L>> {
    fn from(text: &str) -> Self {
        Self(Text(text.to_owned(), PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use crate::http::detections::Detection;
    use poem_openapi::registry::{MetaSchemaRef, Registry};
    use poem_openapi::types::Type;
    use refold_domain::validation::unseen::is_visible;
    use regex::Regex;

    #[test]
    fn other_texts_are_published_with_what_can_be_seen_too() {
        let mut registry = Registry::new();
        Detection::register(&mut registry);
        let make = registry.schemas["Detection"].properties.iter().find(|(name, _)| *name == "make");
        let Some((_, MetaSchemaRef::Inline(make))) = make else { panic!("{make:?}") };
        let pattern = Regex::new(make.pattern.as_ref().unwrap()).unwrap();
        // Beyond these, each dialect writes characters in another way.
        for c in char::MIN..='\u{ffff}' {
            assert_eq!(pattern.is_match(&c.to_string()), is_visible(c), "{c:?}");
        }
    }
}
