//! Every error answer: a problem (RFC 9457) with a stable type, a sentence for people, and what to do.

mod of;

use super::seldom::Seldom;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::Object;
use poem_openapi::error::ContentTypeError;
use refold_domain::validation::FieldError;
use serde::Serialize;

/// The content type of problems.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// After how many seconds a client may try again.
const RETRY_AFTER_SECONDS: u32 = 1;
/// How many errors `detail` repeats; `errors` has the others.
const TOLD_MAX: usize = 5;

/// The title where a body is not what is asked for.
const DOES_NOT_FIT: &str = "The body does not fit";

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<BadField>,
    retry_after: Option<u32>,
    /// What to do about a 401, for machines.
    challenge: Option<&'static str>,
}

/// An error: what went wrong and what to do about it (RFC 9457).
#[derive(Debug, Object)]
#[oai(rename = "Problem")]
pub struct Body {
    /// A stable name of the kind of problem, such as `urn:refold:problem:validation`
    #[oai(rename = "type")]
    kind: String,
    /// The kind of problem in words
    title: String,
    /// The HTTP status
    status: u16,
    /// What went wrong this time
    detail: String,
    /// Every bad field, up to 100; then one more entry tells how many others there are
    #[oai(skip_serializing_if_is_none)]
    errors: Option<Vec<BadField>>,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize)]
pub struct BadField {
    /// The line it is on, from 1, where the body has lines
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// The field, with the way to it: `scoops[2].price`; empty for the body as a whole
    field: String,
    /// What it must be
    reason: String,
}

impl BadField {
    /// One on a line of the body.
    pub fn on_line(line: u32, error: FieldError) -> Self {
        Self { line: Some(line), ..error.into() }
    }
}

impl From<FieldError> for BadField {
    fn from(FieldError { field, reason }: FieldError) -> Self {
        Self { line: None, field, reason }
    }
}

impl Problem {
    fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, slug, title, detail, errors: Vec::new(), retry_after: None, challenge: None }
    }

    /// The body is no JSON.
    pub fn syntax(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "syntax", "The body cannot be read", detail)
    }

    /// A parameter or a header is wrong.
    pub fn parameter(name: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let detail = format!("{name}: {reason}");
        let errors = vec![FieldError { field: name.to_owned(), reason }.into()];
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, "parameter", "A parameter is wrong", detail) }
    }

    /// The body is JSON, but not what is asked for.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = told(&errors);
        let errors = errors.into_iter().map(BadField::from).collect();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", DOES_NOT_FIT, detail) }
    }

    /// Lines of the body are not what is asked for; no more than `max` errors are told.
    pub fn lines(mut errors: Vec<BadField>, max: usize) -> Self {
        let first = errors.first().map(|BadField { line, field, reason }| {
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
            format!("{place}{field}{reason}")
        });
        let others = match errors.len() {
            0 | 1 => String::new(),
            count if count > max => format!("; `errors` has the first {max}, there are more"),
            count => format!("; and {} more, see `errors`", count - 1),
        };
        errors.truncate(max);
        let detail = format!("{}{others}; nothing was recorded", first.unwrap_or_default());
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", DOES_NOT_FIT, detail) }
    }

    /// The body is of another type than those that are taken.
    pub fn content_type(taken: &str) -> Self {
        let title = "The content type is not supported";
        let detail = format!("send the body with Content-Type: {taken}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", title, detail)
    }

    /// The body is encoded as nothing here can decode.
    pub fn encoding(detail: impl Into<String>) -> Self {
        let title = "The content's encoding is not supported";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", title, detail)
    }

    /// The body is too large.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// The body did not come in time.
    pub fn too_slow() -> Self {
        let detail = "the body did not come in time; nothing was recorded";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body came too slowly", detail)
    }

    /// The service stops before the body has come.
    pub fn stopping() -> Self {
        let detail = "the service is stopping and the body had not come whole; nothing was recorded";
        Self::unavailable("not-recorded", "The command was not recorded", detail)
    }

    /// Nobody knows who asks; the challenge says so to machines.
    pub fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Nobody knows who asks", detail);
        Self { challenge: Some(challenge), ..problem }
    }

    /// Whoever asks may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "You may not do this", detail)
    }

    /// A user name and a password are not those of a user who may come in. No word says more.
    pub fn wrong_login() -> Self {
        let detail = "there is no such user, the password is another, or an admin has disabled the user";
        let title = "You cannot log in with these";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "credentials", title, detail);
        Self { challenge: Some("Bearer"), ..problem }
    }

    /// Too many tries; so many seconds later there may be another.
    pub fn too_many(detail: impl Into<String>, seconds: u32) -> Self {
        let problem =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "There were too many tries", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// There was such a thing.
    pub fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", "It was withdrawn", detail)
    }

    /// A place in another log, or in a part of this one that is lost.
    pub fn other_log(detail: impl Into<String>) -> Self {
        let title = "The position is not one of this log";
        Self::new(StatusCode::GONE, "other-log", title, detail)
    }

    /// The request must say which version it wants to change.
    pub fn precondition_required() -> Self {
        let detail =
            "send the ETag of what you have read as If-Match, so that nobody's change is overwritten";
        Self::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", "If-Match is missing", detail)
    }

    /// Try again later; nothing was changed.
    pub fn unavailable(slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, slug, title, detail);
        Self { retry_after: Some(RETRY_AFTER_SECONDS), ..problem }
    }

    /// Something is broken here.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something is broken here", detail)
    }

    /// The broker lost what it had acknowledged.
    pub fn lost(detail: impl Into<String>) -> Self {
        let title = "The broker lost what it had acknowledged";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "lost-by-broker", title, detail)
    }

    /// Its status, its type, and what went wrong.
    pub fn told(self) -> (StatusCode, String, String) {
        (self.status, self.kind(), self.detail)
    }

    fn kind(&self) -> String {
        format!("urn:refold:problem:{}", self.slug)
    }

    /// The problem as JSON.
    pub fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "type": self.kind(),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            body["errors"] = serde_json::json!(self.errors);
        }
        body
    }
}

/// A sentence about errors: the first of them, and how many more there are.
fn told(errors: &[FieldError]) -> String {
    let sentence = |error: &FieldError| match error.field.as_str() {
        "" => format!("the body {}", error.reason),
        field => format!("{field}: {}", error.reason),
    };
    let (first, rest) = errors.split_at(errors.len().min(TOLD_MAX));
    let mut sentences: Vec<_> = first.iter().map(sentence).collect();
    let of_the_whole = rest.last().filter(|last| last.field.is_empty());
    let others = rest.len() - usize::from(of_the_whole.is_some());
    if others > 0 {
        sentences.push(format!("`errors` has {others} more"));
    }
    sentences.extend(of_the_whole.map(sentence));
    sentences.join("; ")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response =
            Response::builder().status(self.status).content_type(CONTENT_TYPE).body(self.body().to_string());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}

/// What poem and poem-openapi answer by themselves, in the form of all other errors.
pub fn of_error(error: poem::Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    if error.downcast_ref::<ContentTypeError>().is_some() {
        return Problem::content_type("application/json").into_response();
    }
    match error.status() {
        StatusCode::NOT_FOUND => {
            Problem::not_found("there is nothing at this path; see /docs").into_response()
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = "this path does not take this method; see /docs";
            let title = "The method is not allowed";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", title, detail).into_response()
        }
        status if status.is_client_error() => {
            Problem::new(status, "bad-request", "The request is wrong", error.to_string()).into_response()
        }
        _ => {
            static FAILED: Seldom = Seldom::new();
            if let Some(untold) = FAILED.tell() {
                tracing::error!(%error, untold, "a request failed");
            }
            Problem::internal("the log of this service says more").into_response()
        }
    }
}
