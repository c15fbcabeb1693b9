//! What a process does of all that there is to do.

use super::{Settings, StoreKind};
use anyhow::{Result, bail};
use clap::ValueEnum;
use refold_adapters::embedded;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything
    All,
    /// Takes commands and answers queries
    Api,
    /// Folds the log into the read models
    Projector,
}

impl Role {
    /// Whether it takes commands and answers queries.
    pub fn answers(self) -> bool {
        self != Self::Projector
    }

    /// Whether it folds.
    pub fn folds(self) -> bool {
        self != Self::Api
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Projector => "projector",
        })
    }
}

/// Refuses a part of the work where no other process can do the rest of it.
///
/// # Errors
/// What is in the way, and what to do.
pub fn refuse_alone(settings: &Settings) -> Result<()> {
    let role = settings.role;
    if role == Role::All {
        return Ok(());
    }
    if settings.log.broker == embedded::NAME {
        bail!(
            "the role \"{role}\" leaves the rest to other processes, but the embedded log is one process's alone: set log.broker to \
             a broker on a server (and store.kind to \"redis\"), or role to \"all\""
        );
    }
    if settings.store.kind == StoreKind::Embedded {
        bail!(
            "the role \"{role}\" leaves the rest to other processes, but the embedded store is one process's alone: set store.kind to \
             \"redis\", or role to \"all\""
        );
    }
    if role == Role::Api && settings.auth.secret.is_empty() {
        bail!(
            "the role \"{role}\" answers the same clients as other processes, and auth.secret is empty: set $REFOLD__AUTH__SECRET to the \
             same at least 32 bytes for all of them, such as `openssl rand -base64 48` prints"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Map;

    const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

    fn refused(variables: &[(&str, &str)]) -> Option<String> {
        let variables: Map<String, String> =
            variables.iter().map(|(key, value)| (format!("REFOLD__{key}"), (*value).into())).collect();
        refuse_alone(&Settings::layered(&[], Some(variables)).unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn a_part_of_the_work_needs_others_who_can_do_the_rest() {
        let (nats, redis, secret) =
            (("LOG__BROKER", "nats"), ("STORE__KIND", "redis"), ("AUTH__SECRET", SECRET));
        for role in ["api", "projector"] {
            let role = ("ROLE", role);
            assert!(refused(&[role, redis, secret]).unwrap().contains("log.broker"));
            assert!(refused(&[role, nats, secret]).unwrap().contains("store.kind"));
            assert_eq!(refused(&[role, nats, redis, secret]), None);
        }
        assert!(refused(&[("ROLE", "api"), nats, redis]).unwrap().contains("$REFOLD__AUTH__SECRET"));
        assert_eq!(refused(&[("ROLE", "projector"), nats, redis]), None);
        assert_eq!(refused(&[("ROLE", "all")]), None);
    }
}
