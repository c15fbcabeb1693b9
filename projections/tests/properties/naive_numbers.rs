//! Stats and series as one would say them: all numbers in one list, sorted and added up anew for each answer.

use crate::model::Happened;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A view of numbers in words of the test.
pub(crate) struct View {
    pub(crate) name: &'static str,
    /// Its definition without the name.
    pub(crate) text: &'static str,
    on: &'static str,
    /// Whether each scoop of an event is a thing of its own.
    of_scoops: bool,
    pub(crate) by: &'static [&'static str],
    takes: fn(&Json) -> bool,
    number: fn(&Json) -> u64,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Counts,
    Stats,
    /// By so many characters of the time in this field, or else of the commit's, and what follows them.
    Series(Option<&'static str>, usize, &'static str),
}

const MINUTE: (usize, &str) = (16, ":00Z");
const HOUR: (usize, &str) = (13, ":00:00Z");
const DAY: (usize, &str) = (10, "T00:00:00Z");
const MONTH: (usize, &str) = (7, "-01T00:00:00Z");

fn all(_: &Json) -> bool {
    true
}

fn one(_: &Json) -> u64 {
    1
}

/// Of each kind some, the compiled-in ones among them.
pub(crate) const VIEWS: &[View] = &[
    View {
        name: "prices",
        text: "on = 'purchase.recorded'\nstats = { of = 'scoops[].price' }",
        on: "purchase.recorded",
        of_scoops: true,
        by: &[],
        takes: all,
        number: |scoop| scoop["price"].as_u64().unwrap(),
        shape: Shape::Stats,
    },
    View {
        name: "orders",
        text: "on = 'purchase.recorded'\nwhere = { 'scoops[].quantity' = { min = 2, max = 900 } }\n\
               stats = { of = 'scoops[].quantity * scoops[].price', by = ['shop_id', 'scoops[].type'] }",
        on: "purchase.recorded",
        of_scoops: true,
        by: &["shop_id", "type"],
        takes: |scoop| (2..=900).contains(&scoop["quantity"].as_u64().unwrap()),
        number: |scoop| scoop["quantity"].as_u64().unwrap() * scoop["price"].as_u64().unwrap(),
        shape: Shape::Stats,
    },
    View {
        name: "versions",
        text: "on = 'introduction.introduced'\nstats = { of = 'version', by = 'email' }",
        on: "introduction.introduced",
        of_scoops: false,
        by: &["email"],
        takes: all,
        number: |data| data["version"].as_u64().unwrap(),
        shape: Shape::Stats,
    },
    View {
        name: "flavours",
        text: "on = 'purchase.recorded'\nwhere = { 'scoops[].type' = ['lemon', 'banana'] }\n\
               count = { by = 'scoops[].type' }",
        on: "purchase.recorded",
        of_scoops: true,
        by: &["type"],
        takes: |scoop| ["lemon", "banana"].contains(&scoop["type"].as_str().unwrap()),
        number: one,
        shape: Shape::Counts,
    },
    View {
        name: "minutes",
        text: "on = 'food.observed'\nseries = { every = 'minute' }",
        on: "food.observed",
        of_scoops: false,
        by: &[],
        takes: all,
        number: one,
        shape: Shape::Series(None, MINUTE.0, MINUTE.1),
    },
    View {
        name: "hours",
        text: "on = 'purchase.recorded'\n\
               where.timestamp = { from = '1969-12-31 20:00:00', until = '1970-01-01 02:30:00Z' }\n\
               series = { every = 'hour', by = 'shop_id', time = 'timestamp' }",
        on: "purchase.recorded",
        of_scoops: false,
        by: &["shop_id"],
        takes: |data| {
            let time: Timestamp = data["timestamp"].as_str().unwrap().parse().unwrap();
            (-4 * 3_600..2 * 3_600 + 1_800).contains(&time.as_nanosecond().div_euclid(1_000_000_000))
        },
        number: one,
        shape: Shape::Series(Some("timestamp"), HOUR.0, HOUR.1),
    },
    View {
        name: "scoops_by_day",
        text: "on = 'purchase.recorded'\nseries = { every = 'day', sum = 'scoops[].quantity', \
               by = ['shop_id', 'scoops[].type'], time = 'timestamp' }",
        on: "purchase.recorded",
        of_scoops: true,
        by: &["shop_id", "type"],
        takes: all,
        number: |scoop| scoop["quantity"].as_u64().unwrap(),
        shape: Shape::Series(Some("timestamp"), DAY.0, DAY.1),
    },
    View {
        name: "revenue_by_month",
        text: "on = 'purchase.recorded'\nseries = { every = 'month', sum = 'scoops[].quantity * scoops[].price', \
               by = 'scoops[].type', time = 'timestamp' }",
        on: "purchase.recorded",
        of_scoops: true,
        by: &["type"],
        takes: all,
        number: |scoop| scoop["quantity"].as_u64().unwrap() * scoop["price"].as_u64().unwrap(),
        shape: Shape::Series(Some("timestamp"), MONTH.0, MONTH.1),
    },
];

impl View {
    /// The definition's text.
    pub(crate) fn definition(&self) -> String {
        format!("name = '{}'\n{}", self.name, self.text)
    }

    /// The numbers by the values of the fields and, for a series, the beginning of the step.
    pub(crate) fn groups(&self, events: &[Happened]) -> BTreeMap<Vec<Option<String>>, Vec<u64>> {
        let mut groups = BTreeMap::<_, Vec<u64>>::new();
        for happened in events.iter().filter(|it| it.event.kind == self.on) {
            for thing in self.things(happened).iter().filter(|thing| (self.takes)(thing)) {
                let text = |field: &&str| thing[*field].as_str().map(str::to_owned);
                let mut group: Vec<_> = self.by.iter().map(text).collect();
                if let Shape::Series(field, chars, rest) = self.shape {
                    let time = field
                        .map_or(happened.time.to_string(), |field| thing[field].as_str().unwrap().into());
                    group.push(Some(format!("{}{rest}", &time[..chars])));
                }
                groups.entry(group).or_default().push((self.number)(thing));
            }
        }
        groups
    }

    /// The event's data; or each of its scoops, with what belongs to the purchase.
    fn things(&self, happened: &Happened) -> Vec<Json> {
        let data: Map<String, Json> = serde_json::from_str(&happened.event.data).unwrap();
        if !self.of_scoops {
            return vec![data.into()];
        }
        let scoops = data["scoops"].as_array().unwrap().iter();
        scoops
            .map(|scoop| {
                let mut thing = data.clone();
                thing.extend(scoop.as_object().unwrap().clone());
                thing.into()
            })
            .collect()
    }

    /// Whether a cell is what a group comes to: exactly, but for quantiles and what is no whole number.
    pub(crate) fn is_told(&self, cell: &Json, group: &[Option<String>], numbers: &[u64]) -> bool {
        let fields =
            self.by.iter().zip(group).all(|(field, value)| cell[*field].as_str() == value.as_deref());
        let sum: u64 = numbers.iter().sum();
        fields
            && match self.shape {
                Shape::Counts => cell["count"] == sum,
                Shape::Series(..) => {
                    cell["value"] == sum && cell["from"].as_str() == group.last().unwrap().as_deref()
                }
                Shape::Stats => are_stats(cell, numbers.to_vec()),
            }
    }
}

fn are_stats(cell: &Json, mut numbers: Vec<u64>) -> bool {
    numbers.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
    let (count, mean) = (numbers.len() as f64, numbers.iter().sum::<u64>() as f64 / numbers.len() as f64);
    #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
    let squares: f64 = numbers.iter().map(|number| (*number as f64 - mean).powi(2)).sum();
    let near = |name: &str, expected: f64| (cell[name].as_f64().unwrap() - expected).abs() <= 1e-9 * mean;
    let quantile = |name: &str, percent: usize| {
        let exact = numbers[(numbers.len() * percent).div_ceil(100) - 1];
        cell[name].as_u64().unwrap().abs_diff(exact) <= exact / 128
    };
    cell["count"] == numbers.len()
        && cell["sum"] == numbers.iter().sum::<u64>()
        && cell["min"] == numbers[0]
        && cell["max"] == numbers[numbers.len() - 1]
        && near("average", mean)
        && near("stddev", (squares / count).sqrt())
        && quantile("p50", 50)
        && quantile("p90", 90)
        && quantile("p99", 99)
}
