//! A projection's definition: which events feed which view, read from a TOML file and checked at start.
//!
//! In reading order: [`load()`] collects the files, `check` makes a [`Definition`] of each or says all that is
//! wrong with it ([`Problem`]), [`View`] and [`Filter`] read their own keys, `fields` finds the fields that
//! they name, [`Amount`] multiplies some of them, `required` keeps what the systems' own routes are built on, and
//! [`Categories`] are what the built-in definition of suspicious vehicles watches for.

mod amount;
mod categories;
mod check;
mod document;
mod fields;
mod filter;
mod load;
mod problem;
mod required;
mod series;
#[cfg(test)]
mod tests;
mod view;

pub use amount::Amount;
pub use categories::{Categories, EXPECTED as CATEGORIES_EXPECTED};
pub use fields::FieldRef;
pub use filter::{Condition, Filter, Operand, Test};
pub use load::{DEFINITION_BYTES_MAX, DEFINITIONS_MAX, defaults, load};
pub use problem::{DefinitionErrors, Problem};
pub use series::{Every, Series};
pub use view::{Counts, Latest, Rows, Stats, View};

use refold_domain::schema::{self, EventType, Value};
use std::fmt;

/// Which events feed which view.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The projection's name; its file is called the same.
    pub name: String,
    /// A heading for people.
    pub title: Option<String>,
    /// What it is good for, for people.
    pub description: Option<String>,
    /// The types of the events that feed it, sorted by name; never empty.
    pub on: Vec<&'static EventType>,
    /// Which of these events count.
    pub filter: Filter,
    /// What is made of them.
    pub view: View,
    /// The file's text as read.
    pub text: String,
    /// A field of the objects in an array, if it names any: then each object feeds the view, not the event.
    of_objects: Option<FieldRef>,
}

impl Definition {
    /// Reads the text of one definition.
    ///
    /// # Errors
    /// All that is wrong with it; `file` is where people are told to look. One switched off is refused.
    pub fn parse(file: &str, name: &str, text: &str) -> Result<Self, DefinitionErrors> {
        let source = check::Source { file: file.into(), name: name.into(), text: text.into() };
        match check::check(schema::EVENT_TYPES, &source)? {
            check::Checked::On(definition) => Ok(*definition),
            check::Checked::Off => Err(DefinitionErrors(vec![Problem::of_file(file, "it is switched off")])),
        }
    }

    /// Whether events of this type feed the view, as far as their values let them.
    pub fn is_on(&self, kind: &EventType) -> bool {
        self.on.iter().any(|on| fields::same(on, kind))
    }

    /// What of an event of one of its types feeds the view: where it names fields of the objects in an array, the
    /// numbers of those objects that pass the filter; otherwise 0, for the event itself, if that passes.
    pub fn elements(&self, kind: &EventType, values: &[Value<'_>]) -> impl Iterator<Item = usize> {
        let count = self.of_objects.as_ref().map_or(1, |field| field.elements(kind, values));
        (0..count).filter(move |element| self.filter.matches(kind, values, *element))
    }

    /// All fields that it names.
    fn fields(&self) -> Vec<&FieldRef> {
        self.filter.conditions.iter().map(|condition| &condition.field).chain(self.view.fields()).collect()
    }
}

/// Its meaning without names and comments: `on food.observed: counts by food`.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {}{}: {}", fields::names(&self.on), self.filter, self.view)
    }
}
