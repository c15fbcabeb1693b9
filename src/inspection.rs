//! Looks now and then whether the broker still keeps all of the log: whoever administers it may change that at any time.

use refold_domain::log::{EventLog, LogError, Risk};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How soon it is looked again while something is wrong, where that is sooner than usual.
const AGAIN: Duration = Duration::from_secs(5);

/// What the log says of itself where it cannot be used.
const DO_AS_IT_SAYS: &str = "do as it says; it is looked at again by itself";

/// What is known to be at risk.
#[derive(Debug)]
pub struct Inspection {
    known: Mutex<Vec<Risk>>,
}

impl Inspection {
    /// Begins with what the start has found, and told.
    pub fn new(known: Vec<Risk>) -> Self {
        Self { known: Mutex::new(known) }
    }

    /// What of the log is lost or may be at any time, and what mends it, if anything is.
    pub fn problem(&self) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fatal = known.iter().filter(|risk| risk.fatal);
        let fatal: Vec<_> = fatal.map(|Risk { found, remedy, .. }| format!("{found}: {remedy}")).collect();
        (!fatal.is_empty()).then(|| fatal.join("; "))
    }

    /// Looks again and again, `every` so often, until the future is dropped.
    pub async fn run(self: Arc<Self>, log: Arc<dyn EventLog>, every: Duration) {
        loop {
            sleep(if self.problem().is_some() { every.min(AGAIN) } else { every }).await;
            match log.check().await {
                Ok(risks) => self.note(risks),
                Err(LogError::Broken(found) | LogError::Missing(found)) => {
                    self.note(vec![Risk { fatal: true, found, remedy: DO_AS_IT_SAYS.to_owned() }]);
                }
                // Others tell that it is away; nothing else is known until it is back.
                Err(LogError::Away(reason)) => tracing::debug!("the log was not looked at: {reason}"),
            }
        }
    }

    /// Says what is new, and what is no more.
    fn note(&self, found: Vec<Risk>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for Risk { fatal, found, remedy } in found.iter().filter(|risk| !known.contains(risk)) {
            if *fatal {
                tracing::error!(remedy, "the log is not safe any more: {found}");
            } else {
                tracing::warn!(remedy, "{found}");
            }
        }
        for Risk { found, .. } in known.iter().filter(|risk| !found.contains(risk)) {
            tracing::info!("no more: {found}");
        }
        *known = found;
    }
}
