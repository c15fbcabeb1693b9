//! What in a store can never be read again, and what to do about it.

use rusqlite::ErrorCode;
use std::error::Error;
use std::fmt;

/// What to do about a damaged store.
pub const REMEDY: &str =
    "stop refold and run `refold store empty`: the next start folds the store anew from the log";

/// The context of an error about a value in the store that is none of ours.
#[derive(Debug)]
pub struct Damaged(pub &'static str);

/// Whether an error came of a store that was damaged: no other try will read it.
pub fn is_damage(error: &anyhow::Error) -> bool {
    let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    error.is::<Damaged>() || error.chain().filter_map(code).any(|code| codes.contains(&code))
}

/// What SQLite says a cause is, if it says it.
pub(super) fn code(cause: &(dyn Error + 'static)) -> Option<ErrorCode> {
    cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store is damaged: {}", self.0)
    }
}
