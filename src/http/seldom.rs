//! Tells of failures that come with every request: of the first ones at once, and then of as many in a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a while is: in it no more lines are written about the same kind of failure than it may have.
const EVERY: Duration = Duration::from_secs(10);

/// A kind of failure.
#[derive(Debug)]
pub struct Seldom {
    /// How many times it may be told in a while.
    max: u32,
    told: Mutex<Option<Told>>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    since: Instant,
    times: u32,
    /// How many were not told since.
    untold: u64,
}

impl Seldom {
    /// One that never happened and is told once in a while.
    pub const fn new() -> Self {
        Self::times(1)
    }

    /// One that never happened and is told `max` times in a while.
    pub const fn times(max: u32) -> Self {
        Self { max, told: Mutex::new(None) }
    }

    /// Whether to tell of it, now that it has happened again: how many times it was not told in the while before.
    pub fn tell(&self) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.as_mut() {
            Some(Told { since, times, untold }) if since.elapsed() < EVERY => {
                let is_told = *times < self.max;
                *times += u32::from(is_told);
                *untold += u64::from(!is_told);
                is_told.then_some(0)
            }
            _ => {
                let before = told.replace(Told { since: Instant::now(), times: 1, untold: 0 });
                Some(before.map_or(0, |before| before.untold))
            }
        }
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_and_then_one_in_a_while() {
        let failures = Seldom::new();
        assert_eq!(failures.tell(), Some(0));
        assert_eq!([(); 3].map(|()| failures.tell()), [None; 3]);
        tokio::time::advance(EVERY).await;
        assert_eq!((failures.tell(), failures.tell()), (Some(3), None));
        tokio::time::advance(EVERY * 2).await;
        assert_eq!(failures.tell(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_told_in_a_while_as_may_be() {
        let failures = Seldom::times(2);
        assert_eq!([(); 4].map(|()| failures.tell()), [Some(0), Some(0), None, None]);
        tokio::time::advance(EVERY).await;
        assert_eq!([(); 3].map(|()| failures.tell()), [Some(2), Some(0), None]);
    }
}
