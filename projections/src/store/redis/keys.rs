//! The names of all keys. Those of a partition carry one hash tag, so that a cluster has them on one server.

use crate::store::{STORE_FORMAT, Space};
use std::sync::Arc;
use uuid::Uuid;

/// The keys of one store.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    name: Arc<str>,
}

/// Those of one partition in one incarnation.
#[derive(Debug)]
pub(super) struct PartitionKeys(String);

impl Keys {
    /// Those of the store of the log of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// What begins the names of all of them.
    pub(super) fn prefix(&self) -> String {
        format!("{}/{STORE_FORMAT}/", self.name)
    }

    pub(super) fn catalogue(&self) -> String {
        format!("{}{{{}}}/catalogue", self.prefix(), self.name)
    }

    /// The incarnations of which something may be left.
    pub(super) fn former(&self) -> String {
        format!("{}{{{}}}/former", self.prefix(), self.name)
    }

    /// The processes that fold, by when they are taken for dead.
    pub(super) fn members(&self) -> String {
        format!("{}{{{}}}/members", self.prefix(), self.name)
    }

    /// Who folds which partition.
    pub(super) fn claims(&self) -> String {
        format!("{}{{{}}}/claims", self.prefix(), self.name)
    }

    /// The channel on which processes tell each other what was flushed.
    pub(super) fn flushes(&self) -> String {
        format!("{}{{{}}}/flushes", self.prefix(), self.name)
    }

    pub(super) fn partition(&self, incarnation: Uuid, partition: u32) -> PartitionKeys {
        PartitionKeys(format!("{}{{{}.p{partition}}}/{incarnation}", self.prefix(), self.name))
    }
}

impl PartitionKeys {
    pub(super) fn head(&self) -> String {
        format!("{}/head", self.0)
    }

    /// The set of the keys of all spaces.
    pub(super) fn spaces(&self) -> String {
        format!("{}/spaces", self.0)
    }

    /// A space's keys and values.
    pub(super) fn values(&self, space: &Space) -> String {
        format!("{}/values/{space}", self.0)
    }

    /// A space's keys in order.
    pub(super) fn order(&self, space: &Space) -> String {
        format!("{}/order/{space}", self.0)
    }
}
