//! What a definition makes of its events: the kinds of view, and how each reads its own keys.

use super::amount::Amount;
use super::document::{Findings, Node, Word, entry};
use super::fields::{FieldRef, Shared, kind_name, names, same, within};
use super::series::Series;
use refold_domain::nearest;
use refold_domain::schema::{EventType, Kind};
use std::fmt;
use std::ops::Range;
use toml::de::DeTable;

/// The keys that say which view a definition makes.
pub(super) const KINDS: [&str; 5] = ["count", "stats", "series", "rows", "latest"];

/// Query parameters that every view takes, so that no field to ask by can be called like them.
const RESERVED: [&str; 6] = ["limit", "cursor", "skip", "from", "until", "fill"];

/// What is made of the events.
#[derive(Debug, Clone)]
pub enum View {
    /// `count = { by = ["food"] }`
    Counts(Counts),
    /// `stats = { of = "weight", by = ["shop_id"] }`
    Stats(Stats),
    /// `series = { every = "day", sum = "scoops[].quantity", by = ["shop_id"] }`
    Series(Series),
    /// `rows = { by = ["shop_id"], time = "timestamp" }`
    Rows(Rows),
    /// `latest = { remove_on = "introduction.withdrawn" }`
    Latest(Latest),
}

/// How many events there were.
#[derive(Debug, Clone)]
pub struct Counts {
    /// For each combination of these fields' values; without any, in total.
    pub by: Vec<FieldRef>,
}

/// What can be said about many numbers: how many, their sum, the least, the greatest, mean, deviation, quantiles.
#[derive(Debug, Clone)]
pub struct Stats {
    /// The numbers; an event without one is left out.
    pub of: Amount,
    /// For each combination of these fields' values; without any, over all.
    pub by: Vec<FieldRef>,
}

/// The events themselves.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The fields by which rows can be asked for.
    pub by: Vec<FieldRef>,
    /// The time that orders them, which every event has; without it, the commit's.
    pub time: Option<FieldRef>,
}

/// The newest event of each key.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The field that is the key; without it, the event's own key.
    pub by: Option<FieldRef>,
    /// The types of the events that take a key's entry away, sorted by name. None of them is in `on`, and they
    /// go by the event's own key: with one of them, there is no `by`.
    pub remove_on: Vec<&'static EventType>,
}

/// What a definition's view is read from.
pub(super) struct Reader<'r, 't> {
    pub(super) findings: &'r mut Findings<'t>,
    /// The event types to choose from.
    pub(super) types: &'static [&'static EventType],
    /// The event types of `on`; `None` where they are not known, so that fields cannot be judged.
    pub(super) on: Option<&'r [&'static EventType]>,
}

impl View {
    /// The kind's name in answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Counts(_) => "counts",
            Self::Stats(_) => "stats",
            Self::Series(_) => "series",
            Self::Rows(_) => "rows",
            Self::Latest(_) => "latest",
        }
    }

    /// Whether an event of this type takes an entry of the view away.
    pub fn is_removed_by(&self, kind: &EventType) -> bool {
        match self {
            Self::Latest(latest) => latest.remove_on.iter().any(|removing| same(removing, kind)),
            Self::Counts(_) | Self::Stats(_) | Self::Series(_) | Self::Rows(_) => false,
        }
    }

    /// The fields by which it can be asked for.
    pub fn by(&self) -> &[FieldRef] {
        match self {
            Self::Counts(counts) => &counts.by,
            Self::Stats(stats) => &stats.by,
            Self::Series(series) => &series.by,
            Self::Rows(rows) => &rows.by,
            Self::Latest(latest) => latest.by.as_slice(),
        }
    }

    /// All fields that it names.
    pub(super) fn fields(&self) -> Vec<&FieldRef> {
        let (amount, time) = match self {
            Self::Stats(stats) => (Some(&stats.of), None),
            Self::Series(series) => (series.sum.as_ref(), series.time.as_ref()),
            Self::Rows(rows) => (None, rows.time.as_ref()),
            Self::Counts(_) | Self::Latest(_) => (None, None),
        };
        let factors = amount.into_iter().flat_map(|amount| &amount.factors);
        self.by().iter().chain(factors).chain(time).collect()
    }

    /// Whether it is made of whole events, so that it can have no use for objects in their arrays.
    pub(super) fn is_of_events(&self) -> bool {
        matches!(self, Self::Rows(_) | Self::Latest(_))
    }

    /// Reads the view under one of [`KINDS`].
    pub(super) fn read(reader: &mut Reader<'_, '_>, kind: &str, node: &Node<'_>) -> Option<Self> {
        let table = reader.findings.table(node, kind)?;
        Some(match kind {
            "count" => Self::Counts(Counts::read(reader, table)),
            "stats" => Self::Stats(Stats::read(reader, table, &node.span())?),
            "series" => Self::Series(Series::read(reader, table, &node.span())?),
            "rows" => Self::Rows(Rows::read(reader, table)),
            _ => Self::Latest(Latest::read(reader, table, &node.span())),
        })
    }
}

impl Counts {
    fn read(reader: &mut Reader<'_, '_>, table: &DeTable<'_>) -> Self {
        reader.findings.known_keys(table, "count", &["by"]);
        // Its answers have a member of that name beside the fields.
        Self { by: reader.keys(table, &["count"]) }
    }
}

impl Stats {
    /// What its answers tell beside the fields.
    pub(crate) const MEMBERS: [&str; 9] =
        ["count", "average", "sum", "min", "max", "stddev", "p50", "p90", "p99"];

    fn read(reader: &mut Reader<'_, '_>, table: &DeTable<'_>, span: &Range<usize>) -> Option<Self> {
        reader.findings.known_keys(table, "stats", &["of", "by"]);
        let by = reader.keys(table, &Self::MEMBERS);
        if entry(table, "of").is_none() {
            reader.findings.add(span, "of is missing: the field of whole numbers to tell about");
        }
        let word = reader.findings.text(table, "of")?;
        Some(Self { of: Amount::read(reader, "of", &word)?, by })
    }
}

impl Rows {
    fn read(reader: &mut Reader<'_, '_>, table: &DeTable<'_>) -> Self {
        reader.findings.known_keys(table, "rows", &["by", "time"]);
        let by = reader.keys(table, &[]);
        Self { by, time: reader.time(table, "rows are ordered by") }
    }
}

impl Latest {
    fn read(reader: &mut Reader<'_, '_>, table: &DeTable<'_>, span: &Range<usize>) -> Self {
        reader.findings.known_keys(table, "latest", &["by", "remove_on"]);
        let before = reader.findings.count();
        let word = reader.findings.text(table, "by");
        let names_none = word.is_none() && reader.findings.count() == before;
        let by = word.as_ref().and_then(|word| reader.key(word, &[]));
        let remove_on = reader.removing(table);
        if let (Some(word), true) = (&word, entry(table, "remove_on").is_some()) {
            let reason =
                "remove_on goes by the events' own key, as only those of one key are in order: leave by out";
            reader.findings.add(&word.span, reason);
        }
        if let (true, Some(kind)) = (names_none, reader.without_key(&remove_on)) {
            let reason = format!(
                "{} has no key, so latest needs a field to go by: latest = {{ by = \"...\" }}",
                kind.name
            );
            reader.findings.add(span, reason);
        }
        Self { by, remove_on }
    }
}

impl Reader<'_, '_> {
    /// The fields under `by`, fit to ask by and none of them called like one of `taken` or another.
    pub(super) fn keys(&mut self, table: &DeTable<'_>, taken: &[&str]) -> Vec<FieldRef> {
        let words = self.findings.texts(table, "by").unwrap_or_default();
        let mut fields: Vec<FieldRef> = Vec::new();
        for word in &words {
            let Some(field) = self.key(word, taken) else { continue };
            if let Some(other) = fields.iter().find(|other| other.name == field.name) {
                let reason =
                    format!("{} and {} are both called {:?} in answers", other.path, field.path, field.name);
                self.findings.add(&word.span, reason);
            }
            fields.push(field);
        }
        fields
    }

    fn key(&mut self, word: &Word<'_>, taken: &[&str]) -> Option<FieldRef> {
        let field = self.field(word)?;
        if RESERVED.iter().chain(taken).any(|name| *name == field.name) {
            let reason = format!(
                "a view cannot be kept by {:?}: its queries and answers use that name themselves",
                field.name
            );
            self.findings.add(&word.span, reason);
            return None;
        }
        if matches!(field.kind, Kind::List | Kind::Objects(_)) {
            let inner = within(field.path.as_str(), field.kind).collect::<Vec<_>>().join(", ");
            let hint = if inner.is_empty() { inner } else { format!("; its objects have {inner}") };
            let reason =
                format!("{} is a list; a view is kept by texts, whole numbers and times{hint}", field.path);
            self.findings.add(&word.span, reason);
        }
        Some(field)
    }

    /// The field under `time`, for a view whose cells or events `use_it` so.
    pub(super) fn time(&mut self, table: &DeTable<'_>, use_it: &str) -> Option<FieldRef> {
        let word = self.findings.text(table, "time")?;
        let field = self.field(&word)?;
        let wrong = match field.kind {
            Kind::Time if field.optional => Some("may be absent".into()),
            Kind::Time => None,
            other => Some(format!("is {}", kind_name(other))),
        };
        if let Some(wrong) = wrong {
            let reason = format!("{} {wrong}; {use_it} a time that every event has", field.path);
            self.findings.add(&word.span, reason);
        }
        Some(field)
    }

    pub(super) fn field(&mut self, word: &Word<'_>) -> Option<FieldRef> {
        let found = Shared(self.on?).find(word);
        found.map_err(|reason| self.findings.add(&word.span, reason)).ok()
    }

    /// The first event type whose events have no key.
    fn without_key(&self, removing: &[&'static EventType]) -> Option<&'static EventType> {
        let on = self.on.unwrap_or_default();
        on.iter().chain(removing).copied().find(|kind| !kind.has_key)
    }

    /// The event types under `remove_on`, sorted by name.
    fn removing(&mut self, table: &DeTable<'_>) -> Vec<&'static EventType> {
        let words = self.findings.texts(table, "remove_on").unwrap_or_default();
        let mut kinds: Vec<_> = words.iter().filter_map(|word| self.removal(word)).collect();
        kinds.sort_by_key(|kind| kind.name);
        kinds
    }

    fn removal(&mut self, word: &Word<'_>) -> Option<&'static EventType> {
        let kind = event_type(self.findings, self.types, word)?;
        let system = |kind: &EventType| kind.aggregate.as_ref().map(|aggregate| aggregate.system);
        let on = self.on.unwrap_or_default();
        if on.iter().any(|on| same(on, kind)) {
            let reason = format!("{} cannot both make an entry (it is in `on`) and take it away", kind.name);
            self.findings.add(&word.span, reason);
        } else if let Some(other) = on.iter().find(|on| system(on) != system(kind)) {
            let reason = format!("{} is about other keys than {}", kind.name, other.name);
            self.findings.add(&word.span, reason);
        }
        Some(kind)
    }
}

/// The event type of this name.
pub(super) fn event_type(
    findings: &mut Findings<'_>,
    types: &'static [&'static EventType],
    word: &Word<'_>,
) -> Option<&'static EventType> {
    let found = types.iter().copied().find(|kind| kind.name == word.text);
    if found.is_none() {
        let known = types.iter().map(|kind| kind.name);
        findings.add(&word.span, nearest::unknown("event type", word.text, known));
    }
    found
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Stats(stats) => write!(f, " of {}", stats.of)?,
            Self::Series(series) => write!(f, " {series}")?,
            Self::Counts(_) | Self::Rows(_) | Self::Latest(_) => {}
        }
        if !self.by().is_empty() {
            let fields = self.by().iter().map(|field| field.path.as_str()).collect::<Vec<_>>();
            write!(f, " by {}", fields.join(", "))?;
        }
        match self {
            Self::Rows(Rows { time: Some(time), .. }) => write!(f, ", ordered by {}", time.path),
            Self::Series(Series { time: Some(time), .. }) => write!(f, ", at {}", time.path),
            Self::Latest(Latest { remove_on, .. }) if !remove_on.is_empty() => {
                write!(f, ", removed on {}", names(remove_on))
            }
            _ => Ok(()),
        }
    }
}
