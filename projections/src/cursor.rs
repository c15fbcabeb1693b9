//! Where a page ends, as clients carry it to the next one: a key, under a sum of the question that it belongs to.
//!
//! Brought to another view, another selection of it, another generation or another log, it would go on at a place
//! that means nothing there. The sum guards against mistakes, not against forgers: a cursor gives nothing away.

use crate::store::{Blob, Space};
use crate::view::Selection;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use refold_domain::hash::Hash;
use serde::Serialize;
use uuid::Uuid;

/// What a cursor belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The log that was folded.
    pub(crate) log: Uuid,
    /// The view, in its generation.
    pub(crate) space: &'a Space,
    /// The part of it that is asked for.
    pub(crate) selection: &'a Selection,
}

impl Question<'_> {
    /// The cursor that goes on after `key`.
    pub(crate) fn seal(&self, key: &[u8]) -> String {
        seal(&self.asked(), key)
    }

    /// The key to go on after, if the cursor belongs to this question.
    pub(crate) fn open(&self, cursor: &str) -> Option<Blob> {
        open(&self.asked(), cursor)
    }

    fn asked(&self) -> impl Serialize {
        let Self { log, space, selection } = self;
        let Selection { from, to, reverse } = selection;
        (log, space.to_string(), from, to, reverse)
    }
}

/// The cursor of a question that goes on after `key`.
pub fn seal(question: &impl Serialize, key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&sum(question, key), key].concat())
}

/// The key to go on after, if the cursor belongs to this question.
pub fn open(question: &impl Serialize, cursor: &str) -> Option<Blob> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (known, key) = bytes.split_first_chunk()?;
    (*known == sum(question, key)).then(|| key.to_vec())
}

fn sum(question: &impl Serialize, key: &[u8]) -> [u8; 8] {
    Hash::of_command(&(question, key)).0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_goes_on_where_it_was_made_and_nowhere_else(question: String, other: String, key: Vec<u8>) {
            let cursor = seal(&question, &key);
            prop_assert_eq!(open(&question, &cursor), Some(key));
            prop_assume!(question != other);
            prop_assert_eq!(open(&other, &cursor), None);
        }

        #[test]
        fn no_text_is_taken_for_one(text: String) {
            prop_assert_eq!(open(&"question", &text), None);
        }
    }
}
