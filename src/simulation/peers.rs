//! What processes tell each other in the simulation: late, sometimes not at all, and who folds what changes hands.

use super::faults::Faults;
use super::turnstile::{Caller, Kind, Turnstile};
use anyhow::bail;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use refold_projections::bulletin::Bulletin;
use refold_projections::peers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a member is taken for alive after it has said so.
const LEASE: Duration = Duration::from_secs(3);
/// How many bulletins wait for whoever listens; then it has missed some.
const UNHEARD_MAX: usize = 4;

/// What all processes share.
pub(super) struct Shared {
    pub turnstile: Arc<Turnstile>,
    pub faults: Arc<Faults>,
    pub roster: Mutex<Roster>,
    pub listeners: Mutex<Vec<mpsc::Sender<(u32, Bulletin)>>>,
}

/// Who is alive until when, and who folds which partition.
#[derive(Default)]
pub(super) struct Roster {
    members: BTreeMap<Uuid, Instant>,
    claims: BTreeMap<u32, Uuid>,
}

/// A process's way to the others.
pub(super) struct Peers {
    pub shared: Arc<Shared>,
    pub caller: Arc<Caller>,
}

impl Roster {
    fn claim(&mut self, member: Uuid, partitions: u32) -> BTreeSet<u32> {
        let now = Instant::now();
        self.members.insert(member, now + LEASE);
        self.members.retain(|_, until| *until > now);
        self.claims.retain(|_, owner| self.members.contains_key(owner));
        let rank = self.members.keys().position(|known| *known == member).expect("it was just put there");
        let living = self.members.len();
        let share = partitions as usize / living + usize::from(rank < partitions as usize % living);
        let mut mine: BTreeSet<u32> = self
            .claims
            .iter()
            .filter(|(_, owner)| **owner == member)
            .map(|(partition, _)| *partition)
            .collect();
        while mine.len() > share {
            let given = mine.pop_last().expect("there is one");
            self.claims.remove(&given);
        }
        for partition in 0..partitions {
            if mine.len() < share && !self.claims.contains_key(&partition) {
                self.claims.insert(partition, member);
                mine.insert(partition);
            }
        }
        mine
    }
}

impl Shared {
    /// Reaches each of those who listen, or does not.
    fn tell(&self, partition: u32, bulletin: &Bulletin) {
        let mut listeners = self.listeners.lock().expect("unpoisoned");
        listeners.retain(|listener| {
            let is_missed = self.turnstile.rolls(self.faults.now(self.faults.unheard));
            // Whoever has missed one because of the many is cut off; what went astray nobody knows of.
            is_missed || listener.try_send((partition, bulletin.clone())).is_ok()
        });
    }

    fn maybe_away(&self) -> anyhow::Result<()> {
        if self.turnstile.rolls(self.faults.now(self.faults.store_down)) {
            bail!("simulated: the store is away");
        }
        Ok(())
    }
}

#[async_trait]
impl peers::Peers for Peers {
    async fn claim(&self, member: Uuid, partitions: u32) -> anyhow::Result<BTreeSet<u32>> {
        let shared = Arc::clone(&self.shared);
        let effect = move || {
            shared.maybe_away()?;
            Ok(shared.roster.lock().expect("unpoisoned").claim(member, partitions))
        };
        self.shared.turnstile.call(&self.caller, 0, ("claims", Kind::Changes), effect).await
    }

    async fn resign(&self, _: Uuid) -> anyhow::Result<()> {
        bail!("nobody stops in the simulation")
    }

    async fn folded(&self) -> anyhow::Result<BTreeSet<u32>> {
        Ok(self.shared.roster.lock().expect("unpoisoned").claims.keys().copied().collect())
    }

    async fn tell(&self, partition: u32, bulletin: &Bulletin) -> anyhow::Result<()> {
        let (shared, bulletin) = (Arc::clone(&self.shared), bulletin.clone());
        let effect = move || shared.tell(partition, &bulletin);
        self.shared.turnstile.call(&self.caller, partition, ("tells", Kind::Changes), effect).await;
        Ok(())
    }

    async fn listen(&self) -> anyhow::Result<BoxStream<'static, (u32, Bulletin)>> {
        let shared = Arc::clone(&self.shared);
        let (listener, told) = mpsc::channel(UNHEARD_MAX);
        let effect = move || {
            shared.maybe_away()?;
            shared.listeners.lock().expect("unpoisoned").push(listener);
            anyhow::Ok(())
        };
        self.shared.turnstile.call(&self.caller, 0, ("listens", Kind::Asks), effect).await?;
        Ok(unfold(told, |mut told| async { Some((told.recv().await?, told)) }).boxed())
    }
}
