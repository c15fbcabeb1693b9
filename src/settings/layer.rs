//! One source of settings, a file or the environment, as a flat list of entries that know where they are from.

use super::routes;
use anyhow::{Context, Result, anyhow, bail};
use config::{Environment, File, FileFormat, Map, Source, Value, ValueKind};
use std::fmt;
use std::path::Path;

const PREFIX: &str = "REFOLD";
const SEPARATOR: &str = "__";
/// Variables that go by another name, under which other systems know them, and the keys that they set.
const OTHER_NAMES: [(&str, &str); 1] = [("SUSPICIOUS_VEHICLE", "vehicles.suspicious")];

/// One key with its value.
pub(super) struct Entry {
    /// The key, with dots: `http.listen`.
    pub(super) key: String,
    /// What it is set to.
    pub(super) value: Value,
    /// Where, in words for people.
    pub(super) source: Origin,
}

/// Where an entry stands.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// In this file.
    File(String),
    /// In this variable, where every value is text.
    Variable(String),
}

impl Origin {
    /// Whether a number is spelt as text there.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Variable(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// The entries of a file.
pub(super) fn file(path: &Path) -> Result<Vec<Entry>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    check(&text).with_context(|| format!("{name} is no TOML"))?;
    let table =
        File::from_str(&text, FileFormat::Toml).collect().with_context(|| format!("cannot take {name}"))?;
    let mut entries = Vec::new();
    flatten("", table, &Origin::File(name), &mut entries);
    Ok(entries)
}

/// Whether it is TOML. What is wrong is told without the line that it is in: that may have a secret.
fn check(text: &str) -> Result<()> {
    let Err(error) = text.parse::<toml::Table>() else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    bail!("line {line}, column {column}: {}", error.message())
}

/// The entries of the process's environment, or of `variables` instead.
pub(super) fn environment(variables: Option<Map<String, String>>) -> Result<Vec<Entry>> {
    let others = others(variables.as_ref())?;
    let source = Environment::with_prefix(PREFIX).separator(SEPARATOR).source(variables);
    let found = source.collect().context("cannot read the environment")?;
    let ours = found.into_iter().map(|(key, value)| Entry { source: variable(&key), key, value });
    let mut entries = Vec::new();
    for entry in ours {
        entries.extend(routes::spread(entry)?);
    }
    for other in others {
        if let Some(ours) = entries.iter().find(|entry| entry.key == other.key) {
            bail!("{} and {} set the same: take one of them away", ours.source, other.source);
        }
        entries.push(other);
    }
    Ok(entries)
}

/// What variables of other names set.
fn others(variables: Option<&Map<String, String>>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, key) in OTHER_NAMES {
        let found = match variables {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var_os(name)
                .map(|value| value.into_string().map_err(|_| anyhow!("${name} is no UTF-8")))
                .transpose()?,
        };
        let source = Origin::Variable(name.to_owned());
        entries.extend(found.map(|text| Entry { key: key.to_owned(), value: text.into(), source }));
    }
    Ok(entries)
}

/// The names of all variables of the process's environment, or of `variables` instead. What is no text is no name of
/// ours.
pub(super) fn names(variables: Option<&Map<String, String>>) -> Vec<String> {
    let given = || std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    variables.map_or_else(given, |variables| variables.keys().cloned().collect())
}

/// What is wrong with a variable that is not read, but means one of `keys` with other underscores.
pub(super) fn slip<'k>(name: &str, mut keys: impl Iterator<Item = &'k str>) -> Option<String> {
    let letters = |text: &str| text.to_uppercase().replace(['_', '.'], "");
    let is_read = name.to_uppercase().starts_with(&format!("{PREFIX}{SEPARATOR}"));
    let rest = letters(name).strip_prefix(PREFIX).filter(|_| !is_read)?.to_owned();
    let meant = keys.find(|key| letters(key) == rest)?;
    Some(format!("${name} is not read: write {}", name_of(meant)))
}

fn variable(key: &str) -> Origin {
    Origin::Variable(name_of(key))
}

fn name_of(key: &str) -> String {
    format!("{PREFIX}{SEPARATOR}{}", key.to_uppercase().replace('.', SEPARATOR))
}

fn flatten(section: &str, table: Map<String, Value>, source: &Origin, entries: &mut Vec<Entry>) {
    for (name, value) in table {
        let key = if section.is_empty() { name } else { format!("{section}.{name}") };
        match value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => flatten(&key, inner, source, entries),
            _ => entries.push(Entry { key, value, source: source.clone() }),
        }
    }
}
