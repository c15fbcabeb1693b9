//! Lets a request in that has what its route needs, and tells it whose it is.
//!
//! It stands in front of all that answers, kept answers too. A token that is not taken is refused also where none is
//! needed: whoever sends one believes that it counts.

use super::admission::ALWAYS;
use super::audit;
use super::problem::Problem;
use super::seldom::Seldom;
use crate::access::pass::{Pass, Refused};
use crate::access::table::Table;
use crate::service::Service;
use crate::settings::access::Need;
use poem::http::{StatusCode, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response};
use std::sync::Arc;

/// Where tokens are given.
const LOGIN: &str = "/login";
/// What stands before a token, and asks for one.
const SCHEME: &str = "Bearer";
/// What tells that one was not taken (RFC 6750, 3).
const INVALID: &str = r#"Bearer error="invalid_token""#;

/// A middleware that lets in who may come.
#[derive(Clone)]
pub struct Authorization {
    table: Arc<Table>,
    service: Arc<Service>,
}

/// An endpoint that not everybody may ask.
pub struct Guarded<E> {
    inner: E,
    authorization: Authorization,
}

impl Authorization {
    /// Lets in whom the table lets in, where their token is one of the service's.
    pub fn new(table: &Arc<Table>, service: &Arc<Service>) -> Self {
        Self { table: Arc::clone(table), service: Arc::clone(service) }
    }

    /// What a request needs; nothing, if nobody is to look at what it brings.
    fn need(&self, request: &Request) -> Option<Need> {
        let path = request.uri().path();
        // Where there is no such route, that is what is answered.
        let need = self.table.need(request.method(), path)?;
        // Whoever asks whether the service is well is told so, whatever they send along; and whoever logs in has an old token.
        let path = path.trim_end_matches('/');
        (need != Need::Open || path != LOGIN && !ALWAYS.contains(&path)).then_some(need)
    }

    /// Tells a request whose it is, if it has what is needed.
    async fn admit(&self, request: &mut Request, need: Need) -> Result<(), Denied> {
        let Some(token) = token(request)? else {
            return if need == Need::Open { Ok(()) } else { Err(Denied::Nobody) };
        };
        let claims = self.service.tokens.verify(token).map_err(Refused::from)?;
        let pass = Pass::new(claims, &self.service.accounts).await?;
        let caller = pass.caller();
        let role = caller.role;
        request.set_data(caller);
        request.set_data(pass);
        if need.is_met_by(role) { Ok(()) } else { Err(Denied::Lacks(need)) }
    }
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It brings no token.
    #[error("this needs a token")]
    Nobody,
    /// Nobody knows which of them counts.
    #[error("two tokens were sent")]
    Ambiguous,
    /// Whoever sent it believes that it counts.
    #[error("what was sent may be a token, but is not written as `Authorization: Bearer TOKEN`")]
    Unclear,
    /// The token is not taken.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The route is for others.
    #[error("this needs the role {0}")]
    Lacks(Need),
    /// The route is for them, but not for all that can be asked there.
    #[error("{0}")]
    Beyond(&'static str),
}

impl Denied {
    /// Tells the audit of it, and makes the answer: no other way leads to one with 401 or 403, but for logins, of which the
    /// audit is told otherwise.
    pub fn told(self, request: &Request) -> Problem {
        let detail = self.to_string();
        let (status, problem) = match self {
            Self::Nobody => {
                let detail = format!(
                    "{detail}: send it as `Authorization: {SCHEME} TOKEN`; POST /login gives one to users"
                );
                (StatusCode::UNAUTHORIZED, Problem::unauthorized(SCHEME, detail))
            }
            Self::Refused(Refused::Unknown(error)) => return unknown(&detail, &error),
            Self::Ambiguous | Self::Unclear | Self::Refused(_) => {
                (StatusCode::UNAUTHORIZED, Problem::unauthorized(INVALID, format!("{detail}; log in again")))
            }
            Self::Lacks(_) | Self::Beyond(_) => (StatusCode::FORBIDDEN, Problem::forbidden(detail.clone())),
        };
        audit::refused(request, status, &detail);
        problem
    }
}

fn unknown(detail: &str, error: &anyhow::Error) -> Problem {
    static FAILED: Seldom = Seldom::new();
    if let Some(untold) = FAILED.tell() {
        tracing::error!(untold, "a token was not judged: {error:#}");
    }
    Problem::unavailable("store", "The users cannot be read", format!("{detail}: {error:#}; try again soon"))
}

/// The token that a request brings. Another scheme is between the client and whatever stands in front of the service.
fn token(request: &Request) -> Result<Option<&str>, Denied> {
    let sent = request.headers().get_all(header::AUTHORIZATION).iter();
    let mut tokens = sent.filter_map(|value| meant(value.as_bytes()));
    match (tokens.next(), tokens.next()) {
        (token, None) => token.transpose(),
        (_, Some(_)) => Err(Denied::Ambiguous),
    }
}

/// What is meant as a token, which nobody must believe to count where it is not understood.
fn meant(value: &[u8]) -> Option<Result<&str, Denied>> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).unwrap_or((value, b""));
    if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
        return is_bare(value).then_some(Err(Denied::Unclear));
    }
    match rest.first() {
        // What is no text is no token, but it was meant to be one.
        None | Some(b' ') => Some(Ok(std::str::from_utf8(rest.trim_ascii()).unwrap_or_default())),
        Some(_) => Some(Err(Denied::Unclear)),
    }
}

/// Whether it looks like a token without a scheme: three parts of base64url with dots between them.
fn is_bare(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut parts = value.trim_ascii().split(|byte| *byte == b'.');
    parts.clone().count() == 3 && parts.all(|part| part.iter().all(is_digit))
}

impl<E: Endpoint> Middleware<E> for Authorization {
    type Output = Guarded<E>;

    fn transform(&self, inner: E) -> Guarded<E> {
        Guarded { inner, authorization: self.clone() }
    }
}

impl<E: Endpoint> Endpoint for Guarded<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if let Some(need) = self.authorization.need(&request)
            && let Err(denied) = self.authorization.admit(&mut request, need).await
        {
            return Ok(denied.told(&request).into_response());
        }
        Ok(self.inner.call(request).await?.into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::HeaderValue;

    /// The token that is found in a header with this value; an error where it is refused.
    fn found(value: &[u8]) -> Result<Option<String>, String> {
        let value = HeaderValue::from_bytes(value).unwrap();
        let request = Request::builder().header(header::AUTHORIZATION, value).finish();
        token(&request).map(|token| token.map(str::to_owned)).map_err(|denied| denied.to_string())
    }

    #[test]
    fn what_is_meant_as_a_token_is_taken_or_refused_but_never_ignored() {
        for sent in ["Bearer a.b.c", "bEARER   a.b.c "] {
            assert_eq!(found(sent.as_bytes()), Ok(Some("a.b.c".into())), "{sent}");
        }
        for sent in ["Bearer", "Bearer ", "Bearer \u{e4}\u{fc}"] {
            assert!(found(sent.as_bytes()).unwrap().is_some(), "{sent}");
        }
        assert_eq!(found(b"Bearer \xff"), Ok(Some(String::new())));
        for sent in [
            "Bearer\ta.b.c",
            "Bearer:abc",
            "bearer=a.b.c",
            "Bearers a.b.c",
            "eyJ-_.eyJ9.c2ln",
            "a.b.c",
            "a.b.",
        ] {
            assert!(found(sent.as_bytes()).unwrap_err().contains("Bearer TOKEN"), "{sent}");
        }
        for other in
            ["Basic YTpi", "Basic", "Digest username=\"a.b.c\"", "Negotiate a.b.c", "", "a.b", "1.2.3.4"]
        {
            assert_eq!(found(other.as_bytes()), Ok(None), "{other}");
        }
    }
}
