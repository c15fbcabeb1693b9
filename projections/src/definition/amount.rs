//! The whole number that an event adds to a view: a field, or a product such as
//! `scoops[].quantity * scoops[].price`.

use super::document::Word;
use super::fields::{FieldRef, kind_name};
use super::view::Reader;
use refold_domain::schema::{EventType, Kind, Value};
use std::fmt;

/// What stands between the fields of a product.
const TIMES: char = '*';

/// A field of whole numbers, or several to be multiplied.
///
/// Their maxima multiplied are below 2^63: so no amount overflows, and no sum of fewer than 2^64 amounts does in
/// 128 bits.
#[derive(Debug, Clone)]
pub struct Amount {
    /// The fields; at least one.
    pub factors: Vec<FieldRef>,
}

impl Amount {
    /// What an event adds, or the object number `element` of its array; `None` where a field of it is absent.
    pub fn of(&self, kind: &EventType, values: &[Value<'_>], element: usize) -> Option<u64> {
        self.factors.iter().try_fold(1u64, |product, field| match field.value(kind, values, element) {
            // Neither negative nor over its field's maximum, or the event had not been read.
            Value::Integer(number) => product.checked_mul(u64::try_from(*number).ok()?),
            _ => None,
        })
    }

    /// Reads the text of `key`.
    pub(super) fn read(reader: &mut Reader<'_, '_>, key: &str, word: &Word<'_>) -> Option<Self> {
        let names = word.text.split(TIMES).map(str::trim);
        let found: Vec<_> = names.map(|text| reader.field(&Word { text, span: word.span.clone() })).collect();
        let factors: Vec<_> = found.into_iter().collect::<Option<_>>()?;
        let wrong = no_number(key, &factors).or_else(|| too_large(&factors));
        if let Some(reason) = wrong {
            reader.findings.add(&word.span, reason);
        }
        Some(Self { factors })
    }
}

fn no_number(key: &str, factors: &[FieldRef]) -> Option<String> {
    let wrong = factors.iter().find(|field| !matches!(field.kind, Kind::Integer { .. }))?;
    Some(format!("{} is {}; {key} takes whole numbers", wrong.path, kind_name(wrong.kind)))
}

fn too_large(factors: &[FieldRef]) -> Option<String> {
    let max = |field: &FieldRef| if let Kind::Integer { max } = field.kind { max } else { 0 };
    let product = factors.iter().try_fold(1i64, |product, field| product.checked_mul(max(field)));
    product.is_none().then(|| {
        let maxima = factors.iter().map(|field| max(field).to_string()).collect::<Vec<_>>();
        format!("a product of fields of up to {} may be over 2^63", maxima.join(" and "))
    })
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.factors.iter().enumerate() {
            let separator = if at == 0 { "" } else { " * " };
            write!(f, "{separator}{}", field.path)?;
        }
        Ok(())
    }
}
