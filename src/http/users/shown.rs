//! What users look like from outside: what is sent, and what is answered.

use super::super::body::Parse;
use super::super::patterns::{Email, Name, Text, Username};
use super::super::typed::Typed;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object};
use refold_domain::users::{self, User};
use refold_domain::validation::FieldError;
use serde_json::Value;

/// Somebody who wants to be a user.
#[derive(Object)]
#[oai(example)]
pub struct Registration {
    /// The name to log in with, in any case
    username: Typed<Text<Username>>,
    /// The first name
    name: Typed<Text<Name>>,
    /// The last name
    lastname: Typed<Text<Name>>,
    /// Where to write to
    email: Typed<Text<Email>>,
    /// What to log in with; counted as it is composed (NFC)
    #[oai(validator(min_length = 10, max_length = 256))]
    password: String,
    /// What they may do, `user` unless said; `admin` is for admins to give
    #[oai(nullable)]
    role: Option<Role>,
}

/// A user who wants another password.
#[derive(Object)]
#[oai(example)]
pub struct PasswordChange {
    /// The password until now
    #[oai(validator(min_length = 10, max_length = 256))]
    current: String,
    /// The one from now on; counted as it is composed (NFC)
    #[oai(validator(min_length = 10, max_length = 256))]
    new: String,
}

/// What a user may do.
#[derive(Debug, Enum)]
#[oai(rename_all = "lowercase")]
enum Role {
    User,
    Admin,
}

/// A user who has registered.
#[derive(Debug, Object)]
#[oai(rename = "RegisteredUser")]
pub(super) struct Registered {
    /// The user's id
    pub(super) id: String,
}

/// A user as admins see them.
#[derive(Debug, Object)]
#[oai(rename = "User")]
pub(super) struct Someone {
    /// The user's id
    id: String,
    /// The name that they log in with
    username: String,
    /// The first name
    name: String,
    /// The last name
    lastname: String,
    /// What they may do
    role: Role,
    /// Whether they may come in
    enabled: bool,
}

/// A user as they see themselves.
#[derive(Object)]
#[oai(rename = "OwnUser")]
pub(super) struct Theirs {
    /// The id
    id: String,
    /// The name to log in with
    username: String,
    /// The first name
    name: String,
    /// The last name
    lastname: String,
    /// Where to write to
    email: String,
    /// What they may do
    role: Role,
}

/// A page of users.
#[derive(Debug, Object)]
#[oai(rename = "UserPage")]
pub(super) struct Page {
    /// The users, by name
    pub(super) data: Vec<Someone>,
    /// The cursor of the next page, if there is one
    #[oai(nullable)]
    pub(super) next: Option<String>,
}

#[derive(ApiResponse)]
pub(super) enum Made {
    /// They are a user
    #[oai(status = 201)]
    Created(Json<Registered>, #[oai(header = "Refold-Receipt")] String),
}

#[derive(ApiResponse)]
pub(super) enum Listed {
    /// A page of users
    #[oai(status = 200)]
    Page(Json<Page>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
pub(super) enum Myself {
    /// The user
    #[oai(status = 200)]
    Found(Json<Theirs>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
pub(super) enum Shut {
    /// It is so
    #[oai(status = 204)]
    Done(#[oai(header = "Refold-Receipt")] String),
}

impl Example for Registration {
    fn example() -> Self {
        Self {
            username: "ada".into(),
            name: "Ada".into(),
            lastname: "Lovelace".into(),
            email: "ada@example.org".into(),
            password: "correct horse".into(),
            role: None,
        }
    }
}

impl Example for PasswordChange {
    fn example() -> Self {
        Self { current: "correct horse".into(), new: "battery staple".into() }
    }
}

impl Parse for users::Registration {
    type Schema = Registration;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

impl Parse for users::PasswordChange {
    type Schema = PasswordChange;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

impl From<users::Role> for Role {
    fn from(role: users::Role) -> Self {
        match role {
            users::Role::User => Self::User,
            users::Role::Admin => Self::Admin,
        }
    }
}

impl From<User> for Someone {
    fn from(user: User) -> Self {
        let User { registered, enabled, .. } = user;
        let users::Registered { id, username, name, lastname, role, .. } = registered;
        Self { id, username, name, lastname, role: role.into(), enabled }
    }
}

impl From<User> for Theirs {
    fn from(user: User) -> Self {
        let users::Registered { id, username, name, lastname, role, email, .. } = user.registered;
        Self { id, username, name, lastname, email, role: role.into() }
    }
}
