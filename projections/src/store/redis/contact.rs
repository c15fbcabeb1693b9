//! Whether Redis is there: told when it goes and when it is back, however many ask it meanwhile.

use crate::store::Away;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Since when it is away, if it is.
#[derive(Debug, Default)]
pub(super) struct Contact {
    is_lost: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Contact {
    /// Hears an answer, or that there was none.
    pub(super) fn heard<T>(&self, answer: anyhow::Result<T>) -> anyhow::Result<T> {
        match &answer {
            Ok(_) => self.found(),
            Err(error) => {
                if let Some(away) = error.downcast_ref::<Away>() {
                    self.lost(away);
                }
            }
        }
        answer
    }

    fn lost(&self, away: &Away) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() {
            tracing::warn!("the store is away: {away}");
            *since = Some(Instant::now());
            self.is_lost.store(true, Ordering::Release);
        }
    }

    fn found(&self) {
        if !self.is_lost.load(Ordering::Acquire) {
            return;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since.take() {
            tracing::info!("the store is back after {:.1} s", since.elapsed().as_secs_f64());
            self.is_lost.store(false, Ordering::Release);
        }
    }
}
