//! What a series is: counts or sums over equal steps of time, and where each step begins and ends, in UTC.

use super::amount::Amount;
use super::document::entry;
use super::fields::FieldRef;
use super::view::Reader;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use refold_domain::nearest;
use std::fmt;
use std::ops::Range;
use toml::de::DeTable;

/// Counts or sums, one for each step of time.
#[derive(Debug, Clone)]
pub struct Series {
    /// How long a step is.
    pub every: Every,
    /// What is added up; without it, events are counted, or the objects of the array that `by` or `where` names.
    pub sum: Option<Amount>,
    /// For each combination of these fields' values; without any, one line for all.
    pub by: Vec<FieldRef>,
    /// The time that says in which step an event lies, which every event has; without it, the commit's.
    pub time: Option<FieldRef>,
}

/// How long a step of a series is. All begin and end in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first day to the first day of the next.
    Month,
}

impl Series {
    pub(super) fn read(
        reader: &mut Reader<'_, '_>,
        table: &DeTable<'_>,
        span: &Range<usize>,
    ) -> Option<Self> {
        reader.findings.known_keys(table, "series", &["every", "sum", "by", "time"]);
        let every = Every::read(reader, table, span);
        let word = reader.findings.text(table, "sum");
        let sum = word.and_then(|word| Amount::read(reader, "sum", &word));
        // `from` is a query's own name, too.
        let by = reader.keys(table, &["value"]);
        let time = reader.time(table, "a series goes by");
        Some(Self { every: every?, sum, by, time })
    }
}

impl Every {
    const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    fn read(reader: &mut Reader<'_, '_>, table: &DeTable<'_>, span: &Range<usize>) -> Option<Self> {
        let names = Self::ALL.map(Self::name);
        if entry(table, "every").is_none() {
            let reason = format!("every is missing: one of {}", names.join(", "));
            reader.findings.add(span, reason);
        }
        let word = reader.findings.text(table, "every")?;
        let found = Self::ALL.into_iter().find(|every| every.name() == word.text);
        if found.is_none() {
            let reason = nearest::unknown("step", word.text, names.into_iter());
            reader.findings.add(&word.span, reason);
        }
        found
    }

    fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Where the step begins that a time lies in.
    pub fn start(self, time: Timestamp) -> Timestamp {
        let first = match self.seconds() {
            Some(seconds) => {
                let whole = i64::try_from(time.as_nanosecond().div_euclid(1_000_000_000));
                let whole = whole.expect("the years of a timestamp have fewer than 2^63 seconds");
                Timestamp::from_second(whole.div_euclid(seconds) * seconds)
            }
            None => {
                let first = time.to_zoned(TimeZone::UTC).date().first_of_month();
                first.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp())
            }
        };
        // The very first step begins before the first timestamp.
        first.unwrap_or(Timestamp::MIN)
    }

    /// Where the step after this one begins; `None` after the last one that timestamps reach.
    pub fn next(self, start: Timestamp) -> Option<Timestamp> {
        match self.seconds() {
            Some(seconds) => {
                let next = start.checked_add(seconds.seconds()).ok()?;
                Some(self.start(next))
            }
            None => {
                let next =
                    start.to_zoned(TimeZone::UTC).date().first_of_month().checked_add(1.month()).ok()?;
                next.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp())
            }
        }
    }

    /// The length of steps that are all equally long.
    fn seconds(self) -> Option<i64> {
        match self {
            Self::Minute => Some(60),
            Self::Hour => Some(3_600),
            Self::Day => Some(86_400),
            Self::Month => None,
        }
    }
}

/// `of scoops[].quantity every day`
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sum) = &self.sum {
            write!(f, "of {sum} ")?;
        }
        write!(f, "every {}", self.every.name())
    }
}
