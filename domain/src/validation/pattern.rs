//! What a text must look like, as one regular expression that refuses and is published: so nobody is told otherwise.

use regex::Regex;

/// A form of texts.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    expected: &'static str,
}

impl Pattern {
    /// A form, in a dialect that all readers of OpenAPI documents share, and in words.
    ///
    /// # Panics
    /// Where it is no regular expression.
    pub fn new(pattern: impl AsRef<str>, expected: &'static str) -> Self {
        Self { regex: Regex::new(pattern.as_ref()).expect("a pattern in the code is sound"), expected }
    }

    /// The regular expression.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Gives back a text that has the form.
    ///
    /// # Errors
    /// What it must be.
    pub fn hold(&self, text: String) -> Result<String, String> {
        if self.regex.is_match(&text) { Ok(text) } else { Err(self.expected.to_owned()) }
    }
}
