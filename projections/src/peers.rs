//! What processes on one store need of each other: who folds which partition, and what was flushed.
//!
//! Nothing rests on it but speed. Whoever folds a partition that another folds, too, is refused by the store; whoever hears
//! nothing looks at the store now and then.

use crate::bulletin::Bulletin;
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Those who work on the same store.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Says that `member` is alive and folds, and which of the partitions it is to fold until it says so again: a fair share of
    /// them, of which none is another living member's.
    async fn claim(&self, member: Uuid, partitions: u32) -> anyhow::Result<BTreeSet<u32>>;

    /// Says that `member` folds no more.
    async fn resign(&self, member: Uuid) -> anyhow::Result<()>;

    /// Which partitions are some living member's.
    async fn folded(&self) -> anyhow::Result<BTreeSet<u32>>;

    /// Tells all who listen now what a flush has brought.
    async fn tell(&self, partition: u32, bulletin: &Bulletin) -> anyhow::Result<()>;

    /// Listens to what others tell. It ends where something may have been missed.
    async fn listen(&self) -> anyhow::Result<BoxStream<'static, (u32, Bulletin)>>;
}
