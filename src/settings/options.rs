//! The sections of brokers and stores: what is set there is read by whom it is for, and held here only to the kind of its
//! default.

use super::layer::Entry;
use config::{Value, ValueKind};
use refold_adapters::options as brokers;
use refold_domain::options::Options;
use refold_projections::store::kinds as stores;
use std::collections::BTreeMap;

/// The ends of names whose values are never shown.
const SECRETS: [&str; 2] = ["password", "token"];

/// The sections of all brokers and stores that have one, by name, each key with its default.
fn sections() -> impl Iterator<Item = (&'static str, &'static toml::Table)> {
    brokers::sections().chain(stores::sections())
}

fn defaults(section: &str) -> Option<&'static toml::Table> {
    sections().find(|(name, _)| *name == section).map(|(_, defaults)| defaults)
}

/// The default of a key of such a section, if it is one.
pub(super) fn default_of(key: &str) -> Option<&'static toml::Value> {
    let (section, name) = key.split_once('.')?;
    defaults(section)?.get(name)
}

/// Whether a key of such a section holds a secret.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.iter().any(|secret| key.ends_with(secret))
}

/// The names in such a section, or of all sections for the section "".
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    match section {
        "" => sections().map(|(name, _)| name).collect(),
        _ => defaults(section).into_iter().flat_map(toml::Table::keys).map(String::as_str).collect(),
    }
}

/// The value for a key whose default is of this kind, if it fits. A variable has all kinds as text, and lists with commas.
pub(super) fn fitting(default: &toml::Value, value: &ValueKind, is_text: bool) -> Option<toml::Value> {
    let text = |value: &Value| value.kind.to_string().into();
    Some(match (default, value) {
        (toml::Value::String(_), ValueKind::String(text)) => text.as_str().into(),
        (toml::Value::Integer(_), ValueKind::I64(number)) => (*number).into(),
        (toml::Value::Boolean(_), ValueKind::Boolean(truth)) => (*truth).into(),
        (toml::Value::Array(_), ValueKind::Array(items)) if items.iter().all(is_string) => {
            items.iter().map(text).collect::<Vec<toml::Value>>().into()
        }
        (toml::Value::Integer(_), ValueKind::String(text)) if is_text => text.parse::<i64>().ok()?.into(),
        (toml::Value::Boolean(_), ValueKind::String(text)) if is_text => text.parse::<bool>().ok()?.into(),
        (toml::Value::Array(_), ValueKind::String(text)) if is_text => listed(text).into(),
        _ => return None,
    })
}

fn is_string(value: &Value) -> bool {
    matches!(value.kind, ValueKind::String(_))
}

fn listed(text: &str) -> Vec<toml::Value> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Into::into).collect()
}

/// What fits where this is the default, in words for people.
pub(super) fn expected(default: &toml::Value) -> &'static str {
    match default {
        toml::Value::String(_) => "a text",
        toml::Value::Integer(_) => "a whole number",
        toml::Value::Boolean(_) => "true or false",
        _ => "a list of texts",
    }
}

/// The settings of all brokers and stores: the defaults, and over them those of the entries that are of such a section; the other
/// entries are left.
pub(super) fn taken(entries: &mut Vec<Entry>) -> BTreeMap<String, Options> {
    let mut all: BTreeMap<_, _> =
        sections().map(|(name, defaults)| (name.to_owned(), Options::new(defaults.clone()))).collect();
    entries.retain(|Entry { key, value, source }| {
        let found = default_of(key).and_then(|default| fitting(default, &value.kind, source.is_text()));
        let section = key.split_once('.').and_then(|(section, name)| Some((all.get_mut(section)?, name)));
        match (found, section) {
            (Some(value), Some((options, name))) => options.set(name, value),
            _ => return true,
        }
        false
    });
    all
}
