//! Answers so many requests at the same time and no more: one too many is told so at once.
//!
//! A request counts until its answer has gone out, for until then the answer is held in memory. What the clients of slow
//! lines hold is bounded by this, and not by the number of connections.

use super::problem::Problem;
use bytes::Bytes;
use hyper::body::Body as _;
use metrics::{Gauge, gauge};
use poem::{Body, Endpoint, IntoResponse, Middleware, Request, Response, Result};
use refold_domain::metric;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is always answered: whoever asks whether the service is well must not be told that it is full.
pub const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A middleware that lets so many requests in.
#[derive(Clone)]
pub struct Admission {
    places: Arc<Semaphore>,
    held: Gauge,
}

/// An endpoint behind an admission.
pub struct Admitted<E> {
    inner: E,
    admission: Admission,
}

/// A place that a request holds.
struct Place {
    _permit: OwnedSemaphorePermit,
    held: Gauge,
}

impl Admission {
    /// Lets `requests_max` requests in at the same time.
    pub fn new(requests_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(requests_max)), held: gauge!(metric::HTTP_REQUESTS_HELD) }
    }

    fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.held.increment(1);
        Some(Place { _permit: permit, held: self.held.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.decrement(1);
    }
}

impl<E: Endpoint> Middleware<E> for Admission {
    type Output = Admitted<E>;

    fn transform(&self, inner: E) -> Self::Output {
        Admitted { inner, admission: self.clone() }
    }
}

impl<E: Endpoint> Endpoint for Admitted<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if ALWAYS.contains(&request.uri().path().trim_end_matches('/')) {
            return Ok(self.inner.call(request).await?.into_response());
        }
        let Some(place) = self.admission.take() else {
            let detail = "this one was not looked at; try again soon";
            return Ok(Problem::unavailable("overloaded", "Too many requests at the same time", detail)
                .into_response());
        };
        let response = self.inner.call(request).await?.into_response();
        until_taken(response, place).await
    }
}

/// Gives the place back when the last byte of the answer has gone out, or its connection is closed. What has no end is
/// a stream: it has a place of another kind and gives this one back at once.
async fn until_taken(mut response: Response, place: Place) -> Result<Response> {
    let (parts, body) = hyper::Response::from(response).into_parts();
    let has_end = body.size_hint().exact().is_some();
    response = hyper::Response::from_parts(parts, body).into();
    if has_end {
        let bytes = response.take_body().into_bytes().await?;
        response.set_body(Body::from_bytes(Bytes::from_owner(Held { bytes, _place: place })));
    }
    Ok(response)
}

/// Bytes that are let go together with a place.
struct Held {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
