//! Which problems an operation may answer, as its part of the OpenAPI document declares them.

use super::problem::{Body, CONTENT_TYPE, Problem};
use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use std::marker::PhantomData;

/// A problem as one of the answers that an operation declares.
#[derive(Debug)]
pub struct Failure<S>(Problem, PhantomData<S>);

/// The statuses that an operation may fail with.
pub trait Statuses: Send + Sync + 'static {
    /// Each with its meaning.
    const STATUSES: &'static [(u16, &'static str)];
}

/// Queries.
#[derive(Debug)]
pub struct Querying;

impl Statuses for Querying {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter or header is wrong"),
        (500, "The broker lost a commit that a receipt names, or something is broken"),
        (503, "The view is not there yet, or a receipt is not folded in time"),
    ];
}

/// Queries for one thing that does not go away.
#[derive(Debug)]
pub struct Reading;

impl Statuses for Reading {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter or header is wrong"),
        (404, "There is no such thing"),
        (500, "The broker lost a commit that a receipt names, or something is broken"),
        (503, "The view is not there yet, or a receipt is not folded in time"),
    ];
}

/// Streams.
#[derive(Debug)]
pub struct Following;

impl Statuses for Following {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter or header is wrong"),
        (404, "There is no such thing"),
        (410, "The position belongs to another log, or to what this one has lost"),
        (500, "Something is broken"),
        (503, "Too many streams are open, or the service has just started"),
    ];
}

/// Queries for one thing that may be withdrawn.
#[derive(Debug)]
pub struct Finding;

impl Statuses for Finding {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter or header is wrong"),
        (404, "There is no such thing"),
        (410, "It was withdrawn"),
        (500, "The broker lost a commit that a receipt names, or something is broken"),
        (503, "The view is not there yet, or a receipt is not folded in time"),
    ];
}

/// Commands.
#[derive(Debug)]
pub struct Commanding;

impl Statuses for Commanding {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body is no JSON, or a parameter or header is wrong"),
        (408, "The body came too slowly"),
        (409, "It clashes with what is recorded"),
        (413, "The body is too large"),
        (415, "The body is of another type"),
        (422, "The body does not fit, or the Idempotency-Key was used for another command"),
        (500, "The broker lost the command, or something is broken"),
        (503, "Not recorded, or nobody knows yet: `type` says which"),
    ];
}

/// Commands about one thing.
#[derive(Debug)]
pub struct Changing;

impl Statuses for Changing {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body is no JSON, or a parameter or header is wrong"),
        (404, "There is no such thing"),
        (408, "The body came too slowly"),
        (409, "Others were faster"),
        (410, "It was withdrawn"),
        (412, "If-Match is not the present version"),
        (413, "The body is too large"),
        (415, "The body is not application/json"),
        (422, "The body does not fit, or the Idempotency-Key was used for another command"),
        (428, "If-Match is missing"),
        (500, "The broker lost the command, or something is broken"),
        (503, "Not recorded, or nobody knows yet: `type` says which"),
    ];
}

/// Commands that end one thing, without a body.
#[derive(Debug)]
pub struct Ending;

impl Statuses for Ending {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter or header is wrong"),
        (404, "There is no such thing"),
        (409, "Others were faster"),
        (410, "It was withdrawn before"),
        (412, "If-Match is not the present version"),
        (422, "The Idempotency-Key was used for another command"),
        (428, "If-Match is missing"),
        (500, "The broker lost the command, or something is broken"),
        (503, "Not recorded, or nobody knows yet: `type` says which"),
    ];
}

impl<S, E: Into<Problem>> From<E> for Failure<S> {
    fn from(error: E) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<S> From<Failure<S>> for poem::Error {
    fn from(failure: Failure<S>) -> Self {
        failure.0.into()
    }
}

impl<S: Send> IntoResponse for Failure<S> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl<S: Statuses> ApiResponse for Failure<S> {
    fn meta() -> MetaResponses {
        let response = |&(status, description): &(u16, &'static str)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: Body::schema_ref() }],
            headers: retry_after(status),
        };
        MetaResponses { responses: S::STATUSES.iter().map(response).collect() }
    }

    fn register(registry: &mut Registry) {
        Body::register(registry);
    }
}

fn retry_after(status: u16) -> Vec<MetaHeader> {
    let header = MetaHeader {
        name: "Retry-After".into(),
        description: Some("Seconds after which to try again".into()),
        required: false,
        deprecated: false,
        schema: u32::schema_ref(),
    };
    let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    if later.iter().any(|known| known.as_u16() == status) { vec![header] } else { Vec::new() }
}
