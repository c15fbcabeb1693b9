//! Which events of its types a definition counts: `where = { category = "SUV", year = { min = 2010 } }`.

use super::document::{Findings, Node, Word, entry, type_name};
use super::fields::{FieldRef, Shared, kind_name};
use jiff::Timestamp;
use refold_domain::schema::{EventType, Kind, Value};
use refold_domain::time;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use toml::de::{DeTable, DeValue};

/// Conditions that must all hold; without any, every event matches.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The conditions, sorted by their fields' names.
    pub conditions: Vec<Condition>,
}

/// What one field must be.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The field.
    pub field: FieldRef,
    /// What is asked of it.
    pub test: Test,
}

/// What is asked of a value. An absent one passes no test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is one of these.
    OneOf(Vec<Operand>),
    /// It is at least the one, and below the other or equal to it; one of them is there.
    Between(Option<Operand>, Bound<Operand>),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operand {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A time.
    Time(Timestamp),
}

impl Filter {
    /// Whether an event of one of the definition's types passes, or the object number `element` of its array.
    pub fn matches(&self, kind: &EventType, values: &[Value<'_>], element: usize) -> bool {
        let value = |field: &'_ FieldRef| field.value(kind, values, element);
        self.conditions.iter().all(|condition| condition.test.passes(value(&condition.field)))
    }

    /// Reads the table under `where`; without shared fields only its form is checked.
    pub(super) fn read(findings: &mut Findings<'_>, table: &DeTable<'_>, shared: Option<Shared<'_>>) -> Self {
        let mut conditions = Vec::new();
        for (key, node) in table {
            let Some(shared) = shared else { continue };
            match shared.find(&Word { text: key.get_ref(), span: key.span() }) {
                Ok(field) => conditions.extend(Condition::read(findings, field, node)),
                Err(reason) => findings.add(&key.span(), reason),
            }
        }
        Self { conditions }
    }
}

impl Condition {
    fn read(findings: &mut Findings<'_>, field: FieldRef, node: &Node<'_>) -> Option<Self> {
        let test = match node.get_ref() {
            DeValue::Array(items) => one_of(findings, &field, node, items),
            DeValue::Table(table) => between(findings, &field, node, table)?,
            _ => one_of(findings, &field, node, std::slice::from_ref(node)),
        };
        Some(Self { field, test })
    }
}

fn one_of(findings: &mut Findings<'_>, field: &FieldRef, node: &Node<'_>, items: &[Node<'_>]) -> Test {
    if items.is_empty() {
        let reason = format!("{} has no value to choose from, so no event matches", field.path);
        findings.add(&node.span(), reason);
    }
    Test::OneOf(items.iter().filter_map(|item| operand(findings, field, item)).collect())
}

/// Numbers have a least and a greatest one; times begin at one and end before another, as in queries.
fn between(
    findings: &mut Findings<'_>,
    field: &FieldRef,
    node: &Node<'_>,
    table: &DeTable<'_>,
) -> Option<Test> {
    let keys = match field.kind {
        Kind::Integer { .. } => ["min", "max"],
        Kind::Time => ["from", "until"],
        kind => {
            let reason =
                format!("{} is {}; a range is of whole numbers or times", field.path, kind_name(kind));
            findings.add(&node.span(), reason);
            return None;
        }
    };
    let before = findings.count();
    findings.known_keys(table, &field.path, &keys);
    let [low, high] = keys.map(|key| entry(table, key).and_then(|item| operand(findings, field, item)));
    let never = match (&low, &high) {
        (None, None) => Some(format!("has neither {} nor {}", keys[0], keys[1])),
        (Some(low), Some(high)) => match (field.kind, low.cmp(high)) {
            (Kind::Time, Ordering::Equal) | (_, Ordering::Greater) => {
                Some("ends before it begins".to_owned())
            }
            _ => None,
        },
        _ => None,
    };
    if let (Some(never), true) = (never, findings.count() == before) {
        findings.add(&node.span(), format!("the range of {} {never}", field.path));
    }
    let above = if field.kind == Kind::Time { Bound::Excluded } else { Bound::Included };
    Some(Test::Between(low, high.map_or(Bound::Unbounded, above)))
}

fn operand(findings: &mut Findings<'_>, field: &FieldRef, item: &Node<'_>) -> Option<Operand> {
    let read = Operand::read(field.kind, item.get_ref());
    read.map_err(|reason| findings.add(&item.span(), format!("{} {reason}", field.path))).ok()
}

impl Test {
    fn passes(&self, value: &Value<'_>) -> bool {
        match self {
            Self::OneOf(operands) => {
                operands.iter().any(|operand| operand.compare(value) == Some(Ordering::Equal))
            }
            Self::Between(low, high) => {
                let is_after = |low: &Operand| low.compare(value).is_some_and(Ordering::is_le);
                low.as_ref().is_none_or(is_after)
                    && match high {
                        Bound::Included(high) => high.compare(value).is_some_and(Ordering::is_ge),
                        Bound::Excluded(high) => high.compare(value).is_some_and(Ordering::is_gt),
                        Bound::Unbounded => true,
                    }
            }
        }
    }
}

impl Operand {
    /// How it compares with a value; `None` where that is of another kind, or absent.
    fn compare(&self, value: &Value<'_>) -> Option<Ordering> {
        match (self, value) {
            (Self::Text(operand), Value::Text(text)) => Some(operand.as_str().cmp(text)),
            (Self::Integer(operand), Value::Integer(number)) => Some(operand.cmp(number)),
            (Self::Time(operand), Value::Time(time)) => Some(operand.cmp(time)),
            _ => None,
        }
    }

    fn read(kind: Kind, value: &DeValue<'_>) -> Result<Self, String> {
        match (kind, value) {
            (Kind::Text, DeValue::String(text)) => Ok(Self::Text(text.to_string())),
            (Kind::Integer { max }, DeValue::Integer(number)) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let fits = number.filter(|number| (0..=max).contains(number));
                fits.map(Self::Integer)
                    .ok_or_else(|| format!("is a whole number from 0 to {max}, never this one"))
            }
            (Kind::Time, DeValue::String(text)) => time::parse(text).map(Self::Time),
            (Kind::Time, DeValue::Datetime(time)) => time::parse(&time.to_string()).map(Self::Time),
            (Kind::List | Kind::Objects(_), _) => {
                Err("is a list, which cannot be compared with a value".into())
            }
            (kind, other) => {
                Err(format!("is {}, which cannot be compared with {}", kind_name(kind), type_name(other)))
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, condition) in self.conditions.iter().enumerate() {
            let before = if at == 0 { " where" } else { " and" };
            write!(f, "{before} {condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.field.path;
        match &self.test {
            Test::OneOf(operands) => {
                let values = operands.iter().map(Operand::to_string).collect::<Vec<_>>().join(" or ");
                write!(f, "{path} = {values}")
            }
            Test::Between(low, high) => {
                let low = low.as_ref().map(|low| format!("{path} >= {low}"));
                let high = match high {
                    Bound::Included(high) => Some(format!("{path} <= {high}")),
                    Bound::Excluded(high) => Some(format!("{path} < {high}")),
                    Bound::Unbounded => None,
                };
                f.write_str(&low.into_iter().chain(high).collect::<Vec<_>>().join(" and "))
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}
