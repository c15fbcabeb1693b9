//! Whether somebody with a sound token may still come in, now and as long as they stay.

use super::tokens::{Claims, Refusal};
use super::{Accounts, Caller};
use anyhow::anyhow;
use refold_domain::users::Role;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// What the id of an operator begins with: of those who made a token with the secret itself, and are no users.
pub const OPERATOR: &str = "operator:";
/// How long to wait for what is known of a user.
const STANDING_WAIT: Duration = Duration::from_secs(5);

/// What lets somebody in. The request carries it as data, and a stream keeps it.
#[derive(Clone)]
pub struct Pass {
    claims: Claims,
    role: Role,
    accounts: Arc<dyn Accounts>,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The token is not taken.
    #[error("the token is not taken: {0}")]
    Token(#[from] Refusal),
    /// There is no such user any more.
    #[error("the token's user is not known here")]
    Stranger,
    /// An admin has disabled the user.
    #[error("the token's user is disabled")]
    Disabled,
    /// The password was changed, or the user was shut out for a while, after the token was issued.
    #[error("the password was changed, or the user was disabled for a while, after the token was issued")]
    Outdated,
    /// Nobody can say at the moment.
    #[error("nobody can say whether the token's user may come in")]
    Unknown(#[source] anyhow::Error),
}

impl Pass {
    /// Lets in who has the token that says this.
    ///
    /// # Errors
    /// Why its user may not come in.
    pub async fn new(claims: Claims, accounts: &Arc<dyn Accounts>) -> Result<Self, Refused> {
        let accounts = Arc::clone(accounts);
        let role = role(&claims, accounts.as_ref()).await?;
        Ok(Self { claims, role, accounts })
    }

    /// Whose it is.
    pub fn caller(&self) -> Caller {
        let Claims { sub, username, .. } = &self.claims;
        Caller { id: sub.clone(), username: username.clone(), role: self.role }
    }

    /// For how long the token is still taken.
    pub fn left(&self) -> Duration {
        self.claims.ends().duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Looks again.
    ///
    /// # Errors
    /// Why the user may not stay.
    pub async fn renew(&self) -> Result<(), Refused> {
        if self.left().is_zero() {
            return Err(Refusal::Expired.into());
        }
        role(&self.claims, self.accounts.as_ref()).await.map(drop)
    }
}

/// What the user of a token may do by now.
async fn role(claims: &Claims, accounts: &dyn Accounts) -> Result<Role, Refused> {
    if claims.sub.starts_with(OPERATOR) {
        return Ok(claims.role);
    }
    let standing = timeout(STANDING_WAIT, accounts.standing(&claims.username)).await;
    let standing = standing.unwrap_or_else(|_| Err(anyhow!("no answer within {STANDING_WAIT:?}")));
    let standing = standing.map_err(Refused::Unknown)?;
    let standing = standing.filter(|standing| standing.id == claims.sub).ok_or(Refused::Stranger)?;
    if !standing.enabled {
        return Err(Refused::Disabled);
    }
    if claims.pwd < standing.pwd {
        return Err(Refused::Outdated);
    }
    Ok(standing.role)
}
