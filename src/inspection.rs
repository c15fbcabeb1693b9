//! Looks now and then whether servers still keep all that they are given, the log's broker and the store's: whoever
//! administers them may change that at any time.

use refold_domain::log::{EventLog, LogError, Risk};
use refold_projections::store::Store;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How soon it is looked again while something is wrong, where that is sooner than usual.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be done where what is wrong says it.
const DO_AS_IT_SAYS: &str = "do as it says; it is looked at again by itself";

/// What is known to be at risk.
#[derive(Debug)]
pub struct Inspection {
    /// What is looked at, as it is called in the service's log.
    subject: &'static str,
    known: Mutex<Vec<Risk>>,
}

impl Inspection {
    /// Begins with what the start has found, and told.
    pub fn new(subject: &'static str, known: Vec<Risk>) -> Self {
        Self { subject, known: Mutex::new(known) }
    }

    /// What is lost or may be at any time, and what mends it, if anything is.
    pub fn problem(&self) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fatal = known.iter().filter(|risk| risk.fatal);
        let fatal: Vec<_> = fatal.map(|Risk { found, remedy, .. }| format!("{found}: {remedy}")).collect();
        (!fatal.is_empty()).then(|| fatal.join("; "))
    }

    /// Looks at a log again and again, `every` so often, until the future is dropped.
    pub async fn of_log(self: Arc<Self>, log: Arc<dyn EventLog>, every: Duration) {
        loop {
            self.rest(every).await;
            match log.check().await {
                Ok(risks) => self.note(risks),
                Err(LogError::Broken(found) | LogError::Missing(found)) => self.note(vec![fatal(found)]),
                // Others tell that it is away; nothing else is known until it is back.
                Err(LogError::Away(reason)) => tracing::debug!("the log was not looked at: {reason}"),
            }
        }
    }

    /// Looks at a store, as [`Self::of_log`] does at a log.
    pub async fn of_store(self: Arc<Self>, store: Arc<dyn Store>, every: Duration) {
        loop {
            self.rest(every).await;
            match store.risks().await {
                Ok(risks) => self.note(risks),
                // Others tell why it does not answer as it should.
                Err(error) => tracing::debug!("the store was not looked at: {error:#}"),
            }
        }
    }

    async fn rest(&self, every: Duration) {
        sleep(if self.problem().is_some() { every.min(AGAIN) } else { every }).await;
    }

    /// Says what is new, and what is no more.
    fn note(&self, found: Vec<Risk>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for Risk { fatal, found, remedy } in found.iter().filter(|risk| !known.contains(risk)) {
            if *fatal {
                tracing::error!(remedy, "the {} is not safe any more: {found}", self.subject);
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

fn fatal(found: String) -> Risk {
    Risk { fatal: true, found, remedy: DO_AS_IT_SAYS.to_owned() }
}
