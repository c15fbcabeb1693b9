//! The catalogue, and the incarnation that it puts in force.
//!
//! No step spans the partitions of a cluster. So a store is emptied by one write to one key: a new incarnation, which is part of
//! every other key. What was made in one before is deleted after that, by [`super::sweep`].

use super::Shared;
use super::script::{ABANDON, RESET};
use crate::store::Blob;
use anyhow::{Context, anyhow};
use redis::Cmd;
use std::sync::{PoisonError, RwLock};
use uuid::Uuid;

/// What is in force, as a process knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    /// The catalogue's text; `None` before there is one.
    pub(super) text: Option<Blob>,
    /// The part of the names of all keys.
    pub(super) incarnation: Uuid,
    /// How many there were before it, from 1.
    number: u64,
}

/// The incarnation that a process works on.
#[derive(Debug)]
pub(super) struct Catalogue(RwLock<State>);

#[derive(Debug)]
struct State {
    own: InForce,
    /// Whether another process put another text in force.
    is_replaced: bool,
}

/// Text, incarnation and number, as Redis answers them.
type Answer = (Option<Blob>, Option<String>, Option<u64>);

impl Default for Catalogue {
    /// Before anything was put or found in force.
    fn default() -> Self {
        let own = InForce { text: None, incarnation: Uuid::new_v4(), number: 0 };
        Self(RwLock::new(State { own, is_replaced: false }))
    }
}

impl Catalogue {
    /// The incarnation to work on.
    ///
    /// # Errors
    /// Another process put other definitions in force.
    pub(super) fn incarnation(&self) -> anyhow::Result<Uuid> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if state.is_replaced {
            return Err(anyhow!(
                "another process put other definitions in force: start this one again with the same, or stop the other"
            ));
        }
        Ok(state.own.incarnation)
    }

    /// Whether another process put other definitions in force, so that this one does nothing any more.
    pub(super) fn is_replaced(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_replaced
    }

    /// What this process has put or found in force, and whether it was replaced since.
    fn own(&self) -> (InForce, bool) {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (state.own.clone(), state.is_replaced)
    }

    fn adopt(&self, own: InForce) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = State { own, is_replaced: false };
    }

    fn stop(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).is_replaced = true;
    }
}

/// That a partition was ended because another incarnation is in force.
pub(super) fn gone() -> anyhow::Error {
    anyhow!("the store was just emptied by another process: what is new is looked up within a second")
}

impl Shared {
    /// What is in force in Redis.
    ///
    /// # Errors
    /// Redis does not say.
    pub(super) async fn in_force(&self) -> anyhow::Result<Option<InForce>> {
        let mut question = Cmd::new();
        question.arg("HMGET").arg(self.keys.catalogue()).arg(&["text", "incarnation", "number"]);
        in_force(self.reading.ask(&question).await?)
    }

    /// The catalogue in force, which this process works on from now on.
    ///
    /// # Errors
    /// Redis does not say.
    pub(super) async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        let found = self.in_force().await?;
        let text = found.as_ref().and_then(|found| found.text.clone());
        if let Some(found) = found {
            self.catalogue.adopt(found);
        }
        Ok(text)
    }

    /// Puts a catalogue in force with every partition empty.
    ///
    /// # Errors
    /// Redis does not confirm it.
    pub(super) async fn reset(&self, text: &Blob) -> anyhow::Result<()> {
        let found = self.put_in_force(text, None).await?;
        self.catalogue.adopt(found);
        self.litter.notify_one();
        Ok(())
    }

    /// Takes the catalogue away, and says whether there was one.
    ///
    /// # Errors
    /// Redis does not confirm it.
    pub(super) async fn abandon(&self) -> anyhow::Result<bool> {
        ABANDON.on(&[self.keys.catalogue(), self.keys.former()], 0, 0).run(&self.writing).await
    }

    /// Looks whether the incarnation is still the one in force, and goes on in the one that is.
    ///
    /// # Errors
    /// Redis does not say.
    pub(super) async fn look(&self) -> anyhow::Result<()> {
        let (own, is_replaced) = self.catalogue.own();
        let found = self.in_force().await?;
        let is_newest = |found: &InForce| found.number >= own.number;
        match (found, own.text) {
            (Some(found), _) if is_replaced || is_newest(&found) => self.follow(found),
            // Redis was emptied, or has lost its newest.
            (_, Some(text)) if !is_replaced => {
                let found = self.put_in_force(&text, Some(own.number + 1)).await?;
                self.follow(found);
                // Whoever reads that finds nothing that was there before.
                tracing::warn!(
                    "Redis has lost which definitions are in force: folding from the start of the log"
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// With a number only where what is in force has a lower one. Answers with what is in force then.
    async fn put_in_force(&self, text: &Blob, number: Option<u64>) -> anyhow::Result<InForce> {
        let mut call = RESET.on(&[self.keys.catalogue(), self.keys.former()], 3, text.len());
        call.arg(text).arg(Uuid::new_v4().to_string());
        call.arg(number.map(|number| number.to_string()).unwrap_or_default());
        in_force(call.run(&self.writing).await?)?.context("Redis answers that no catalogue is in force")
    }

    /// Goes on in what is in force, if it is this process's own.
    fn follow(&self, found: InForce) {
        let (own, is_replaced) = self.catalogue.own();
        if own.text.is_some() && own.text != found.text {
            if !is_replaced {
                self.catalogue.stop();
                tracing::error!(
                    "another process put other definitions in force: this one does nothing any more"
                );
            }
        } else if is_replaced || own.incarnation != found.incarnation {
            tracing::info!(incarnation = %found.incarnation, "going on in the store that is in force");
            self.catalogue.adopt(found);
            self.litter.notify_one();
        }
    }
}

fn in_force((text, incarnation, number): Answer) -> anyhow::Result<Option<InForce>> {
    let (Some(text), Some(incarnation), Some(number)) = (text, incarnation, number) else {
        return Ok(None);
    };
    let incarnation = incarnation.parse().context("the incarnation in force cannot be read")?;
    Ok(Some(InForce { text: Some(text), incarnation, number }))
}
