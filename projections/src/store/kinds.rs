//! The kinds of stores there are, and what can be set for each alone.

use super::redis;
use refold_domain::options::{Options, section};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::Table;

/// A kind of store.
#[derive(Debug)]
pub struct Kind {
    /// Its word, everywhere.
    pub name: &'static str,
    /// Its settings file, which chooses it and explains every key of the section of its name; empty where it has none.
    pub config: &'static str,
    /// The crates of its client, whose lines are left out of the log unless somebody asks for them.
    pub client: &'static [&'static str],
}

/// All of them.
pub const KINDS: &[Kind] = &[Kind { name: EMBEDDED, config: "", client: &[] }, redis::KIND];

/// The name of the store that is a file in the data directory.
pub const EMBEDDED: &str = "embedded";
/// The name of the store on Redis.
pub const REDIS: &str = "redis";

/// The sections of all kinds that have one.
static DEFAULTS: LazyLock<BTreeMap<&str, Table>> = LazyLock::new(|| {
    KINDS.iter().filter_map(|kind| Some((kind.name, section(kind.name, kind.config)?))).collect()
});

/// The sections of all kinds that have one, by name, each key with its default.
pub fn sections() -> impl Iterator<Item = (&'static str, &'static Table)> {
    DEFAULTS.iter().map(|(name, defaults)| (*name, defaults))
}

/// The defaults of a kind.
pub fn options(kind: &str) -> Options {
    Options::new(DEFAULTS.get(kind).cloned().unwrap_or_default())
}
