//! A password as somebody typed it: never shown, and the same however their machine composes letters.

use serde_json::Value;
use std::fmt;
use std::ops::RangeInclusive;
use unicode_normalization::UnicodeNormalization;

/// How many characters a password may have.
pub(super) const CHARS: RangeInclusive<usize> = 10..=256;

/// A password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Reads one that may be chosen.
    ///
    /// # Errors
    /// What it must be.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or("must be a text")?;
        Self::typed(text).ok_or_else(|| format!("must have {} to {} characters", CHARS.start(), CHARS.end()))
    }

    /// One that was typed, if it can be anybody's.
    pub fn typed(text: &str) -> Option<Self> {
        // As RFC 8265 has it, but that nothing is refused for its characters.
        CHARS.contains(&text.chars().count()).then(|| Self(text.nfc().collect()))
    }

    /// What to hash.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn its_characters_are_counted_and_nothing_else_is_asked_of_them() {
        for good in ["          ", "ten chars!", "pässwörter", "a\tb\nc\u{0}d e f"] {
            assert!(Password::parse(&json!(good)).is_ok(), "{good:?}");
        }
        assert!(Password::parse(&json!("ä".repeat(256))).is_ok());
        for bad in [json!("nine char"), json!("ä".repeat(257)), json!(1_234_567_890), json!(null)] {
            let told = Password::parse(&bad).unwrap_err();
            assert!(!told.contains("nine") && !told.contains('ä'), "{told}");
        }
    }

    #[test]
    fn it_is_the_same_however_letters_are_composed() {
        assert_eq!(Password::typed("Am\u{e9}lie 1999"), Password::typed("Ame\u{301}lie 1999"));
        assert_ne!(Password::typed("Amelie 1999"), Password::typed("amelie 1999"));
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Password::typed("correct horse").unwrap()), "a password");
    }
}
