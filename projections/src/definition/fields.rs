//! Finds the fields that a definition names in all of its event types, so that no event is searched later.

use refold_domain::nearest;
use refold_domain::schema::{EventType, Field, Kind, Value};
use std::mem::discriminant;

/// A field that all event types of a definition have.
#[derive(Debug, Clone)]
pub struct FieldRef {
    /// Its name.
    pub name: &'static str,
    /// What it holds; of whole numbers, the largest maximum among the types.
    pub kind: Kind,
    /// Whether it may be absent from an event.
    pub optional: bool,
    places: Vec<(&'static EventType, usize)>,
}

impl FieldRef {
    /// Its value among those that `kind` reads from an event.
    ///
    /// # Panics
    /// Where `kind` is none of the definition's event types, or the values are not its own.
    pub fn value<'v, 'a>(&self, kind: &EventType, values: &'v [Value<'a>]) -> &'v Value<'a> {
        let place = self.places.iter().find(|(of, _)| same(of, kind));
        let (_, index) = place.expect("an event reaches a definition only if its type is one of `on`");
        &values[*index]
    }
}

/// The fields that event types share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'d>(pub(super) &'d [&'static EventType]);

impl Shared<'_> {
    /// The field of this name; the error is a sentence.
    pub(super) fn find(self, name: &str) -> Result<FieldRef, String> {
        let places: Vec<_> =
            self.0.iter().filter_map(|kind| kind.field(name).map(|at| (*kind, at))).collect();
        let Some(&(first, at)) = places.first() else {
            return Err(nearest::unknown("field", name, self.names().into_iter()));
        };
        self.usable(name, &places).map_err(|why| {
            format!("field {name:?} {why}: {}", nearest::hint(name, self.names().into_iter()))
        })?;
        let optional = places.iter().any(|place| field(place).optional);
        let kind = places.iter().map(|place| field(place).kind).fold(first.fields[at].kind, wider);
        Ok(FieldRef { name: first.fields[at].name, kind, optional, places })
    }

    /// The names that [`Self::find`] finds.
    fn names(self) -> Vec<&'static str> {
        let fields = self.0.first().map_or(&[][..], |kind| kind.fields);
        let found = |field: &&Field| {
            let places: Vec<_> =
                self.0.iter().filter_map(|kind| kind.field(field.name).map(|at| (*kind, at))).collect();
            self.usable(field.name, &places).is_ok()
        };
        fields.iter().filter(found).map(|field| field.name).collect()
    }

    fn usable(self, name: &str, places: &[(&'static EventType, usize)]) -> Result<(), String> {
        if let Some((kind, _)) = places.iter().find(|place| field(place).private) {
            return Err(format!("of {} is private and never reaches a view", kind.name));
        }
        if let Some(without) = self.0.iter().find(|kind| kind.field(name).is_none()) {
            return Err(format!("is not in {}, but must be in every event type of `on`", without.name));
        }
        let differs = |pair: &&[(&'static EventType, usize)]| {
            discriminant(&field(&pair[0]).kind) != discriminant(&field(&pair[1]).kind)
        };
        places.windows(2).find(differs).map_or(Ok(()), |pair| {
            let [one, other] = [&pair[0], &pair[1]].map(|place| (kind_name(field(place).kind), place.0.name));
            Err(format!("is {} in {} but {} in {}", one.0, one.1, other.0, other.1))
        })
    }
}

/// Whether two event types are the same one.
pub(super) fn same(one: &EventType, other: &EventType) -> bool {
    // A type has nearly always one address, but a constant may have several.
    std::ptr::eq(one, other) || one.name == other.name
}

/// The names of event types, as a list for people.
pub(super) fn names(types: &[&'static EventType]) -> String {
    types.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// What people call a field of this kind.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Integer { .. } => "a whole number",
        Kind::Time => "a time",
        Kind::List => "a list",
    }
}

fn field((kind, at): &(&'static EventType, usize)) -> &'static Field {
    &kind.fields[*at]
}

fn wider(one: Kind, other: Kind) -> Kind {
    match (one, other) {
        (Kind::Integer { max: one }, Kind::Integer { max: other }) => Kind::Integer { max: one.max(other) },
        _ => one,
    }
}
