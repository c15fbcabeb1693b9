//! A password as somebody typed it: never shown, and the same however their machine composes letters and writes blanks.

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;
use serde_json::Value;
use std::fmt;
use std::ops::RangeInclusive;
use unicode_normalization::UnicodeNormalization;

/// How many characters a password may have, once it is composed.
pub(super) const CHARS: RangeInclusive<usize> = 10..=256;
/// Of how many characters one may be composed (NFC): what is longer need not be looked at.
const COMPOSED_MAX: usize = 4;

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
        if text.chars().nth(CHARS.end() * COMPOSED_MAX).is_some() {
            return None;
        }
        // As RFC 8265 has it (OpaqueString), but that nothing is refused for its characters.
        let composed: String = text.chars().map(plain).nfc().collect();
        CHARS.contains(&composed.chars().count()).then_some(Self(composed))
    }

    /// What to hash.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A character, a blank of whatever width as the one that every keyboard has.
fn plain(c: char) -> char {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    if category == GeneralCategory::SpaceSeparator { ' ' } else { c }
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
        assert_eq!(Password::typed("corre\u{a0}t horse"), Password::typed("corre t horse"));
        assert_ne!(Password::typed("Amelie 1999"), Password::typed("amelie 1999"));
    }

    #[test]
    fn its_characters_are_counted_as_they_are_composed() {
        let umlauts = |count| Password::typed(&"a\u{308}".repeat(count)).is_some();
        assert_eq!([5, 9, 10, 256, 257].map(umlauts), [false, false, true, true, false]);
        // Of four characters each, the most there are to one.
        let greek = |count| Password::typed(&"\u{3b1}\u{313}\u{300}\u{345}".repeat(count)).is_some();
        assert_eq!([9, 10, 256, 257].map(greek), [false, true, true, false]);
        // One that falls apart when it is composed.
        assert!(Password::typed(&"\u{958}".repeat(5)).is_some());
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Password::typed("correct horse").unwrap()), "a password");
    }
}
