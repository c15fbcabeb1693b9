//! What a user may be called: to log in, where one name must not pass for another, and by people.

use crate::validation::{Pattern, text, unseen};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// How many characters a name may have, the first and the last one.
pub const NAME_CHARS: RangeInclusive<usize> = 1..=200;
/// How many characters a user name may have.
pub const USERNAME_CHARS: RangeInclusive<usize> = 1..=64;

/// A user name: nothing in it is invisible, and of the punctuation of ASCII only some is in it, but not first. U+037E and
/// U+1FEF are such punctuation once they are composed.
pub static USERNAME: LazyLock<Pattern> = LazyLock::new(|| {
    let unseen = unseen::class();
    Pattern::new(
        format!(
            r"^[^{unseen}\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e\u037e\u1fef][^{unseen}\x21-\x2a\x2c\x2f\x3a-\x3f\x5b-\x5e\x60\x7b-\x7e\u037e\u1fef]*$"
        ),
        "must have letters and digits, and after the first one also . _ - @ +, but no blanks and nothing invisible",
    )
});

/// A name among people: something in it can be seen, and nothing in it controls what is around it, such as the direction
/// of the text. Joiners and variants of letters are how some names are written.
pub static NAME: LazyLock<Pattern> = LazyLock::new(|| {
    let (unseen, controls) =
        (unseen::class(), r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069");
    Pattern::new(
        format!("^[^{controls}]*[^{unseen}][^{controls}]*$"),
        "must have a character that can be seen, and none that changes the direction or the line of the text",
    )
});

/// A user name or an e-mail address in the form in which it is unique: composed (NFC) and without a case. Some letters have
/// more cases than two: so those are one, such as σ and ς, that are one in upper case. What becomes of a letter does not
/// depend on where it stands.
pub fn normalised(text: &str) -> String {
    let lower = text.nfc().flat_map(char::to_lowercase);
    lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

/// Reads a user name.
///
/// # Errors
/// What it must be.
pub(super) fn username(value: &Value) -> Result<String, String> {
    USERNAME.hold(text(value, &USERNAME_CHARS, &[])?)
}

/// Reads a name.
///
/// # Errors
/// What it must be.
pub(super) fn name(value: &Value) -> Result<String, String> {
    NAME.hold(text(value, &NAME_CHARS, &[])?)
}
