//! How far a reader of events has come, exact to the event: what a stream's ids say, and what it goes on from.
//!
//! It is written as a [`Position`] is. Only who was cut off in the middle of a commit has more to say: the last event
//! that it had of the commit stands after the offset, `12.0.3` for the fourth event of the first command behind offset 12.

use crate::log::Offset;
use crate::receipt::{Position, number};
use std::fmt;
use std::str::FromStr;

/// How far a reader of events has come in each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The last 8 hexadecimal digits of the log's id.
    pub log: String,
    /// By partition.
    pub passed: Vec<Passed>,
}

/// How far a reader of events has come in a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passed {
    /// Every record up to this offset, `None` before the first.
    pub offset: Option<Offset>,
    /// Of the record at the very next offset, the events up to this one.
    pub event: Option<Place>,
}

/// An event's place in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The command's place in the commit, from 0.
    pub command: u32,
    /// The event's place in the command, from 0.
    pub index: u32,
}

impl Passed {
    /// Past a record and all before it.
    pub fn record(offset: Offset) -> Self {
        Self { offset: Some(offset), event: None }
    }

    /// Past an event of the record at `offset`, and all before it.
    pub fn event(offset: Offset, place: Place) -> Self {
        Self { offset: offset.checked_sub(1), event: Some(place) }
    }

    /// The first offset at which something may be that was not passed.
    pub fn next(self) -> Offset {
        self.offset.map_or(0, |offset| offset.saturating_add(1))
    }

    /// Whether this event was passed.
    pub fn has(self, offset: Offset, place: Place) -> bool {
        Self::event(offset, place) <= self
    }
}

impl Reading {
    /// Before the first record of a log's partitions.
    pub fn start(log: String, partitions: u32) -> Self {
        Self { log, passed: vec![Passed::default(); partitions as usize] }
    }

    /// Whether it has come as far as another, or farther, in every partition.
    pub fn has(&self, other: &Self) -> bool {
        self.passed.iter().zip(&other.passed).all(|(passed, other)| passed >= other)
    }
}

impl From<Position> for Reading {
    fn from(Position { log, offsets }: Position) -> Self {
        let passed = offsets.into_iter().map(|offset| Passed { offset, event: None });
        Self { log, passed: passed.collect() }
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{offset}")?,
            None => f.write_str("-")?,
        }
        self.event.map_or(Ok(()), |Place { command, index }| write!(f, ".{command}.{index}"))
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.log)?;
        for (partition, passed) in self.passed.iter().enumerate() {
            let separator = if partition > 0 { "," } else { "" };
            write!(f, "{separator}{passed}")?;
        }
        Ok(())
    }
}

impl FromStr for Passed {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let offset = match parts.next().ok_or(())? {
            "-" => None,
            digits => Some(number(digits).ok_or(())?),
        };
        let event = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(command), Some(index), None) => {
                Some(Place { command: number(command).ok_or(())?, index: number(index).ok_or(())? })
            }
            _ => return Err(()),
        };
        Ok(Self { offset, event })
    }
}

impl FromStr for Reading {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a position: it must look like 1a2b3c4d:12,-,7");
        let (log, passed) = text.split_once(':').ok_or_else(wrong)?;
        if log.len() != 8 || !log.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let passed = passed.split(',').map(str::parse).collect::<Result<_, ()>>().map_err(|()| wrong())?;
        Ok(Self { log: log.to_ascii_lowercase(), passed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed() -> impl Strategy<Value = Passed> {
        let place = any::<(u32, u32)>().prop_map(|(command, index)| Place { command, index });
        (any::<Option<u64>>(), proptest::option::of(place))
            .prop_map(|(offset, event)| Passed { offset, event })
    }

    #[test]
    fn an_event_is_passed_with_its_record_or_up_to_it() {
        let place = |command, index| Place { command, index };
        let middle = Passed::event(7, place(1, 2));
        assert_eq!((middle.to_string().as_str(), middle.next()), ("6.1.2", 7));
        assert!(middle.has(7, place(1, 2)) && middle.has(7, place(0, 9)) && middle.has(6, place(3, 3)));
        assert!(!middle.has(7, place(1, 3)) && !middle.has(7, place(2, 0)) && !middle.has(8, place(0, 0)));
        assert!(Passed::record(7).has(7, place(9, 9)) && !Passed::record(7).has(8, place(0, 0)));
        assert!(!Passed::default().has(0, place(0, 0)));
        assert!(Passed::record(6) < middle && middle < Passed::record(7));
    }

    #[test]
    fn malformed_ones_say_so() {
        for bad in
            ["", "1a2b3c4d", "1a2b3c4d:", "1a2b3c4d:1.2", "1a2b3c4d:1.2.3.4", "1a2b3c4d:1.x.2", "1a2b3c4d:+1"]
        {
            let error = bad.parse::<Reading>().unwrap_err();
            assert!(error.contains("is not a position"), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn readings_read_what_they_write(passed in prop::collection::vec(passed(), 1..20)) {
            let reading = Reading { log: "1a2b3c4d".into(), passed };
            prop_assert_eq!(reading.to_string().parse::<Reading>().unwrap(), reading);
        }

        #[test]
        fn every_position_is_one(offsets in prop::collection::vec(any::<Option<u64>>(), 1..20)) {
            let position = Position { log: "1a2b3c4d".into(), offsets };
            prop_assert_eq!(position.to_string().parse::<Reading>().unwrap(), Reading::from(position));
        }

        #[test]
        fn a_reader_that_passes_events_one_by_one_passes_each_once(
            events in prop::collection::btree_set((1_u64..9, 0_u32..3, 0_u32..3), 1..30),
            cuts in prop::collection::vec(any::<bool>(), 30),
        ) {
            let events: Vec<_> = events.into_iter().map(|(at, command, index)| (at, Place { command, index })).collect();
            let mut seen = Vec::new();
            let mut reached = Passed::default();
            for cut in cuts {
                let next = events.iter().filter(|(at, place)| !reached.has(*at, *place));
                // Cut off after one event, or after as many as are left.
                for (at, place) in next.take(if cut { 1 } else { events.len() }).collect::<Vec<_>>() {
                    seen.push((*at, *place));
                    reached = Passed::event(*at, *place).to_string().parse().unwrap();
                }
            }
            prop_assert_eq!(seen, events);
        }

        #[test]
        fn no_text_makes_them_panic(text: String) {
            let _ = text.parse::<Reading>();
        }
    }
}
