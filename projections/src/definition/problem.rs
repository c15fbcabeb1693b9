//! What is wrong with definitions, and where.

use std::fmt;
use std::ops::Range;

/// All that is wrong with a set of definitions; one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionErrors(pub Vec<Problem>);

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line and the column in characters, both from 1; `None` where the file could not be read.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub reason: String,
}

impl Problem {
    /// Something wrong with a file as a whole.
    pub(super) fn of_file(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: file.into(), place: None, reason: reason.into() }
    }

    /// Something wrong with a part of a file's text.
    pub(super) fn at(file: &str, text: &str, span: &Range<usize>, reason: impl Into<String>) -> Self {
        Self { file: file.into(), place: Some(place(text, span.start)), reason: reason.into() }
    }
}

impl std::error::Error for DefinitionErrors {}

impl fmt::Display for DefinitionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, reason, .. } = self;
        match self.place {
            Some((line, column)) => write!(f, "{file}:{line}:{column}: {reason}"),
            None => write!(f, "{file}: {reason}"),
        }
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\nżó = 1\n";
        for (offset, expected) in
            [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (4, (2, 2)), (6, (2, 3)), (99, (3, 1))]
        {
            assert_eq!(place(text, offset), expected, "{offset}");
        }
    }
}
