//! The store on Redis, one server or a cluster.
//!
//! [`options`] are its settings; [`connection`] is a connection, which comes back by itself; `failure` says what an error
//! means.

pub mod connection;
mod failure;
pub mod options;

use super::kinds::Kind;

/// The kind of store.
pub(super) const KIND: Kind =
    Kind { name: "redis", config: include_str!("../../../config/redis.toml"), client: &["redis"] };
