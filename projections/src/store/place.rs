//! Where a store is: what it takes to open one, to look at it, and to remove it, whichever kind it is.

use super::redis::options;
use super::{Away, RedisStore, SqliteStore, Store, damage, kinds, redis};
use crate::peers::Peers;
use refold_domain::log::Risk;
use refold_domain::nearest;
use refold_domain::options::Options;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a store is.
#[derive(Clone)]
pub enum Place {
    /// In a file in this directory.
    Embedded(PathBuf),
    /// On Redis.
    Redis {
        /// Where that is.
        options: Box<options::Options>,
        /// The log's name, which begins the names of all keys.
        name: String,
        /// How many partitions the log has.
        partitions: u32,
    },
}

/// A store that is open.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Those who share it, where several processes can.
    pub peers: Option<Arc<dyn Peers>>,
}

impl Place {
    /// Where the store of the log of this name is, of the kind of this name.
    ///
    /// # Errors
    /// An unknown kind, answered with the known ones; or which of the kind's options cannot be used.
    pub fn new(
        kind: &str,
        data_dir: PathBuf,
        options: &Options,
        name: &str,
        partitions: u32,
    ) -> anyhow::Result<Self> {
        if kind == kinds::EMBEDDED {
            return Ok(Self::Embedded(data_dir));
        }
        if kind != redis::KIND.name {
            let known = kinds::KINDS.iter().map(|kind| kind.name);
            anyhow::bail!(nearest::unknown("kind of store", kind, known));
        }
        let options = Box::new(options::Options::of(options)?);
        Ok(Self::Redis { options, name: name.to_owned(), partitions })
    }

    /// Opens the store, or makes an empty one.
    ///
    /// # Errors
    /// Why it cannot be used: [`Away`] where it may be later.
    pub async fn open(&self) -> anyhow::Result<Opened> {
        Ok(match self {
            Self::Embedded(directory) => {
                Opened { store: Arc::new(SqliteStore::open(directory)?), peers: None }
            }
            Self::Redis { options, name, partitions } => {
                let store = RedisStore::open(options, name, *partitions).await?;
                let peers = Arc::new(store.peers());
                Opened { store: Arc::new(store), peers: Some(peers) }
            }
        })
    }

    /// Opens the store to look at it, or nothing where there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn look(&self) -> anyhow::Result<Option<Arc<dyn Store>>> {
        Ok(match self {
            Self::Embedded(directory) => {
                SqliteStore::look(directory)?.map(|it| Arc::new(it) as Arc<dyn Store>)
            }
            Self::Redis { options, name, partitions } => {
                RedisStore::look(options, name, *partitions).await?.map(|it| Arc::new(it) as Arc<dyn Store>)
            }
        })
    }

    /// What of what is put there may be lost, whether there is a store yet or not.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn risks(&self) -> anyhow::Result<Vec<Risk>> {
        match self {
            Self::Embedded(_) => Ok(Vec::new()),
            Self::Redis { options, name, partitions } => {
                RedisStore::risks_at(options, name, *partitions).await
            }
        }
    }

    /// Removes the store, and says whether there was one. No process may have it open that has it in a file.
    ///
    /// # Errors
    /// Why it is still there.
    pub async fn remove(&self) -> anyhow::Result<bool> {
        match self {
            Self::Embedded(directory) => SqliteStore::remove(directory),
            Self::Redis { options, name, partitions } => RedisStore::remove(options, name, *partitions).await,
        }
    }

    /// What to do where the store cannot be used for this reason.
    pub fn remedy(&self, error: &anyhow::Error) -> &'static str {
        match self {
            Self::Embedded(_) => SqliteStore::remedy(error),
            Self::Redis { .. } if damage::is_damage(error) => damage::REMEDY,
            Self::Redis { .. } if error.is::<Away>() => {
                "see that it runs and can be reached from here; a start waits for it"
            }
            Self::Redis { .. } => "do as it says",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(directory) => write!(f, "{}", directory.display()),
            Self::Redis { options, name, .. } => write!(f, "{} under {name}/", options.servers()),
        }
    }
}
