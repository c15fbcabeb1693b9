//! Answers that are given again: while no partition's state changes, a query's answer is the same bytes.
//!
//! Many who look at the same page, dashboards for instance, then cost one read of the store. An answer is kept under the
//! query and under how many changes there were before it was asked for; it is given again as long as there were no more. So
//! whoever gets one sees what they would have read at that moment. Those who bring a receipt have just written, and read.

use super::headers::{PREFER, RECEIPT};
use bytes::Bytes;
use metrics::{Counter, counter};
use poem::http::{HeaderMap, Method, StatusCode};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use refold_domain::metric;
use refold_projections::progress::Progress;
use std::sync::Arc;

/// The routes whose answers follow from query and store alone: none of these asks for the time or for the log.
const KEPT: [&str; 5] = ["/aggregated", "/stats", "/detections", "/pictures/stats", "/views/"];
/// What is kept of these routes: not their streams, which end when their clients want.
const JSON: &str = "application/json";
/// How many bytes all answers have together that are kept; those that were not asked for lately go first.
const BYTES_MAX: u64 = 16 << 20;
/// About how many bytes an answer takes beside what it says.
const ENTRY_BYTES: usize = 1_024;
/// About how many bytes an answer has: a page of a hundred short rows.
const BYTES_USUAL: u64 = 16 << 10;

/// A middleware that keeps answers.
#[derive(Clone)]
pub struct Answers {
    progress: Arc<Progress>,
    kept: Arc<Cache<String, Kept, ByBytes>>,
    /// How many were given again.
    again: Counter,
}

/// An endpoint whose answers are kept.
pub struct Answered<E> {
    inner: E,
    answers: Answers,
}

/// An answer.
#[derive(Clone)]
struct Kept {
    /// How many changes there were before it was made.
    changes: u64,
    headers: HeaderMap,
    body: Bytes,
}

/// Answers weigh what they hold.
#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Kept> for ByBytes {
    fn weight(&self, query: &String, kept: &Kept) -> u64 {
        let headers = kept.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        (ENTRY_BYTES + query.len() + kept.body.len() + headers.sum::<usize>()) as u64
    }
}

impl Answers {
    /// Keeps answers that are read from the store that `progress` tells of.
    pub fn new(progress: &Arc<Progress>) -> Self {
        let kept = Cache::with_weighter((BYTES_MAX / BYTES_USUAL) as usize, BYTES_MAX, ByBytes);
        let again = counter!(metric::HTTP_ANSWERS_AGAIN);
        Self { progress: Arc::clone(progress), kept: Arc::new(kept), again }
    }

    /// The answer to this query, if nothing has changed since.
    fn find(&self, query: &str) -> Option<Response> {
        let kept = self.kept.get(query).filter(|kept| kept.changes == self.progress.changes_count())?;
        self.again.increment(1);
        let mut response = Response::builder().body(kept.body);
        *response.headers_mut() = kept.headers;
        Some(response)
    }

    async fn keep(&self, query: String, changes: u64, response: Response) -> Result<Response> {
        let is_json = response.content_type().is_some_and(|kind| kind.starts_with(JSON));
        if response.status() != StatusCode::OK || !is_json || changes != self.progress.changes_count() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = body.into_bytes().await?;
        let headers = parts.headers.clone();
        self.kept.insert(query, Kept { changes, headers, body: body.clone() });
        Ok(Response::from_parts(parts, body.into()))
    }
}

impl<E: Endpoint> Middleware<E> for Answers {
    type Output = Answered<E>;

    fn transform(&self, inner: E) -> Self::Output {
        Answered { inner, answers: self.clone() }
    }
}

impl<E: Endpoint> Endpoint for Answered<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(query) = kept_query(&request) else {
            return Ok(self.inner.call(request).await?.into_response());
        };
        if let Some(response) = self.answers.find(query) {
            return Ok(response);
        }
        let query = query.to_owned();
        // Before it is read: what is read later is at least as new.
        let changes = self.answers.progress.changes_count();
        let response = self.inner.call(request).await?.into_response();
        self.answers.keep(query, changes, response).await
    }
}

/// The query under which an answer is kept, if it may be.
fn kept_query(request: &Request) -> Option<&str> {
    let path = request.uri().path();
    let is_kept = KEPT.iter().any(|kept| path == *kept || kept.ends_with('/') && path.starts_with(kept));
    // Who brings one of these is read before they are answered.
    let is_plain = [RECEIPT, PREFER].iter().all(|name| !request.headers().contains_key(*name));
    let query = request.uri().path_and_query()?.as_str();
    (request.method() == Method::GET && is_kept && is_plain).then_some(query)
}
