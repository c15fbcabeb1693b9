//! The store on Redis, one server or a cluster.
//!
//! [`options`] are its settings; [`connection`] is a connection, which comes back by itself, and `contact` tells when it is lost;
//! `failure` says what an error means; `server` refuses servers that throw away what they are given; `keys` names what is
//! stored, `form` writes and reads it, and `script` has what Redis does with it in one step; `catalogue` says which
//! incarnation of all that is in force, and `sweep` deletes the others. [`RedisPeers`] are the processes that share it.

mod catalogue;
pub mod connection;
mod contact;
mod failure;
mod form;
mod keys;
pub mod options;
mod peers;
mod script;
mod server;
mod single;
mod sweep;

use super::kinds::{Kind, REDIS};
use super::{Blob, Flush, Flushed, Loaded, Range, Scanned, Store, Wanted};
use async_trait::async_trait;
use catalogue::Catalogue;
use connection::Connection;
use contact::Contact;
use keys::{Keys, PartitionKeys};
use options::Options;
pub use peers::RedisPeers;
use redis::Value;
use refold_domain::log::Risk;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The kind of store.
pub(super) const KIND: Kind =
    Kind { name: REDIS, config: include_str!("../../../config/redis.toml"), client: &["redis"] };

/// A store whose keys all begin with a log's name.
#[derive(Debug)]
pub struct RedisStore {
    shared: Arc<Shared>,
    watching: Option<AbortHandle>,
}

/// What the store and its watch work with.
#[derive(Debug)]
struct Shared {
    keys: Keys,
    partitions: u32,
    /// Questions must not wait behind what is written.
    reading: Connection,
    writing: Connection,
    contact: Contact,
    catalogue: Catalogue,
    /// Told when something of a former incarnation may have been left.
    litter: Notify,
}

impl RedisStore {
    /// Opens the store of the log of this name and with so many partitions. It is made when something is put into it.
    ///
    /// # Errors
    /// Redis is [`Away`](super::Away), or cannot be used: why, and what to do.
    pub async fn open(options: &Options, name: &str, partitions: u32) -> anyhow::Result<Self> {
        let shared = Shared::open(options, name, partitions).await?;
        server::check(&shared.writing, &shared.keys).await?;
        let shared = Arc::new(shared);
        let watched = Arc::clone(&shared);
        let watching = async move {
            tokio::join!(watched.watch(), watched.contact.follow([&watched.reading, &watched.writing]));
        };
        let watching = tokio::spawn(watching).abort_handle();
        Ok(Self { shared, watching: Some(watching) })
    }

    /// Opens the store to look at it, or nothing where there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn look(options: &Options, name: &str, partitions: u32) -> anyhow::Result<Option<Self>> {
        let shared = Shared::open(options, name, partitions).await?;
        server::check(&shared.reading, &shared.keys).await?;
        let is_there = shared.catalogue().await?.is_some();
        Ok(is_there.then(|| Self { shared: Arc::new(shared), watching: None }))
    }

    /// What of what is put there may be lost.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn risks_at(options: &Options, name: &str, partitions: u32) -> anyhow::Result<Vec<Risk>> {
        server::risks(&Shared::open(options, name, partitions).await?.reading).await
    }

    /// Removes the store, and says whether there was one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn remove(options: &Options, name: &str, partitions: u32) -> anyhow::Result<bool> {
        let shared = Shared::open(options, name, partitions).await?;
        let there_was = shared.abandon().await?;
        while shared.sweep().await? {}
        Ok(there_was)
    }

    /// What the names of all of its keys begin with.
    pub fn prefix(&self) -> String {
        self.shared.keys.prefix()
    }

    /// A connection to where it is.
    pub fn connection(&self) -> &Connection {
        &self.shared.writing
    }

    /// The processes that share it.
    pub fn peers(&self) -> RedisPeers {
        RedisPeers(Arc::clone(&self.shared))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

impl Shared {
    async fn open(options: &Options, name: &str, partitions: u32) -> anyhow::Result<Self> {
        let options = Arc::new(options.clone());
        let (reading, writing) =
            futures::future::try_join(Connection::open(&options), Connection::open(&options)).await?;
        let shared = Self {
            keys: Keys::new(name),
            partitions,
            reading,
            writing,
            contact: Contact::default(),
            catalogue: Catalogue::default(),
            litter: Notify::new(),
        };
        shared.catalogue().await?;
        Ok(shared)
    }

    /// The keys of a partition in the incarnation in force.
    fn partition(&self, partition: u32) -> anyhow::Result<PartitionKeys> {
        Ok(self.keys.partition(self.catalogue.incarnation()?, partition))
    }

    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        let answer: Value = form::load(&self.partition(partition)?, &wanted).run(&self.reading).await?;
        form::loaded(wanted, answer)
    }

    async fn scan(&self, partition: u32, range: &Range) -> anyhow::Result<Scanned> {
        form::scanned(form::scan(&self.partition(partition)?, range).run(&self.reading).await?)
    }

    async fn flush(&self, partition: u32, flush: &Flush) -> anyhow::Result<Flushed> {
        let answer: String = form::flush(&self.partition(partition)?, flush)?.run(&self.writing).await?;
        form::flushed(&answer)
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self, partition: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        self.shared.contact.heard(self.shared.load(partition, wanted).await)
    }

    async fn scan(&self, partition: u32, range: Range) -> anyhow::Result<Scanned> {
        self.shared.contact.heard(self.shared.scan(partition, &range).await)
    }

    async fn flush(&self, partition: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        self.shared.contact.heard(self.shared.flush(partition, &flush).await)
    }

    async fn risks(&self) -> anyhow::Result<Vec<Risk>> {
        server::risks(&self.shared.reading).await
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        self.shared.contact.heard(self.shared.catalogue().await)
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.shared.contact.heard(self.shared.reset(&catalogue).await)
    }
}
