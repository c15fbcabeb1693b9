//! Stats: what can be said about many numbers without keeping them.
//!
//! A cell holds their count, sum and sum of squares, the least and the greatest, all exact, and a [`Sketch`]. It
//! merges by addition. Mean and deviation are worked out of the exact numbers when somebody asks.
//!
//! Nothing overflows that is not noticed. An amount is below 2^63, and counts are checked, so a sum is below 2^127. The
//! squares of a field whose maximum is below 2^32 add up to less than 2^128; only those of larger ones can come to
//! more, after four times 2^63 at the earliest, and are checked: then the projection breaks, rather than telling what
//! is not so.

use super::select::timeless;
use super::sketch::Sketch;
use super::{Blob, Cell, Item, Query, Selection, View, members, whole};
use crate::definition::{self, Amount, FieldRef};
use anyhow::Context;
use refold_domain::validation::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// Stats of an amount by the values of some fields; by none of them, of all.
#[derive(Debug)]
pub(super) struct Stats {
    of: Arc<Amount>,
    by: Vec<FieldRef>,
}

/// The stats of the numbers so far; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    count: u64,
    sum: u128,
    squares: u128,
    min: u64,
    max: u64,
    sketch: Sketch,
}

struct Open {
    of: Arc<Amount>,
    tally: Option<Tally>,
}

impl Stats {
    pub(super) fn new(stats: &definition::Stats) -> Self {
        Self { of: Arc::new(stats.of.clone()), by: stats.by.clone() }
    }
}

impl View for Stats {
    fn kind(&self) -> &'static str {
        "stats"
    }

    fn fields(&self) -> Vec<String> {
        self.by.iter().map(|field| field.name.to_owned()).collect()
    }

    fn key(&self, item: &Item<'_, '_>) -> Option<Blob> {
        item.amount(&self.of).map(|_| item.key(&self.by))
    }

    fn reads_before(&self) -> bool {
        true
    }

    fn open(&self, before: Option<&[u8]>) -> anyhow::Result<Box<dyn Cell>> {
        let tally = before.map(Tally::read).transpose()?;
        Ok(Box::new(Open { of: Arc::clone(&self.of), tally }))
    }

    fn merge(&self, one: Blob, other: Blob) -> anyhow::Result<Blob> {
        let mut merged = Tally::read(&one)?;
        merged.add(&Tally::read(&other)?)?;
        Ok(merged.write())
    }

    fn select(&self, query: &Query) -> Result<Selection, FieldError> {
        timeless(&self.by, query)
    }

    fn single(&self) -> Option<Json> {
        self.by.is_empty().then(|| {
            let mut members = Map::new();
            members.extend(definition::Stats::MEMBERS.map(|name| (name.to_owned(), Json::Null)));
            members.insert("count".into(), 0.into());
            Json::Object(members)
        })
    }

    fn show(&self, mut key: &[u8], value: &[u8]) -> anyhow::Result<Option<Json>> {
        let mut members = members(&self.by, &mut key)?;
        members.extend(Tally::read(value)?.show());
        Ok(Some(Json::Object(members)))
    }
}

impl Cell for Open {
    fn fold(&mut self, item: &Item<'_, '_>) -> anyhow::Result<()> {
        let number = item.amount(&self.of).context("an event without a number is in a cell of stats")?;
        match &mut self.tally {
            Some(tally) => tally.take(number)?,
            None => self.tally = Some(Tally::of(number)),
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Option<Blob> {
        self.tally.map(|tally| tally.write())
    }
}

impl Tally {
    fn of(number: u64) -> Self {
        let wide = u128::from(number);
        let mut sketch = Sketch::default();
        sketch.add(number);
        Self { count: 1, sum: wide, squares: wide * wide, min: number, max: number, sketch }
    }

    fn read(value: &[u8]) -> anyhow::Result<Self> {
        let tally: Self = serde_json::from_slice(value).context("stats in the store cannot be read")?;
        anyhow::ensure!(tally.count > 0, "stats in the store are of no number");
        Ok(tally)
    }

    fn write(&self) -> Blob {
        serde_json::to_vec(self).expect("stats serialise to JSON")
    }

    fn take(&mut self, number: u64) -> anyhow::Result<()> {
        let wide = u128::from(number);
        self.grow(1, wide, wide * wide)?;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.sketch.add(number);
        Ok(())
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.grow(other.count, other.sum, other.squares)?;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sketch.merge(&other.sketch).context("a count of a sketch is over 2^64")
    }

    fn grow(&mut self, count: u64, sum: u128, squares: u128) -> anyhow::Result<()> {
        self.count = self.count.checked_add(count).context("a count is over 2^64")?;
        self.sum = self.sum.checked_add(sum).context("a sum is over 2^128")?;
        self.squares = self.squares.checked_add(squares).context("a sum of squares is over 2^128")?;
        Ok(())
    }

    fn show(&self) -> Map<String, Json> {
        let values = [
            self.count.into(),
            self.average().into(),
            whole(self.sum),
            self.min.into(),
            self.max.into(),
            self.deviation().into(),
            self.quantile(50).into(),
            self.quantile(90).into(),
            self.quantile(99).into(),
        ];
        definition::Stats::MEMBERS.map(str::to_owned).into_iter().zip(values).collect()
    }

    fn average(&self) -> f64 {
        let count = u128::from(self.count);
        float(self.sum / count) + float(self.sum % count) / float(count)
    }

    /// The deviation of all these numbers, which are no sample of others: divided by their count.
    ///
    /// The sum of squares about the mean is a difference of large numbers that may be nearly equal, so it is made of
    /// whole ones. With the sum as `q * count + r`, the squares about `q` add up to `squares - q * (sum + r)`, which is
    /// not below zero, and those about the mean to that less `r * r / count`.
    fn deviation(&self) -> f64 {
        let count = u128::from(self.count);
        let (quotient, rest) = (self.sum / count, self.sum % count);
        let about = self.squares.saturating_sub(quotient.saturating_mul(self.sum.saturating_add(rest)));
        let about = about.saturating_sub(rest * rest / count);
        // What that last division left over matters only where the number is small, and then this is exact.
        let scaled = match about.checked_mul(count) {
            Some(scaled) => float(scaled.saturating_sub(rest * rest % count)),
            None => float(about) * float(count),
        };
        scaled.sqrt() / float(count)
    }

    /// About the least number that at least so many of a hundred are not greater than.
    fn quantile(&self, percent: u8) -> Option<u64> {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100);
        let about = self.sketch.at(u64::try_from(rank).ok()?)?;
        Some(about.clamp(self.min, self.max))
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest float is what is wanted")]
fn float(number: u128) -> f64 {
    number as f64
}
