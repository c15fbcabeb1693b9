//! Which events of its types a definition counts: `where = { category = "SUV" }`.

use super::document::{Findings, Node, type_name};
use super::fields::{FieldRef, Shared, kind_name};
use jiff::Timestamp;
use refold_domain::schema::{EventType, Kind, Value};
use refold_domain::time;
use std::fmt;
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
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A time.
    Time(Timestamp),
}

impl Filter {
    /// Whether an event of one of the definition's types passes.
    pub fn matches(&self, kind: &EventType, values: &[Value<'_>]) -> bool {
        self.conditions.iter().all(|condition| condition.test.passes(condition.field.value(kind, values)))
    }

    /// Reads the table under `where`; without shared fields only its form is checked.
    pub(super) fn read(findings: &mut Findings<'_>, table: &DeTable<'_>, shared: Option<Shared<'_>>) -> Self {
        let mut conditions = Vec::new();
        for (key, node) in table {
            let Some(shared) = shared else { continue };
            match shared.find(key.get_ref()) {
                Ok(field) => conditions.extend(Condition::read(findings, field, node)),
                Err(reason) => findings.add(&key.span(), reason),
            }
        }
        Self { conditions }
    }
}

impl Condition {
    fn read(findings: &mut Findings<'_>, field: FieldRef, node: &Node<'_>) -> Option<Self> {
        let items = match node.get_ref() {
            DeValue::Array(items) => items,
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            findings.add(
                &node.span(),
                format!("{} has no value to choose from, so no event matches", field.name),
            );
        }
        let mut operands = Vec::new();
        for item in items {
            match Operand::read(field.kind, item.get_ref()) {
                Ok(operand) => operands.push(operand),
                Err(reason) => findings.add(&item.span(), format!("{} {reason}", field.name)),
            }
        }
        Some(Self { field, test: Test::OneOf(operands) })
    }
}

impl Test {
    fn passes(&self, value: &Value<'_>) -> bool {
        match self {
            Self::OneOf(operands) => operands.iter().any(|operand| operand.is(value)),
        }
    }
}

impl Operand {
    fn is(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(expected), Value::Text(text)) => expected == text,
            (Self::Integer(expected), Value::Integer(number)) => expected == number,
            (Self::Time(expected), Value::Time(time)) => expected == time,
            _ => false,
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
            (Kind::List, _) => Err("is a list, which cannot be compared with a value".into()),
            (kind, other) => {
                Err(format!("is {}, which cannot be compared with {}", kind_name(kind), type_name(other)))
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Condition { field, test: Test::OneOf(operands) }) in self.conditions.iter().enumerate() {
            let before = if at == 0 { " where" } else { " and" };
            let values = operands.iter().map(Operand::to_string).collect::<Vec<_>>().join(" or ");
            write!(f, "{before} {} = {values}", field.name)?;
        }
        Ok(())
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
