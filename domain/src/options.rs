//! What is set for one server alone: the values of its section of the settings, which nobody is shown.

use serde::de::DeserializeOwned;
use std::fmt;
use toml::{Table, Value};

/// The values of one section, of which none is shown: some are secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Options(Table);

/// The section of this name in a settings file that is part of the program, if it has one.
///
/// # Panics
/// Where the file is no TOML.
pub fn section(name: &str, config: &str) -> Option<Table> {
    let mut config: Table = config.parse().expect("a settings file of ours is TOML");
    config.remove(name).and_then(|section| section.try_into().ok())
}

impl Options {
    /// Those of a section.
    pub fn new(section: Table) -> Self {
        Self(section)
    }

    /// Sets one of them.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// What they say, as the server's adapter reads it.
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
    use std::collections::BTreeMap;

    #[test]
    fn values_are_not_shown() {
        let mut options = Options::default();
        options.set("password", "correct horse".into());
        assert_eq!(format!("{options:?}"), r#"{"password"}"#);
        assert_eq!(options.read::<BTreeMap<String, String>>().unwrap()["password"], "correct horse");
    }
}
