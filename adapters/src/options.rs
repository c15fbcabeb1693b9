//! What can be set for one broker alone: the section of its name, each key with the default that its settings file gives.

use crate::BROKERS;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The values of one section, of which none is shown: some are secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Options(Table);

/// The sections of all brokers that have one.
static DEFAULTS: LazyLock<BTreeMap<&str, Table>> = LazyLock::new(|| {
    let section = |name: &str, config: &str| {
        let mut config: Table = config.parse().expect("a broker's own settings file is TOML");
        config.remove(name).and_then(|section| section.try_into().ok())
    };
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

impl Options {
    /// The defaults of a broker.
    pub fn of(broker: &str) -> Self {
        Self(defaults(broker).cloned().unwrap_or_default())
    }

    /// Sets one of them.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// What they say, as the broker reads it.
    ///
    /// # Errors
    /// Names the key whose value it cannot read.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, toml::de::Error> {
        self.0.clone().try_into()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let mut options = Options::default();
        options.set("password", "correct horse".into());
        assert_eq!(format!("{options:?}"), r#"{"password"}"#);
        assert_eq!(options.read::<BTreeMap<String, String>>().unwrap()["password"], "correct horse");
    }
}
