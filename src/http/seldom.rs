//! Tells of failures that come with every request: of the first at once, and then of one in a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How much time lies between two lines about the same kind of failure at least.
const EVERY: Duration = Duration::from_secs(10);

/// A kind of failure.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Told>>);

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Instant,
    /// How many were not told since.
    untold: u64,
}

impl Seldom {
    /// One that never happened.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether to tell of it, now that it has happened again: how many times it was not told since it was told last.
    pub fn tell(&self) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.as_mut() {
            Some(Told { at, untold }) if at.elapsed() < EVERY => {
                *untold += 1;
                None
            }
            _ => {
                let before = told.replace(Told { at: Instant::now(), untold: 0 });
                Some(before.map_or(0, |before| before.untold))
            }
        }
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
}
