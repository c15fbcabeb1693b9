//! What can be set for one broker alone: the section of its name, each key with the default that its settings file gives.

use crate::BROKERS;
pub use refold_domain::options::Options;
use refold_domain::options::section;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::Table;

/// The sections of all brokers that have one.
static DEFAULTS: LazyLock<BTreeMap<&str, Table>> = LazyLock::new(|| {
    BROKERS.iter().filter_map(|broker| Some((broker.name, section(broker.name, broker.config)?))).collect()
});

/// The defaults of a broker's section, if it has one.
pub fn defaults(broker: &str) -> Option<&'static Table> {
    DEFAULTS.get(broker)
}

/// The sections of all brokers that have one, by name.
pub fn sections() -> impl Iterator<Item = (&'static str, &'static Table)> {
    DEFAULTS.iter().map(|(name, defaults)| (*name, defaults))
}

/// The defaults of a broker.
pub fn of(broker: &str) -> Options {
    Options::new(defaults(broker).cloned().unwrap_or_default())
}
