//! What each route needs, by `METHOD /path`.

use super::{Deserialize, Serialize};
use refold_domain::users::Role;
use std::collections::BTreeMap;
use std::fmt;

/// What each route needs. Which routes there are, the routes tell: see [`Table`](crate::access::table::Table).
pub type Access = BTreeMap<String, Need>;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Nothing: anybody may come.
    Open,
    /// The token of a user.
    User,
    /// The token of an admin.
    Admin,
}

impl Need {
    /// All there are, from nothing to most.
    pub const ALL: [Self; 3] = [Self::Open, Self::User, Self::Admin];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// Whether somebody with this role has what is needed.
    pub fn is_met_by(self, role: Role) -> bool {
        self != Self::Admin || role == Role::Admin
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
