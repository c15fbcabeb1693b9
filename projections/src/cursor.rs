//! Where a page ends, as clients carry it to the next one: a key, under a sum of the question that it belongs to.
//!
//! Brought to another view, another selection of it, another generation or another log, it would go on at a place
//! that means nothing there. The sum guards against mistakes, not against forgers: a cursor gives nothing away.

use crate::store::{Blob, Space};
use crate::view::Selection;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use refold_domain::hash::Hash;
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
        URL_SAFE_NO_PAD.encode([&self.sum(key), key].concat())
    }

    /// The key to go on after, if the cursor belongs to this question.
    pub(crate) fn open(&self, cursor: &str) -> Option<Blob> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (sum, key) = bytes.split_first_chunk()?;
        (*sum == self.sum(key)).then(|| key.to_vec())
    }

    fn sum(&self, key: &[u8]) -> [u8; 8] {
        let Self { log, space, selection } = self;
        let Selection { from, to, reverse } = selection;
        Hash::of_command(&(log, space.to_string(), from, to, reverse, key)).0.to_be_bytes()
    }
}
