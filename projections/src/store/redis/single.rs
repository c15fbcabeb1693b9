//! A connection to one server, which comes back whatever broke it.
//!
//! The client's own comes back after what the network did to it. Where it was not let in, or where the server was made a replica
//! while it was connected, it keeps what it has; so another takes its place then.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection is kept at least: whoever is not let in must not try it with every question.
const KEPT_MIN: Duration = Duration::from_millis(500);

/// A connection to one server.
#[derive(Clone)]
pub(super) struct Single(Arc<Inner>);

struct Inner {
    client: Client,
    config: ConnectionManagerConfig,
    held: RwLock<Held>,
}

struct Held {
    link: ConnectionManager,
    since: Instant,
}

impl Single {
    /// Connects.
    pub(super) async fn open(client: Client, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let link = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let held = RwLock::new(Held { link, since: Instant::now() });
        Ok(Self(Arc::new(Inner { client, config, held })))
    }

    /// What questions are sent over.
    pub(super) fn link(&self) -> ConnectionManager {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).link.clone()
    }

    /// Takes another connection where this error would come again on the one that is held.
    pub(super) fn hear(&self, error: &RedisError) {
        if !stays(error) {
            return;
        }
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.since.elapsed() < KEPT_MIN {
            return;
        }
        match ConnectionManager::new_lazy_with_config(self.0.client.clone(), self.0.config.clone()) {
            Ok(link) => *held = Held { link, since: Instant::now() },
            Err(error) => tracing::debug!("cannot prepare another connection to Redis: {error}"),
        }
    }
}

/// Whether an error is of the connection, and none that the client takes as a reason to connect again.
fn stays(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => true,
        ErrorKind::Server(_) => matches!(error.code(), Some("NOAUTH" | "WRONGPASS")),
        _ => !error.is_io_error(),
    }
}
