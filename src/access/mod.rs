//! Who asks, and what they may ask for.

pub mod accounts;
pub mod attempts;
pub mod exposure;
mod hs256;
pub mod pass;
pub mod passwords;
pub mod secrets;
pub mod table;
pub mod tokens;

use async_trait::async_trait;
use refold_domain::users::Role;

/// Who asks: what a sound token says, where its user may still come in. The request carries it as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's id; the scope of their idempotency keys.
    pub id: String,
    /// The user's name, as it was registered.
    pub username: String,
    /// What they may do.
    pub role: Role,
}

/// Whether a user may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The user's id.
    pub id: String,
    /// What they may do.
    pub role: Role,
    /// Whether nobody has disabled them.
    pub enabled: bool,
    /// How many times their password was changed or they were shut out.
    pub pwd: u64,
}

/// What is known of users when one of them brings a token.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// How the user of this name stands, by what is known since a second at most; none where there is no such user.
    async fn standing(&self, username: &str) -> anyhow::Result<Option<Standing>>;
}
