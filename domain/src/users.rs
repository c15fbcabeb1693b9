//! Users: they register, change their password, and an admin may shut them out and let them in again.
//!
//! All of them live in one partition, see [`crate::stream`], so that the guards of one command hold a user name and an e-mail
//! address. Names that look alike are one: see [`normalised`].

mod names;
mod password;

pub use names::{NAME, NAME_CHARS, USERNAME, USERNAME_CHARS, normalised};
pub use password::Password;

use crate::commit::Guard;
use crate::decision::{Decision, NewEvent, Rejection};
use crate::schema::{Aggregate, EventType, Field, Kind};
use crate::stream;
use crate::validation::{FieldError, Form, email};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// The system's name in streams; a user's key is the normalised user name.
pub const SYSTEM: &str = stream::USER;
const AGGREGATE: Option<Aggregate> = Some(Aggregate { system: SYSTEM, apply: apply_json });

/// Somebody registered; the key of this and of all that follows is the normalised user name.
pub const REGISTERED: EventType = EventType {
    name: "user.registered",
    fields: &[
        Field::new("id", Kind::Text),
        Field::new("username", Kind::Text),
        Field::new("name", Kind::Text),
        Field::new("lastname", Kind::Text),
        Field::new("role", Kind::Text),
        Field::private("email", Kind::Text),
        Field::private("password", Kind::Text),
    ],
    has_key: true,
    aggregate: AGGREGATE,
    upcasters: &[],
};
/// A user has another password.
pub const PASSWORD_CHANGED: EventType = EventType {
    name: "user.password_changed",
    fields: &[
        Field::new("id", Kind::Text),
        Field::new("password_changes", Kind::Integer { max: i64::MAX }),
        Field::private("password", Kind::Text),
    ],
    ..REGISTERED
};
/// An admin shut a user out.
pub const DISABLED: EventType =
    EventType { name: "user.disabled", fields: &[Field::new("id", Kind::Text)], ..REGISTERED };
/// An admin let a user in again.
pub const ENABLED: EventType = EventType { name: "user.enabled", ..DISABLED };

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What every user may.
    User,
    /// Everything.
    Admin,
}

/// Somebody who wants to be a user. As JSON, and so in hashes, it has no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The name that they log in with.
    pub username: String,
    /// Their first name.
    pub name: String,
    /// Their last name.
    pub lastname: String,
    /// Where to write to.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// What they log in with.
    #[serde(skip)]
    pub password: Password,
}

/// A user who wants another password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordChange {
    /// The password until now.
    pub current: Password,
    /// The one from now on.
    pub new: Password,
}

/// The data of a registration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The user's id.
    pub id: String,
    /// The name that they log in with, as they wrote it.
    pub username: String,
    /// Their first name.
    pub name: String,
    /// Their last name.
    pub lastname: String,
    /// What they may do.
    pub role: Role,
    /// Where to write to.
    pub email: String,
    /// The password's hash: a PHC text.
    pub password: String,
}

/// The data of a change of the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordChanged {
    /// The user's id.
    pub id: String,
    /// How many times it was changed, with this one.
    pub password_changes: u64,
    /// Its hash: a PHC text.
    pub password: String,
}

/// The data of what says no more than whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The user's id.
    pub id: String,
}

/// A user as they stand: the decision state, secrets and all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// How they registered; of the password, as it is now.
    pub registered: Registered,
    /// How many times the password was changed.
    pub password_changes: u64,
    /// How many times they were shut out. Tokens from before stay dead when they are let in again.
    pub times_disabled: u64,
    /// Whether they may come in.
    pub enabled: bool,
}

/// What can be asked of a user.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Make them one.
    Register(Box<Registered>),
    /// Give them a password with this hash, if the present one is the one that was looked at.
    ChangePassword {
        /// How many times it had been changed then.
        from: u64,
        /// The hash of the new one.
        password: String,
    },
    /// Shut them out.
    Disable,
    /// Let them in again.
    Enable,
}

/// Where the streams stand that a command about a user may move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions {
    /// The user's.
    pub user: u64,
    /// The e-mail address's; of a registration only.
    pub email: u64,
}

/// The stream of the user of this normalised name.
pub fn stream(name: &str) -> String {
    stream::name(SYSTEM, name)
}

/// The stream of an e-mail address.
pub fn email_stream(email: &str) -> String {
    stream::name(stream::EMAIL, &normalised(email))
}

/// Decides a command about the user of this normalised name.
///
/// # Errors
/// The rejection, where the user does not allow it, or is not there.
pub fn decide(
    name: &str,
    versions: Versions,
    state: Option<&User>,
    command: &Command,
) -> Result<Decision, Rejection> {
    let mut guards = vec![Guard::step(stream(name), versions.user)];
    let event = match (state, command) {
        (_, Command::Register(_)) if versions.user > 0 => return Err(taken("user name")),
        (_, Command::Register(_)) if versions.email > 0 => return Err(taken("e-mail address")),
        (_, Command::Register(registered)) => {
            guards.push(Guard::step(email_stream(&registered.email), versions.email));
            event(&REGISTERED, name, registered)
        }
        (None, _) => return Err(Rejection::NotFound(format!("there is no user {name}"))),
        (Some(user), Command::ChangePassword { from, password }) if *from == user.password_changes => {
            let (id, password) = (user.registered.id.clone(), password.clone());
            let data = PasswordChanged { id, password_changes: from + 1, password };
            event(&PASSWORD_CHANGED, name, &data)
        }
        (Some(_), Command::ChangePassword { .. }) => {
            return Err(Rejection::Conflict("the password was changed by somebody else meanwhile".into()));
        }
        (Some(User { enabled: false, .. }), Command::Disable)
        | (Some(User { enabled: true, .. }), Command::Enable) => {
            return Ok(Decision::Repeat { stream: stream(name) });
        }
        (Some(user), Command::Disable) => event(&DISABLED, name, &user.about()),
        (Some(user), Command::Enable) => event(&ENABLED, name, &user.about()),
    };
    Ok(Decision::Record { guards, events: vec![event] })
}

fn taken(what: &str) -> Rejection {
    Rejection::Conflict(format!("somebody else has this {what}: take another"))
}

fn event(kind: &EventType, name: &str, data: &impl Serialize) -> NewEvent {
    NewEvent::new(kind.name, Some(name.to_owned()), data)
}

/// The user after an event with this data happened.
///
/// # Errors
/// Why the data does not fit the event, without any of the data: there are secrets in it.
pub fn apply(before: Option<&User>, kind: &str, data: &str) -> Result<User, String> {
    if kind == REGISTERED.name {
        let registered = read(kind, data)?;
        return Ok(User { registered, password_changes: 0, times_disabled: 0, enabled: true });
    }
    let mut user = before.cloned().ok_or_else(|| format!("{kind}: there is no such user"))?;
    if kind == PASSWORD_CHANGED.name {
        let PasswordChanged { password_changes, password, .. } = read(kind, data)?;
        user.password_changes = password_changes;
        user.registered.password = password;
    } else {
        user.enabled = kind == ENABLED.name;
        user.times_disabled += u64::from(!user.enabled);
    }
    Ok(user)
}

fn read<'d, T: Deserialize<'d>>(kind: &str, data: &'d str) -> Result<T, String> {
    serde_json::from_str(data).map_err(|_| format!("{kind}: the data does not fit"))
}

fn apply_json(before: Option<&str>, kind: &str, data: &str) -> Result<String, String> {
    let before = before.map(|state| read::<User>(kind, state)).transpose()?;
    let user = apply(before.as_ref(), kind, data)?;
    serde_json::to_string(&user).map_err(|error| error.to_string())
}

impl User {
    /// The number that a token must carry to be taken: each change of the password and each time out raises it.
    pub fn token_number(&self) -> u64 {
        self.password_changes.saturating_add(self.times_disabled)
    }

    fn about(&self) -> About {
        About { id: self.registered.id.clone() }
    }
}

impl Registration {
    /// Reads a request body.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let registration = Self {
            username: form.with("username", names::username),
            name: form.with("name", names::name),
            lastname: form.with("lastname", names::name),
            email: form.with("email", address),
            password: form.with("password", Password::parse),
            role: form.optional("role", role).unwrap_or(Role::User),
        };
        form.finish(registration)
    }

    /// What is recorded of it: under this id, with this hash of the password.
    pub fn registered(&self, id: String, password: String) -> Registered {
        let Self { username, name, lastname, email, role, .. } = self.clone();
        Registered { id, username, name, lastname, role, email, password }
    }
}

impl PasswordChange {
    /// Reads a request body.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let change =
            Self { current: form.with("current", Password::parse), new: form.with("new", Password::parse) };
        form.finish(change)
    }
}

/// An e-mail address, composed (NFC), as those who write to it have it.
fn address(value: &Value) -> Result<String, String> {
    Ok(email(value)?.nfc().collect())
}

fn role(value: &Value) -> Result<Role, String> {
    Role::deserialize(value).map_err(|_| "must be user or admin".into())
}

/// Who looks for a mistake must not find secrets.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registered, password_changes, times_disabled, enabled } = self;
        write!(
            f,
            "{registered:?}, {password_changes} password changes, {times_disabled} times out, enabled: {enabled}"
        )
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}, {:?})", self.username, self.id, self.role)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(registered) => write!(f, "register {registered:?}"),
            Self::ChangePassword { from, .. } => write!(f, "change the password after {from} changes"),
            Self::Disable => f.write_str("disable"),
            Self::Enable => f.write_str("enable"),
        }
    }
}

#[cfg(test)]
mod tests;
