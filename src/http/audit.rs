//! Who came in, who was refused and what administrators did: a log line each, with the target `refold::audit`.
//!
//! Each says by whom, from where, and in which request. None holds what a client made up, but for names of users that
//! there are and the path: no password, no token. What anybody can cause as often as they like is told so many times in a
//! while and then counted, so that nobody floods the log.

use super::request_id::RequestId;
use super::seldom::Seldom;
use crate::access::Caller;
use crate::plain::plain;
use poem::Request;
use poem::http::StatusCode;
use std::net::SocketAddr;
use tracing::field::{DisplayValue, display};

/// The target of all lines: a filter such as `warn,refold::audit=info` writes them where little else is written.
const TARGET: &str = "refold::audit";
/// How many lines are written in a while about each thing that anybody can cause: requests refused, logins refused, ...
const LINES_MAX: u32 = 100;
/// How many characters of a path are told.
const PATH_CHARS_MAX: usize = 200;

/// How it ended that somebody brought a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A token was given, or the password changed.
    Ok,
    /// Name or password were wrong, or the user is disabled.
    Refused,
    /// There were too many before it: it was not looked at.
    Limited,
}

impl Ended {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Refused, Self::Limited];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Limited => "limited",
        }
    }
}

/// Tells of a login. `user` is the name of a user that there is, else none: people type passwords where names belong.
pub fn login(request: &Request, user: Option<&str>, ended: Ended) {
    static LIMITS: Limits = Limits::new();
    if let Some(untold) = LIMITS.tell(ended) {
        let Who { id, address, .. } = Who::of(request);
        let outcome = ended.name();
        tracing::info!(target: TARGET, request = id, address, user, outcome, untold, "login");
    }
}

/// Tells that a user took another password, or tried to; or that somebody repeated the registration of `subject`, a user that
/// there is, with a password that is not theirs.
pub fn password(request: &Request, subject: Option<&str>, ended: Ended) {
    static LIMITS: Limits = Limits::new();
    if let Some(untold) = LIMITS.tell(ended) {
        let Who { id, address, caller, user } = Who::of(request);
        let outcome = ended.name();
        tracing::info!(
            target: TARGET, request = id, address, caller, user, subject, outcome, untold, "password"
        );
    }
}

/// Tells that a request was refused: `status` is 401 or 403, `why` is in words of ours.
pub fn refused(request: &Request, status: StatusCode, why: &str) {
    static REFUSED: Seldom = Seldom::times(LINES_MAX);
    if let Some(untold) = REFUSED.tell() {
        let Who { id, address, caller, user } = Who::of(request);
        let (status, asked) = (status.as_u16(), asked(request));
        tracing::info!(
            target: TARGET, request = id, address, caller, user, asked, status, why, untold, "refused"
        );
    }
}

/// Tells what an administrator did, and to whom: `act(request, "disable user", "ada")`.
pub fn act(request: &Request, act: &'static str, subject: &str) {
    let Who { id, address, caller, user } = Who::of(request);
    tracing::info!(target: TARGET, request = id, address, caller, user, act, subject, "act");
}

/// How often is told of what anybody can cause; who came in is always told.
struct Limits {
    refused: Seldom,
    limited: Seldom,
}

impl Limits {
    const fn new() -> Self {
        Self { refused: Seldom::times(LINES_MAX), limited: Seldom::times(LINES_MAX) }
    }

    /// How many were not told since the last, if this one is to be.
    fn tell(&self, ended: Ended) -> Option<u64> {
        match ended {
            Ended::Ok => Some(0),
            Ended::Refused => self.refused.tell(),
            Ended::Limited => self.limited.tell(),
        }
    }
}

/// Whose request it is; what is not known of it is left out of a line.
struct Who<'r> {
    id: Option<&'r str>,
    address: Option<DisplayValue<&'r SocketAddr>>,
    /// The caller's id, and their name.
    caller: Option<&'r str>,
    user: Option<&'r str>,
}

impl<'r> Who<'r> {
    fn of(request: &'r Request) -> Self {
        let caller = request.data::<Caller>();
        Self {
            id: RequestId::told(request).map(RequestId::as_str),
            address: request.remote_addr().as_socket_addr().map(display),
            caller: caller.map(|caller| caller.id.as_str()),
            user: caller.map(|caller| caller.username.as_str()),
        }
    }
}

/// What was asked for, so that a terminal can print it: without the query, in which there may be what is nobody's business.
fn asked(request: &Request) -> String {
    let path: String = request.uri().path().chars().take(PATH_CHARS_MAX).collect();
    plain(&format!("{} {path}", request.method()))
}

#[cfg(test)]
mod tests;
