//! Deletes what is left of former incarnations, and sees each second that the own one is still in force.

use super::Shared;
use super::script::RETIRE;
use futures::future::try_join_all;
use redis::Cmd;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// How often a process looks which incarnation is in force.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For how long a partition that was ended refuses those who still work on it, in seconds; after that it is as one that never
/// was, and they have noticed long before.
const ENDED_SECONDS: u32 = 3_600;

/// How many keys are deleted at a time.
const DELETED_KEYS: usize = 500;

impl Shared {
    /// Looks and sweeps for as long as nobody drops it.
    pub(super) async fn watch(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_littered = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.litter.notified() => is_littered = true,
            }
            let looked = async {
                self.look().await?;
                if is_littered {
                    is_littered = self.sweep().await?;
                }
                anyhow::Ok(())
            };
            if let Err(error) = self.contact.heard(looked.await) {
                tracing::debug!("cannot look which definitions are in force: {error:#}");
            }
        }
    }

    /// Deletes what former incarnations have left, and says whether there was any. Whoever was about to write to one of them may
    /// still have done so; so an incarnation is forgotten only when nothing of it was found.
    ///
    /// # Errors
    /// Redis does not do it.
    pub(super) async fn sweep(&self) -> anyhow::Result<bool> {
        let mut question = Cmd::new();
        let former: Vec<String> = self.reading.ask(question.arg("SMEMBERS").arg(self.keys.former())).await?;
        let in_force = self.in_force().await?.map(|in_force| in_force.incarnation);
        let mut is_littered = false;
        for text in former {
            let Ok(incarnation) = text.parse::<Uuid>() else { continue };
            if Some(incarnation) == in_force {
                continue;
            }
            let retired = (0..self.partitions).map(|partition| self.retire(incarnation, partition));
            if try_join_all(retired).await?.contains(&true) {
                is_littered = true;
            } else {
                let mut question = Cmd::new();
                question.arg("SREM").arg(self.keys.former()).arg(text);
                let () = self.writing.ask(&question).await?;
            }
        }
        Ok(is_littered)
    }

    /// Ends a partition of an incarnation, and says whether anything of it was left.
    async fn retire(&self, incarnation: Uuid, partition: u32) -> anyhow::Result<bool> {
        let keys = self.keys.partition(incarnation, partition);
        let mut call = RETIRE.on(&[keys.head(), keys.spaces()], 1, 0);
        let left: Vec<String> = call.arg(ENDED_SECONDS).run(&self.writing).await?;
        for group in left.chunks(DELETED_KEYS) {
            let () = self.writing.ask(Cmd::new().arg("UNLINK").arg(group)).await?;
        }
        if !left.is_empty() {
            let () = self.writing.ask(Cmd::new().arg("UNLINK").arg(keys.spaces())).await?;
        }
        Ok(!left.is_empty())
    }
}
