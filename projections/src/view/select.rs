//! Which keys a query asks for, or which part of it is wrong.

use super::{Query, Selection, key};
use crate::definition::FieldRef;
use crate::store::Blob;
use jiff::Timestamp;
use refold_domain::schema::{Kind, Value};
use refold_domain::validation::FieldError;
use refold_domain::{nearest, time};
use std::ops::Bound;

/// The keys that begin with the query's values for the first of these fields, of a view that knows no times.
///
/// # Errors
/// As [`prefix`] and [`without_times`].
pub(super) fn timeless(fields: &[FieldRef], query: &Query) -> Result<Selection, FieldError> {
    without_times(query)?;
    prefix(fields, query).map(Selection::prefix)
}

/// The keys that begin with the query's values for the first of these fields and, after all of them, a time from its
/// `from` to its `until`.
///
/// # Errors
/// As [`prefix`], and where fields are left out without which there are no times.
pub(super) fn timed(fields: &[FieldRef], query: &Query) -> Result<Selection, FieldError> {
    let prefix = prefix(fields, query)?;
    let needs_all = query.a_time().or(query.fill.then_some("fill"));
    if let Some(name) = needs_all.filter(|_| query.by.len() < fields.len()) {
        let all = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
        return Err(wrong(name, format!("can be given only together with {all}")));
    }
    let mut selection = Selection::prefix(prefix.clone());
    let at = |time: &Timestamp| {
        let mut made = prefix.clone();
        key::push(&mut made, &Value::Time(*time));
        made
    };
    if let Some(from) = &query.from {
        selection.from = Bound::Included(at(from));
    }
    if let Some(until) = &query.until {
        selection.to = Bound::Excluded(at(until));
    }
    Ok(selection)
}

/// A key made of the query's values for the first of these fields.
///
/// # Errors
/// A field that is no key field, a value that is none of its field, or a field left out before another.
pub(super) fn prefix(fields: &[FieldRef], query: &Query) -> Result<Blob, FieldError> {
    let names = fields.iter().map(|field| field.name);
    if let Some(unknown) = query.by.keys().find(|name| !names.clone().any(|known| known == *name)) {
        return Err(wrong(unknown, nearest::unknown("key field", unknown, names)));
    }
    let mut made = Blob::new();
    let mut left_out = None;
    for field in fields {
        match (query.by.get(field.name), left_out) {
            (Some(text), None) => key::push(&mut made, &parse(field, text)?),
            (Some(_), Some(before)) => {
                return Err(wrong(field.name, format!("can be given only together with {before}")));
            }
            (None, _) => left_out = left_out.or(Some(field.name)),
        }
    }
    Ok(made)
}

/// A query's text as a value of the field.
fn parse<'t>(field: &FieldRef, text: &'t str) -> Result<Value<'t>, FieldError> {
    match field.kind {
        Kind::Integer { .. } => {
            text.parse().map(Value::Integer).map_err(|_| "must be a whole number".to_owned())
        }
        Kind::Time => time::parse(text).map(Value::Time),
        Kind::Text | Kind::List | Kind::Objects(_) => Ok(Value::Text(text.into())),
    }
    .map_err(|reason| wrong(field.name, reason))
}

impl Query {
    /// The name of a time that is given, if there is one.
    fn a_time(&self) -> Option<&'static str> {
        self.from.map(|_| "from").or(self.until.map(|_| "until"))
    }
}

/// Refuses times, for views that are not ordered by them: to leave them out would answer another question.
///
/// # Errors
/// The time that was given.
pub(super) fn without_times(query: &Query) -> Result<(), FieldError> {
    match query.a_time() {
        Some(name) => Err(wrong(name, "can be given only for a view of rows or a series")),
        None => without_gaps(query),
    }
}

/// Refuses to fill gaps, for views that have none.
///
/// # Errors
/// That it was asked for.
pub(super) fn without_gaps(query: &Query) -> Result<(), FieldError> {
    if query.fill { Err(wrong("fill", "can be given only for a series")) } else { Ok(()) }
}

pub(super) fn wrong(name: &str, reason: impl Into<String>) -> FieldError {
    FieldError { field: name.to_owned(), reason: reason.into() }
}
