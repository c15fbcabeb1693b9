//! Barriers for those who must know that all is read which was on the log when they asked, where the log itself cannot say
//! how far it reaches.
//!
//! Of each partition one is on its way at most, and one waits: it serves all who come before it goes.

use super::{WriteError, Writer, barrier};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use refold_domain::receipt::Receipt;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a barrier waits for the log's confirm; whoever waits for it may give up before.
const APPEND_WAIT: Duration = Duration::from_secs(30);

/// The barriers of one partition.
#[derive(Default)]
pub(super) struct Barriers {
    waiting: Mutex<Option<Waiting>>,
    /// Held by the one that is on its way.
    way: tokio::sync::Mutex<()>,
}

type Waiting = Shared<BoxFuture<'static, Result<Receipt, WriteError>>>;

impl Writer {
    /// Appends a barrier to a partition, or shares one that has not gone yet. Once the store has passed it, it has passed
    /// all that was on the log before this call.
    ///
    /// # Errors
    /// [`WriteError`]
    pub async fn barrier(self: &Arc<Self>, partition: u32, deadline: Instant) -> Result<Receipt, WriteError> {
        let late = || WriteError::Unknown("a barrier was not confirmed in time".into());
        timeout_at(deadline, self.waiting(partition)).await.unwrap_or_else(|_| Err(late()))
    }

    fn waiting(self: &Arc<Self>, partition: u32) -> Waiting {
        let writer = Arc::clone(self);
        let go = || writer.send_barrier(partition).boxed().shared();
        self.barriers[partition as usize].waiting().get_or_insert_with(go).clone()
    }

    async fn send_barrier(self: Arc<Self>, partition: u32) -> Result<Receipt, WriteError> {
        let barriers = &self.barriers[partition as usize];
        let _way = barriers.way.lock().await;
        // Who comes from now on may have seen what is appended after it.
        *barriers.waiting() = None;
        self.append(partition, barrier(), 0, Instant::now() + APPEND_WAIT).await
    }
}

impl Barriers {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Barriers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barriers").finish_non_exhaustive()
    }
}
