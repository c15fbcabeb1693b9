//! Whether Redis is there: told when it goes and when it is back, however many ask it meanwhile.

use super::connection::Connection;
use super::server;
use crate::store::Away;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How often a Redis that is away is asked whether it is back. What was asked before it went has failed by then.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Since when it is away, if it is.
#[derive(Debug, Default)]
pub(super) struct Contact {
    since: Mutex<Option<Instant>>,
    went: Notify,
}

impl Contact {
    /// Hears an answer, or that there was none.
    pub(super) fn heard<T>(&self, answer: anyhow::Result<T>) -> anyhow::Result<T> {
        if let Some(away) = answer.as_ref().err().and_then(|error| error.downcast_ref::<Away>()) {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_none() {
                tracing::warn!("the store is away: {away}");
                *since = Some(Instant::now());
                self.went.notify_one();
            }
        }
        answer
    }

    /// Tells when it is back, which it is once all of its connections are.
    pub(super) async fn follow(&self, connections: [&Connection; 2]) {
        loop {
            self.went.notified().await;
            loop {
                sleep(ASK_EVERY).await;
                let [one, other] = connections.map(is_back);
                if one.await && other.await {
                    break;
                }
            }
            let since = self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
            let seconds = since.map(|since| since.elapsed().as_secs_f64()).unwrap_or_default();
            tracing::info!("the store is back after {seconds:.1} s");
        }
    }
}

/// Whatever it says, it is there, unless it is a replica, to which nothing can be written.
async fn is_back(connection: &Connection) -> bool {
    match server::replicas(connection).await {
        Ok(replicas) => replicas.is_empty(),
        Err(error) => !error.is::<Away>(),
    }
}
