//! Makes a definition of a file's text, or says all that is wrong with it.

use super::document::{Findings, entry};
use super::fields::{FieldRef, Shared};
use super::problem::DefinitionErrors;
use super::required::Required;
use super::view::{self, Reader, View};
use super::{Definition, Filter};
use refold_domain::nearest;
use refold_domain::schema::EventType;
use std::ops::Range;
use toml::de::DeTable;

/// The keys of a definition.
pub(super) const KEYS: [&str; 11] =
    ["name", "title", "description", "enabled", "on", "where", "count", "stats", "series", "rows", "latest"];
/// Keys that are to come.
const NOT_YET: [&str; 1] = ["publish"];
/// How many characters a name may have: it becomes part of paths and of keys in the store.
const NAME_CHARS_MAX: usize = 63;
/// Where that is told which is missing.
const START: Range<usize> = 0..0;

/// A file as read.
pub(super) struct Source {
    /// Where people find it.
    pub(super) file: String,
    /// Its name without folder and ending.
    pub(super) name: String,
    /// What stands in it.
    pub(super) text: String,
}

/// What a file says.
#[derive(Debug)]
pub(super) enum Checked {
    /// This is to be folded.
    On(Box<Definition>),
    /// The definition of this name is switched off.
    Off,
}

/// Checks one file against these event types.
pub(super) fn check(
    types: &'static [&'static EventType],
    source: &Source,
) -> Result<Checked, DefinitionErrors> {
    let mut check = Check { source, types, findings: Findings::new(&source.file, &source.text) };
    let root = check.findings.root();
    let checked = root.and_then(|root| check.definition(&root));
    check.findings.finish(checked)
}

struct Check<'t> {
    source: &'t Source,
    types: &'static [&'static EventType],
    findings: Findings<'t>,
}

impl Check<'_> {
    fn definition(&mut self, root: &DeTable<'_>) -> Option<Checked> {
        self.keys(root);
        self.name(root);
        let title = self.findings.text(root, "title").map(|word| word.text.to_owned());
        let description = self.findings.text(root, "description").map(|word| word.text.to_owned());
        if self.findings.flag(root, "enabled") == Some(false) {
            return self.off(root);
        }
        let on = self.on(root);
        let filter = self.filter(root, on.as_deref());
        let view = self.view(root, on.as_deref());
        let Source { name, text, .. } = self.source;
        let (name, text) = (name.clone(), text.clone());
        let (on, view) = (on?, view?);
        let mut definition =
            Definition { name, title, description, on, filter, view, text, of_objects: None };
        definition.of_objects = self.of_objects(&definition);
        self.required(root, &definition);
        Some(Checked::On(Box::new(definition)))
    }

    fn keys(&mut self, root: &DeTable<'_>) {
        let known = |key: &str| KEYS.contains(&key) || NOT_YET.contains(&key);
        for (key, _) in root.iter().filter(|(key, _)| !known(key.get_ref())) {
            let reason = nearest::unknown("key", key.get_ref(), KEYS.into_iter());
            self.findings.add(&key.span(), reason);
        }
        for (key, _) in root.iter().filter(|(key, _)| NOT_YET.contains(&key.get_ref().as_ref())) {
            self.findings.add(&key.span(), format!("{} is not yet built", key.get_ref()));
        }
    }

    fn name(&mut self, root: &DeTable<'_>) {
        let expected = &self.source.name;
        let Some(_) = entry(root, "name") else {
            let reason = format!("name is missing: it is the file's, {}", nearest::quoted(expected));
            return self.findings.add(&START, reason);
        };
        let Some(word) = self.findings.text(root, "name") else { return };
        if !is_name(word.text) {
            let reason = format!(
                "name {} must be 1 to {NAME_CHARS_MAX} characters of a-z, 0-9 and _, the first one a letter",
                nearest::quoted(word.text)
            );
            self.findings.add(&word.span, reason);
        } else if word.text != expected {
            // So no two files can define the same name.
            let reason = format!(
                "name must be the file's, {}, not {}",
                nearest::quoted(expected),
                nearest::quoted(word.text)
            );
            self.findings.add(&word.span, reason);
        }
    }

    fn off(&mut self, root: &DeTable<'_>) -> Option<Checked> {
        if let Some(required) = Required::find(&self.source.name) {
            let span = entry(root, "enabled").map_or(START, toml::Spanned::span);
            self.findings.add(&span, required.off());
        }
        Some(Checked::Off)
    }

    /// The event types of `on`, sorted by name; `None` if they are not known.
    fn on(&mut self, root: &DeTable<'_>) -> Option<Vec<&'static EventType>> {
        let before = self.findings.count();
        let Some(words) = self.findings.texts(root, "on") else {
            let known = self.types.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
            self.findings
                .add(&START, format!("on is missing: the event types that feed the view, of {known}"));
            return None;
        };
        if let (true, Some(node)) = (words.is_empty() && self.findings.count() == before, entry(root, "on")) {
            self.findings.add(&node.span(), "on names no event type");
        }
        let find = |word| view::event_type(&mut self.findings, self.types, word);
        let mut on: Vec<_> = words.iter().filter_map(find).collect();
        on.sort_by_key(|kind| kind.name);
        (self.findings.count() == before).then_some(on)
    }

    fn filter(&mut self, root: &DeTable<'_>, on: Option<&[&'static EventType]>) -> Filter {
        let table = entry(root, "where").and_then(|node| self.findings.table(node, "where"));
        table.map_or_else(Filter::default, |table| Filter::read(&mut self.findings, table, on.map(Shared)))
    }

    /// The one view; where there are several, all are checked.
    fn view(&mut self, root: &DeTable<'_>, on: Option<&[&'static EventType]>) -> Option<View> {
        let is_view = |key: &str| view::KINDS.contains(&key);
        let mut found: Vec<_> = root.iter().filter(|(key, _)| is_view(key.get_ref())).collect();
        found.sort_by_key(|(key, _)| key.span().start);
        let Some(((first, _), others)) = found.split_first() else {
            let reason = format!("a view is missing: one of {}", view::KINDS.join(", "));
            self.findings.add(&START, reason);
            return None;
        };
        for (other, _) in others {
            let reason =
                format!("{} beside {}: a definition makes one view", other.get_ref(), first.get_ref());
            self.findings.add(&other.span(), reason);
        }
        let mut reader = Reader { findings: &mut self.findings, types: self.types, on };
        let views: Vec<_> =
            found.iter().map(|(key, node)| View::read(&mut reader, key.get_ref(), node)).collect();
        views.into_iter().next()?
    }

    /// A field of objects, where the definition names any: all must be of one array, and the view must be of use.
    fn of_objects(&mut self, definition: &Definition) -> Option<FieldRef> {
        let mut fields = definition.fields();
        fields.retain(|field| field.array().is_some());
        fields.sort_by_key(|field| field.span.start);
        let first = *fields.first()?;
        for field in fields {
            let reason = if definition.view.is_of_events() {
                let kind = definition.view.kind();
                format!("a view of the kind {kind} holds whole events, and {} is a part of one", field.path)
            } else if field.array() != first.array() {
                format!("{} beside {}: a definition goes through one array", field.path, first.path)
            } else {
                continue;
            };
            self.findings.add(&field.span, reason);
        }
        Some(first.clone())
    }

    fn required(&mut self, root: &DeTable<'_>, definition: &Definition) {
        let required = Required::find(&definition.name);
        // A definition that has other faults may differ because of them.
        if self.findings.count() > 0 {
            return;
        }
        if let Some(reason) = required.and_then(|required| required.differs(definition)) {
            let span = entry(root, "name").map_or(START, toml::Spanned::span);
            self.findings.add(&span, reason);
        }
    }
}

fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    starts && name.chars().all(rest) && name.len() <= NAME_CHARS_MAX
}
