//! Reads a TOML document by hand, so that each mistake is told with its place and reading goes on after it.

use super::problem::{DefinitionErrors, Problem};
use refold_domain::nearest;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub(super) type Node<'t> = Spanned<DeValue<'t>>;

/// A text and where it stands.
#[derive(Clone)]
pub(super) struct Word<'v> {
    pub(super) text: &'v str,
    pub(super) span: Range<usize>,
}

/// What was found wrong with a file so far.
pub(super) struct Findings<'t> {
    file: &'t str,
    text: &'t str,
    problems: Vec<Problem>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    pub(super) fn add(&mut self, span: &Range<usize>, reason: impl Into<String>) {
        self.problems.push(Problem::at(self.file, self.text, span, reason));
    }

    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, DefinitionErrors> {
        self.problems.sort();
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(DefinitionErrors(self.problems)),
        }
    }

    /// The document's root.
    pub(super) fn root(&mut self) -> Option<DeTable<'t>> {
        let parsed = DeTable::parse(self.text);
        parsed
            .map_err(|error| self.add(&error.span().unwrap_or_default(), error.message()))
            .map(Spanned::into_inner)
            .ok()
    }

    /// Every key of the table must be a known one.
    pub(super) fn known_keys(&mut self, table: &DeTable<'_>, what: &str, known: &[&str]) {
        for (key, _) in table {
            if !known.contains(&key.get_ref().as_ref()) {
                let reason =
                    nearest::unknown(&format!("key of {what}"), key.get_ref(), known.iter().copied());
                self.add(&key.span(), reason);
            }
        }
    }

    /// The text under a key, if it is there.
    pub(super) fn text<'v>(&mut self, table: &'v DeTable<'_>, key: &str) -> Option<Word<'v>> {
        let node = entry(table, key)?;
        match node.get_ref() {
            DeValue::String(text) => Some(Word { text, span: node.span() }),
            other => {
                self.wrong_type(node, key, "a text", other);
                None
            }
        }
    }

    /// The texts under a key, which holds one or an array of them; `None` if it is not there.
    pub(super) fn texts<'v>(&mut self, table: &'v DeTable<'_>, key: &str) -> Option<Vec<Word<'v>>> {
        let node = entry(table, key)?;
        let DeValue::Array(items) = node.get_ref() else {
            let one = match node.get_ref() {
                DeValue::String(text) => vec![Word { text, span: node.span() }],
                other => {
                    self.wrong_type(node, key, "a text or an array of texts", other);
                    Vec::new()
                }
            };
            return Some(one);
        };
        let mut words: Vec<Word<'v>> = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) if words.iter().any(|word| word.text == *text) => {
                    self.add(&item.span(), format!("{} stands in {key} twice", nearest::quoted(text)));
                }
                DeValue::String(text) => words.push(Word { text, span: item.span() }),
                other => self.wrong_type(item, key, "an array of texts", other),
            }
        }
        Some(words)
    }

    /// The truth value under a key, if it is there.
    pub(super) fn flag(&mut self, table: &DeTable<'_>, key: &str) -> Option<bool> {
        let node = entry(table, key)?;
        match node.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                self.wrong_type(node, key, "true or false", other);
                None
            }
        }
    }

    /// The node's table.
    pub(super) fn table<'v, 't2>(&mut self, node: &'v Node<'t2>, key: &str) -> Option<&'v DeTable<'t2>> {
        match node.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.wrong_type(node, key, "a table such as {}", other);
                None
            }
        }
    }

    fn wrong_type(&mut self, node: &Node<'_>, key: &str, expected: &str, found: &DeValue<'_>) {
        self.add(&node.span(), format!("{key} must be {expected}, not {}", type_name(found)));
    }
}

/// The value under a key.
pub(super) fn entry<'v, 't>(table: &'v DeTable<'t>, key: &str) -> Option<&'v Node<'t>> {
    table.iter().find(|(candidate, _)| candidate.get_ref() == key).map(|(_, node)| node)
}

/// What people call a value of this type.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
