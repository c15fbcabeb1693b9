//! Answers so many requests at the same time and no more: one too many is told so at once.

use super::problem::Problem;
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What is always answered: whoever asks whether the service is well must not be told that it is full.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A middleware that lets so many requests in.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Semaphore>);

/// An endpoint behind an admission.
pub struct Admitted<E> {
    inner: E,
    places: Arc<Semaphore>,
}

impl Admission {
    /// Lets `requests_max` requests in at the same time.
    pub fn new(requests_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(requests_max)))
    }
}

impl<E: Endpoint> Middleware<E> for Admission {
    type Output = Admitted<E>;

    fn transform(&self, inner: E) -> Self::Output {
        Admitted { inner, places: Arc::clone(&self.0) }
    }
}

impl<E: Endpoint> Endpoint for Admitted<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if ALWAYS.contains(&request.uri().path().trim_end_matches('/')) {
            return Ok(self.inner.call(request).await?.into_response());
        }
        let Ok(_place) = self.places.try_acquire() else {
            let detail = "this one was not looked at; try again soon";
            return Ok(Problem::unavailable("overloaded", "Too many requests at the same time", detail)
                .into_response());
        };
        Ok(self.inner.call(request).await?.into_response())
    }
}
