//! What every answer tells browsers to leave alone: nothing is guessed, framed, embedded elsewhere, or told of in a
//! `Referer`.
//!
//! Files for a browser have a policy of their own, which says what they may load; all else may load nothing. Whether to
//! insist on HTTPS (HSTS) is for the proxy to say that speaks it.

use super::browser::NOTHING;
use poem::http::{HeaderName, HeaderValue, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

/// What every answer says.
static HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];
/// What an answer may load that does not say so itself.
static POLICY: HeaderValue = HeaderValue::from_static(NOTHING);

/// A middleware that says it.
#[derive(Debug, Clone, Copy)]
pub struct Secure;

/// An endpoint whose answers say it.
pub struct Secured<E>(E);

impl<E: Endpoint> Middleware<E> for Secure {
    type Output = Secured<E>;

    fn transform(&self, inner: E) -> Secured<E> {
        Secured(inner)
    }
}

impl<E: Endpoint> Endpoint for Secured<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let mut response = self.0.call(request).await?.into_response();
        let headers = response.headers_mut();
        for (name, value) in &HEADERS {
            headers.insert(name, value.clone());
        }
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| POLICY.clone());
        Ok(response)
    }
}
