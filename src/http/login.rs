//! Logging in: a user name and a password for a token, in the form of OAuth2 (RFC 6749, 4.3).
//!
//! Whatever is wrong is told in the same words, after the same time.

use super::Tag;
use super::audit::{self, Ended};
use super::body::Parse;
use super::failure::{Failure, Statuses};
use super::form::Form;
use super::problem::Problem;
use crate::access::Caller;
use crate::access::accounts::{Checked, Unchecked};
use crate::service::Service;
use metrics::{Counter, counter};
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use refold_domain::metric;
use refold_domain::users::{Password, User};
use refold_domain::validation::{self, FieldError, text};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How many characters the fields may have that are a name: an e-mail address, say, where a user name belongs.
const NAME_CHARS: RangeInclusive<usize> = 1..=256;
/// What is not to be kept by whoever passes it on.
const NO_STORE: &str = "no-store";

/// The route of the logins.
pub struct Login {
    service: Arc<Service>,
    /// How they ended, by its number.
    ended: [Counter; Ended::ALL.len()],
}

/// What somebody logs in with.
#[derive(Object)]
#[oai(example)]
pub struct LoginForm {
    /// What OAuth2 calls this way to log in
    grant_type: Option<GrantType>,
    /// The user name, in any case
    #[oai(validator(min_length = 1, max_length = 256))]
    username: String,
    /// The password
    password: String,
    /// Not used: a token is good for all that its user may do
    scope: Option<String>,
    /// Not used
    client_id: Option<String>,
    /// Not used
    client_secret: Option<String>,
}

/// The only way to log in.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum GrantType {
    Password,
}

/// A name and what may be its password.
#[derive(Debug)]
pub struct Credentials {
    username: String,
    /// None, where it can be nobody's.
    password: Option<Password>,
}

/// A token.
#[derive(Object)]
struct Token {
    /// What to send as `Authorization: Bearer ...`
    access_token: String,
    /// `bearer`
    token_type: String,
    /// For how many seconds it is good
    expires_in: u64,
}

#[derive(ApiResponse)]
enum LoggedIn {
    /// The token
    #[oai(status = 200)]
    Token(Json<Token>, #[oai(header = "Cache-Control")] String),
}

/// Logins.
#[derive(Debug)]
pub struct LoggingIn;

impl Statuses for LoggingIn {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The form or a header cannot be read"),
        (401, "There is no such user, the password is another, or an admin has disabled the user"),
        (408, "The form came too slowly"),
        (413, "The form is too large"),
        (415, "The body is no form"),
        (422, "A field is missing, or not known"),
        (429, "Too many logins from this address, or too many that failed for this user"),
        (500, "Something is broken"),
        (503, "Too many log in at once, or the users are being folded"),
    ];
}

impl Example for LoginForm {
    fn example() -> Self {
        Self {
            grant_type: Some(GrantType::Password),
            username: "ada".into(),
            password: "correct horse".into(),
            scope: None,
            client_id: None,
            client_secret: None,
        }
    }
}

impl Parse for Credentials {
    type Schema = LoginForm;

    fn parse(form: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = validation::Form::new(form);
        form.optional("grant_type", |value| {
            (value == "password").then_some(()).ok_or_else(|| "must be password".into())
        });
        let username = form.with("username", |value| text(value, &NAME_CHARS, &[]));
        let password = form.with("password", |value| Ok(value.as_str().and_then(Password::typed)));
        for unused in ["scope", "client_id", "client_secret"] {
            form.optional(unused, |_| Ok(()));
        }
        form.finish(Self { username, password })
    }
}

impl Login {
    /// Gives tokens of this service to its users.
    pub fn new(service: &Arc<Service>) -> Self {
        let ended = Ended::ALL.map(|ended| counter!(metric::LOGINS, metric::OUTCOME => ended.name()));
        Self { service: Arc::clone(service), ended }
    }
}

#[OpenApi(tag = "Tag::Users")]
impl Login {
    /// Log in
    ///
    /// The token is good for a while (`auth.token_minutes`), until the password is changed or an admin disables the user.
    #[oai(path = "/login", method = "post")]
    async fn login(
        &self,
        request: &Request,
        Form(credentials): Form<Credentials>,
    ) -> Result<LoggedIn, Failure<LoggingIn>> {
        match self.checked(request, credentials).await {
            Ok(Checked::Theirs(user)) => {
                self.tell(request, Some(&user.registered.username), Ended::Ok);
                Ok(self.token(&user)?)
            }
            Ok(Checked::Wrong(user)) => {
                self.tell(request, user.as_deref(), Ended::Refused);
                Err(Problem::wrong_login().into())
            }
            Err(unchecked) => {
                if matches!(unchecked, Unchecked::TooMany(_)) {
                    self.tell(request, None, Ended::Limited);
                }
                Err(unchecked.into())
            }
        }
    }

    fn tell(&self, request: &Request, user: Option<&str>, ended: Ended) {
        self.ended[ended as usize].increment(1);
        audit::login(request, user, ended);
    }

    async fn checked(&self, request: &Request, credentials: Credentials) -> Result<Checked, Unchecked> {
        let Credentials { username, password } = credentials;
        if let Some(address) = request.remote_addr().as_socket_addr() {
            self.service.users.admit(address.ip())?;
        }
        self.service.users.check(&username, password).await
    }

    fn token(&self, user: &User) -> Result<LoggedIn, Problem> {
        let User { registered, .. } = user;
        let caller = Caller {
            id: registered.id.clone(),
            username: registered.username.clone(),
            role: registered.role,
        };
        let issued = self.service.tokens.issue(&caller, user.token_number());
        let issued = issued.map_err(|error| Problem::internal(format!("{error:#}")))?;
        let token = Token {
            access_token: issued.token,
            token_type: "bearer".into(),
            expires_in: issued.life.as_secs(),
        };
        Ok(LoggedIn::Token(Json(token), NO_STORE.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_bad_field_is_named() {
        let fields = |form: Value| -> Vec<String> {
            let errors = Credentials::parse(&form).err().unwrap_or_default();
            errors.into_iter().map(|error| error.field).collect()
        };
        assert_eq!(
            fields(json!({"username": "ada", "password": "x", "scope": "a b", "client_id": ""})),
            [""; 0]
        );
        assert_eq!(fields(json!({"grant_type": "implicit"})), ["grant_type", "username", "password"]);
        assert_eq!(fields(json!({"username": "", "password": "", "user": "x"})), ["username", "user"]);
    }

    #[test]
    fn what_cannot_be_a_password_is_none() {
        let password =
            |text: &str| Credentials::parse(&json!({"username": "ada", "password": text})).unwrap().password;
        assert_eq!(password("correct horse"), Password::typed("correct horse"));
        assert_eq!((password("short"), password(&"x".repeat(300))), (None, None));
    }
}
