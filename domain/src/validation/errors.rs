//! What is wrong with a body, gathered up to a bound: a body may hold more that is wrong than anybody reads.

use crate::nearest;

/// How many errors are named; of those above, only the number is told.
pub const ERRORS_MAX: usize = 100;

/// What is wrong with one field of a body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field's name, with the way to it: `scoops[2].price`; empty for the body as a whole.
    pub field: String,
    /// What it must be.
    pub reason: String,
}

/// The first errors, and how many there are besides.
#[derive(Debug, Default)]
pub(super) struct Errors {
    named: Vec<FieldError>,
    more: usize,
}

impl Errors {
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Adds one; what is above the bound is not even made.
    pub(super) fn push(&mut self, error: impl FnOnce() -> FieldError) {
        if self.named.len() < ERRORS_MAX {
            self.named.push(error());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn extend(&mut self, others: Self) {
        others.named.into_iter().for_each(|error| self.push(|| error));
        self.more += others.more;
    }

    /// All that are named; the last one tells of the body as a whole how many more there are, if there are.
    pub(super) fn told(mut self) -> Vec<FieldError> {
        if self.more > 0 {
            let reason = format!("has {} more bad fields", self.more);
            self.named.push(FieldError { field: String::new(), reason });
        }
        self.named
    }
}

/// A name that a client gave, on the way to a field: cut where it is absurdly long.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(nearest::SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
