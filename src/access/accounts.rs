//! What is known of users: whether a password is theirs, whether they may still come in, and which there are.

use super::attempts::{Attempts, TooMany};
use super::passwords::{Full, Passwords, Turn};
use super::{Accounts, Standing};
use crate::commands::{CommandError, Commands};
use crate::settings::auth::Auth;
use anyhow::{Context, Result};
use async_trait::async_trait;
use quick_cache::sync::Cache;
use refold_domain::hash::partition_of;
use refold_domain::log::Offset;
use refold_domain::stream;
use refold_domain::users::{self, Password, User, normalised};
use refold_projections::state::StreamEntry;
use refold_projections::store::damage::Damaged;
use refold_projections::store::{Limit, Range, Space, after_prefix};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How old what is told of a user may be: for so long a disabled user's token is still taken.
const STANDING_AGE_MAX: Duration = Duration::from_secs(1);
/// Of how many users it is kept.
const STANDINGS_MAX: usize = 10_000;

/// The users.
pub struct Users {
    commands: Arc<Commands>,
    passwords: Passwords,
    attempts: Attempts,
    standings: Cache<String, (Instant, Option<Standing>)>,
}

/// Whether a name and a password are a user's.
#[derive(Debug)]
pub enum Checked {
    /// They are, and the user may come in.
    Theirs(Box<User>),
    /// They are not; the name of the user, if there is such a one, for nobody but the operator.
    Wrong(Option<String>),
}

/// Why nobody can say so.
#[derive(Debug, thiserror::Error)]
pub enum Unchecked {
    /// Too many tries.
    #[error("too many logins")]
    TooMany(TooMany),
    /// Too many at once.
    #[error(transparent)]
    Full(#[from] Full),
    /// What the store has of users cannot be relied on.
    #[error(transparent)]
    Store(#[from] CommandError),
}

/// Some of the users, by name.
#[derive(Debug)]
pub struct Page {
    /// They.
    pub users: Vec<User>,
    /// The name to go on after, if there are more.
    pub next: Option<String>,
    /// How far the partition of the users had come.
    pub at: Offset,
}

impl Users {
    /// The users that the store of these commands tells of.
    ///
    /// # Errors
    /// Where the machine cannot hash passwords.
    pub fn new(commands: &Arc<Commands>, settings: &Auth) -> Result<Self> {
        Ok(Self {
            commands: Arc::clone(commands),
            passwords: Passwords::start(settings)?,
            attempts: Attempts::new(settings),
            standings: Cache::new(STANDINGS_MAX),
        })
    }

    /// The user of this name, as the store has them at this moment, and how far their partition had come.
    ///
    /// # Errors
    /// [`CommandError::Behind`] where it is being folded, [`CommandError::Failed`] where it cannot be read.
    pub async fn find(&self, username: &str) -> Result<(Option<User>, Offset), CommandError> {
        let stream = users::stream(&normalised(username));
        let streams = self.commands.streams(self.partition(), [&stream]).await?;
        Ok((streams.get(&stream).map(state).transpose()?, streams.at().unwrap_or_default()))
    }

    /// At most `limit` users, by name, after a name.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn page(&self, after: Option<&str>, limit: Limit) -> Result<Page, CommandError> {
        let prefix = users::stream("").into_bytes();
        let to = after_prefix(&prefix);
        let from = match after {
            Some(name) => Bound::Excluded(users::stream(name).into_bytes()),
            None => Bound::Included(prefix),
        };
        let range = Range { space: Space::Streams, from, to, reverse: false, limit };
        let found = self.commands.range(self.partition(), range).await?;
        let users = found.entries.iter().map(|(_, entry)| state(entry)).collect::<Result<Vec<_>>>()?;
        let last = users.last().filter(|_| found.more);
        let next = last.map(|user| normalised(&user.registered.username));
        Ok(Page { users, next, at: found.at })
    }

    /// Counts a login from this address.
    ///
    /// # Errors
    /// [`Unchecked::TooMany`]
    pub fn admit(&self, address: IpAddr) -> Result<(), Unchecked> {
        self.attempts.from(address).map_err(Unchecked::TooMany)
    }

    /// Whether the password is that of the user of this name; `None` is nobody's. It takes as long whether or not there is
    /// such a user, and waits for nothing but its turn. Those that were wrong are counted.
    ///
    /// # Errors
    /// [`Unchecked`]
    pub async fn check(&self, username: &str, password: Option<Password>) -> Result<Checked, Unchecked> {
        // What no user can have costs nothing to tell, and is no try.
        let Some(password) = password else { return Ok(Checked::Wrong(None)) };
        let name = normalised(username);
        self.attempts.left(&name).map_err(Unchecked::TooMany)?;
        let turn = self.turn().await?;
        // With the turn only: names that are made up by the thousand would push out the tries of others.
        self.attempts.of(&name).map_err(Unchecked::TooMany)?;
        let checked = self.compared(turn, &name, password).await;
        if !matches!(checked, Ok(Checked::Wrong(_))) {
            self.attempts.succeeded(&name);
        }
        checked
    }

    async fn compared(&self, turn: Turn<'_>, name: &str, password: Password) -> Result<Checked, Unchecked> {
        let (user, _) = self.find(name).await?;
        let hash = user.as_ref().map(|user| user.registered.password.clone());
        let is_theirs = turn.verify(password, hash).await.map_err(CommandError::Failed)?;
        Ok(match user {
            Some(user) if is_theirs && user.enabled => Checked::Theirs(Box::new(user)),
            user => Checked::Wrong(user.map(|user| user.registered.username)),
        })
    }

    /// Waits for a turn to hash a password.
    ///
    /// # Errors
    /// [`Full`]
    pub async fn turn(&self) -> Result<Turn<'_>, Full> {
        self.passwords.turn().await
    }

    /// Forgets how a user stood, for a command has just changed it.
    pub fn changed(&self, username: &str) {
        self.standings.remove(&normalised(username));
    }

    fn partition(&self) -> u32 {
        partition_of(stream::USERS, self.commands.progress.partitions())
    }
}

/// The user whose stream this is.
fn state(entry: &StreamEntry) -> Result<User> {
    let state = entry.state.as_deref().context(Damaged("a user's stream has no user"))?;
    // What the library says of it may quote it.
    serde_json::from_str(state).ok().context(Damaged("a user cannot be read"))
}

#[async_trait]
impl Accounts for Users {
    async fn standing(&self, username: &str) -> Result<Option<Standing>> {
        let name = normalised(username);
        if let Some((at, standing)) = self.standings.get(&name)
            && at.elapsed() < STANDING_AGE_MAX
        {
            return Ok(standing);
        }
        let asked = Instant::now();
        let standing = self.find(&name).await?.0.map(|user| Standing {
            role: user.registered.role,
            enabled: user.enabled,
            pwd: user.token_number(),
            id: user.registered.id,
        });
        self.standings.insert(name, (asked, standing.clone()));
        Ok(standing)
    }
}
