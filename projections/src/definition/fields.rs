//! Finds the fields that a definition names in all of its event types, so that no event is searched later.
//!
//! A name is a field's, or the way to a field of the objects in an array: `scoops[].quantity`.

use super::document::Word;
use refold_domain::nearest;
use refold_domain::schema::{EventType, Field, Kind, Value};
use std::mem::discriminant;
use std::ops::Range;

/// What stands between an array's name and that of a field of its objects.
const OF_EACH: &str = "[].";

/// A field that all event types of a definition have.
#[derive(Debug, Clone)]
pub struct FieldRef {
    /// Its own name, by which questions and answers call it; of `scoops[].quantity`, `quantity`.
    pub name: &'static str,
    /// What a definition calls it: its name, or the way to it.
    pub path: String,
    /// What it holds; of whole numbers, the largest maximum among the types.
    pub kind: Kind,
    /// Whether it may be absent from an event, or from an object of its array.
    pub optional: bool,
    places: Vec<Place>,
    /// Where the definition names it.
    pub(super) span: Range<usize>,
}

/// Where an event type has a field.
#[derive(Debug, Clone, Copy)]
struct Place {
    of: &'static EventType,
    /// Its place, or its array's, among the type's fields.
    at: usize,
    /// For a field of an array's objects: its place among their fields, and these.
    within: Option<(usize, &'static [Field])>,
}

impl FieldRef {
    /// Its value among those that `kind` reads from an event; a field of an array's objects has it in the object
    /// number `element`.
    ///
    /// # Panics
    /// Where `kind` is none of the definition's event types, or the values are not its own.
    pub fn value<'v, 'a>(&self, kind: &EventType, values: &'v [Value<'a>], element: usize) -> &'v Value<'a> {
        let place = self.place(kind);
        match (&values[place.at], place.within) {
            (Value::Objects(objects), Some((at, fields))) => &objects[element * fields.len() + at],
            (value, _) => value,
        }
    }

    /// The name of the array whose objects have it, if it is not the event's own.
    pub fn array(&self) -> Option<&str> {
        self.path.split_once(OF_EACH).map(|(array, _)| array)
    }

    /// How many objects an event has in the field's array; 1 where the field is the event's own.
    ///
    /// # Panics
    /// As [`Self::value`] does.
    pub fn elements(&self, kind: &EventType, values: &[Value<'_>]) -> usize {
        let place = self.place(kind);
        match (&values[place.at], place.within) {
            (Value::Objects(objects), Some((_, fields))) => objects.len() / fields.len(),
            // An array that is not there has no objects.
            (_, Some(_)) => 0,
            (_, None) => 1,
        }
    }

    fn place(&self, kind: &EventType) -> &Place {
        let place = self.places.iter().find(|place| same(place.of, kind));
        place.expect("an event reaches a definition only if its type is one of `on`")
    }
}

/// The fields that event types share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'d>(pub(super) &'d [&'static EventType]);

impl Shared<'_> {
    /// The field of this name; the error is a sentence.
    pub(super) fn find(self, word: &Word<'_>) -> Result<FieldRef, String> {
        let name = word.text;
        let places = self.places(name);
        let Some(first) = places.first() else {
            let names = self.names();
            return Err(nearest::unknown("field", name, names.iter().map(String::as_str)));
        };
        self.usable(name, &places).map_err(|why| {
            let names = self.names();
            format!("field {name:?} {why}: {}", nearest::hint(name, names.iter().map(String::as_str)))
        })?;
        let optional = places.iter().any(|place| place.field().optional);
        let kind = places.iter().map(|place| place.field().kind).fold(first.field().kind, wider);
        let (name, path, span) = (first.field().name, name.to_owned(), word.span.clone());
        Ok(FieldRef { name, path, kind, optional, places, span })
    }

    fn places(self, name: &str) -> Vec<Place> {
        self.0.iter().filter_map(|kind| Place::find(kind, name)).collect()
    }

    /// The names that [`Self::find`] finds.
    fn names(self) -> Vec<String> {
        let fields = self.0.first().map_or(&[][..], |kind| kind.fields);
        let paths = fields
            .iter()
            .flat_map(|field| std::iter::once(field.name.to_owned()).chain(within(field.name, field.kind)));
        paths.filter(|path| self.usable(path, &self.places(path)).is_ok()).collect()
    }

    fn usable(self, name: &str, places: &[Place]) -> Result<(), String> {
        if let Some(place) = places.iter().find(|place| place.is_private()) {
            return Err(format!("of {} is private and never reaches a view", place.of.name));
        }
        if let Some(without) = self.0.iter().find(|kind| Place::find(kind, name).is_none()) {
            return Err(format!("is not in {}, but must be in every event type of `on`", without.name));
        }
        let differs =
            |pair: &&[Place]| discriminant(&pair[0].field().kind) != discriminant(&pair[1].field().kind);
        places.windows(2).find(differs).map_or(Ok(()), |pair| {
            let [one, other] = [pair[0], pair[1]].map(|place| (kind_name(place.field().kind), place.of.name));
            Err(format!("is {} in {} but {} in {}", one.0, one.1, other.0, other.1))
        })
    }
}

impl Place {
    fn find(of: &'static EventType, name: &str) -> Option<Self> {
        let Some((array, name)) = name.split_once(OF_EACH) else {
            return of.field(name).map(|at| Self { of, at, within: None });
        };
        let at = of.field(array)?;
        let Kind::Objects(fields) = of.fields[at].kind else { return None };
        let within = fields.iter().position(|field| field.name == name)?;
        Some(Self { of, at, within: Some((within, fields)) })
    }

    fn field(&self) -> &'static Field {
        self.within.map_or(&self.of.fields[self.at], |(at, fields)| &fields[at])
    }

    fn is_private(&self) -> bool {
        self.of.fields[self.at].private || self.field().private
    }
}

/// The ways to the fields of the objects in an array.
pub(super) fn within(array: &str, kind: Kind) -> impl Iterator<Item = String> {
    let fields = if let Kind::Objects(fields) = kind { fields } else { &[] };
    fields.iter().filter(|field| !field.private).map(move |field| format!("{array}{OF_EACH}{}", field.name))
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
        Kind::List | Kind::Objects(_) => "a list",
    }
}

fn wider(one: Kind, other: Kind) -> Kind {
    match (one, other) {
        (Kind::Integer { max: one }, Kind::Integer { max: other }) => Kind::Integer { max: one.max(other) },
        _ => one,
    }
}
