//! When each command is due: at absolute times, so that no delay adds up.

use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// How fast a rate may be.
const RATE_MAX: u32 = 1_000_000;

/// How fast commands are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// So many a second.
    PerSecond(u32),
    /// As many as the service takes.
    Max,
}

/// A rate that began, and perhaps has an end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    rate: Rate,
    pub(super) began: Instant,
    time: Option<Duration>,
}

impl Pace {
    /// It begins now.
    pub(super) fn start(rate: Rate, time: Option<Duration>) -> Self {
        Self { rate, began: Instant::now(), time }
    }

    /// When a command is due that so many go before; never, where time is over before.
    pub(super) fn due(&self, number: u64, now: Instant) -> Option<Instant> {
        let due = match self.rate {
            Rate::Max => now,
            Rate::PerSecond(rate) => self.began + since(number, rate),
        };
        let end = self.time.map(|time| self.began + time);
        (end.is_none_or(|end| due < end && now < end)).then_some(due)
    }

    /// How much of its time is over, from 0 to 1; nothing where it has no end.
    pub(super) fn gone(&self) -> Option<f64> {
        self.time.map(|time| (self.began.elapsed().as_secs_f64() / time.as_secs_f64()).min(1.0))
    }
}

/// How long after the beginning a command is due.
fn since(number: u64, rate: u32) -> Duration {
    let (seconds, rest) = (number / u64::from(rate), number % u64::from(rate));
    Duration::from_secs(seconds) + Duration::from_secs(rest) / rate
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let rate = text.parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate));
        rate.map(Self::PerSecond)
            .ok_or_else(|| format!("it must be a whole number from 1 to {RATE_MAX}, or max"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_delay_adds_up() {
        for (number, rate, nanos) in
            [(0, 7, 0), (1, 3, 333_333_333), (7, 7, 1_000_000_000), (3_000_001, 3, 1_000_000_333_333_333)]
        {
            assert_eq!(since(number, rate), Duration::from_nanos(nanos), "{number} at {rate}");
        }
    }

    #[test]
    fn nothing_is_due_after_the_end() {
        let now = Instant::now();
        let pace = |rate| Pace { rate, began: now, time: Some(Duration::from_secs(2)) };
        let due = |number| pace(Rate::PerSecond(10)).due(number, now);
        assert_eq!(due(19), Some(now + Duration::from_millis(1_900)));
        assert_eq!(due(20), None);
        let late = now + Duration::from_secs(2);
        assert_eq!((pace(Rate::Max).due(0, now), pace(Rate::Max).due(0, late)), (Some(now), None));
        assert_eq!(pace(Rate::PerSecond(10)).due(3, late), None, "what is late is not sent after the end");
    }

    #[test]
    fn rates_are_read_as_they_are_typed() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("1000000".parse(), Ok(Rate::PerSecond(1_000_000)));
        for bad in ["0", "1000001", "-1", "1.5", "Max", ""] {
            assert!(bad.parse::<Rate>().unwrap_err().contains("or max"), "{bad}");
        }
    }
}
