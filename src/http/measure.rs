//! Counts and times every request, with handles that are looked up once.

use metrics::{Counter, Histogram, counter, histogram};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use refold_domain::metric;
use std::sync::Arc;
use std::time::Instant;

/// The methods that are told apart; all others are `other`.
const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
/// Status classes, from 1xx to 5xx.
const CLASSES: usize = 5;

/// A middleware that measures.
#[derive(Debug, Clone, Copy)]
pub struct Measure;

/// An endpoint that is measured.
pub struct Measured<E> {
    inner: E,
    meters: Arc<Meters>,
}

struct Meters {
    /// By method, then by status class.
    requests: Vec<[Counter; CLASSES]>,
    seconds: Histogram,
}

impl<E: Endpoint> Middleware<E> for Measure {
    type Output = Measured<E>;

    fn transform(&self, inner: E) -> Self::Output {
        Measured { inner, meters: Arc::new(Meters::new()) }
    }
}

impl<E: Endpoint> Endpoint for Measured<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let start = Instant::now();
        let method = request.method().clone();
        let response = self.inner.call(request).await?.into_response();
        self.meters.count(&method, response.status());
        self.meters.seconds.record(start.elapsed().as_secs_f64());
        Ok(response)
    }
}

impl Meters {
    fn new() -> Self {
        let names = METHODS.iter().map(Method::as_str).chain(["other"]);
        let of_method = |method: &str| {
            let counter = |class| {
                let labels =
                    [(metric::METHOD, method.to_owned()), (metric::STATUS, format!("{}xx", class + 1))];
                counter!(metric::HTTP_REQUESTS, &labels)
            };
            std::array::from_fn(counter)
        };
        let requests = names.map(of_method).collect();
        Self { requests, seconds: histogram!(metric::HTTP_REQUEST_SECONDS) }
    }

    fn count(&self, method: &Method, status: StatusCode) {
        let row = METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len());
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        self.requests[row][class].increment(1);
    }
}
