//! What others say, so that a terminal can print it: nothing in it moves the cursor, or hides, or turns the line.

use refold_domain::validation::unseen::is_visible;
use std::fmt::Write;

/// A text with the characters that show nothing, but for blanks, as JSON escapes them: in JSON it stays the same.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c == ' ' || is_visible(c) {
            plain.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(plain, "\\u{unit:04x}").expect("a string takes everything");
        }
    }
    plain
}

/// The same for a text whose lines are its own.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_escaped() {
        assert_eq!(plain("Ada \"é\" 愛 \\ 😀"), "Ada \"é\" 愛 \\ 😀");
        assert_eq!(
            plain("\u{1b}[2J\u{9b}A\u{202e}d\u{200b}a\n\u{e0061}"),
            r"\u001b[2J\u009bA\u202ed\u200ba\u000a\udb40\udc61"
        );
    }

    #[test]
    fn json_stays_the_same() {
        let sent = serde_json::json!({"na\u{2066}me": "A\u{202e}\u{9b}\u{e0061}da\n"});
        let read: serde_json::Value = serde_json::from_str(&plain(&sent.to_string())).unwrap();
        assert_eq!(read, sent);
    }
}
