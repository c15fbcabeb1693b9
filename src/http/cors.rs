//! Which pages of other origins may use the API from within a browser: those that the settings list (`cors.origins`).
//!
//! Everybody else is answered as ever, and their browsers keep the answer from them. The library's own middleware would
//! answer 401 to whoever is not listed, also to the service's own page, for browsers name the origin of each POST.

use super::headers::{IF_MATCH, KEY, POSITION, PREFER, RECEIPT};
use super::request_id::REQUEST_ID;
use crate::settings;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use std::sync::Arc;

/// The methods that a page may use.
const METHODS: &str = "GET, POST, PUT, DELETE";
/// The headers that a page may send.
const TAKEN: [&str; 10] = [
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Last-Event-ID",
    "traceparent",
    IF_MATCH,
    KEY,
    PREFER,
    RECEIPT,
    REQUEST_ID,
];
/// The headers of answers that a page may read.
const SHOWN: [&str; 8] =
    ["ETag", "Link", "Location", "Retry-After", "WWW-Authenticate", POSITION, RECEIPT, REQUEST_ID];
/// How many seconds a browser may go by what it was told, before it asks again.
const MAX_AGE_SECONDS: u32 = 600;

/// A middleware that lets pages in.
#[derive(Debug, Clone)]
pub struct Cors(Arc<Listed>);

#[derive(Debug)]
struct Listed {
    origins: Vec<HeaderValue>,
    taken: HeaderValue,
    shown: HeaderValue,
}

/// An endpoint that pages may use.
pub struct Shared<E> {
    cors: Cors,
    inner: E,
}

impl Cors {
    /// Lets pages of these origins in.
    ///
    /// # Panics
    /// Where an origin is not ASCII, which the settings allow none to be.
    pub fn new(settings: &settings::cors::Cors) -> Self {
        let value = |text: &String| text.parse().expect("an origin is ASCII");
        let list = |names: &[&str]| names.join(", ").parse().expect("names of headers are ASCII");
        let origins = settings.origins.iter().map(value).collect();
        Self(Arc::new(Listed { origins, taken: list(&TAKEN), shown: list(&SHOWN) }))
    }

    /// The origin that a request names, if it is listed.
    fn listed(&self, request: &Request) -> Option<HeaderValue> {
        let origin = request.headers().get(header::ORIGIN)?;
        self.0.origins.iter().find(|listed| *listed == origin).cloned()
    }

    /// Tells a browser what a page may ask, before the page asks it.
    fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.0.taken.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS.into());
    }
}

impl<E: Endpoint> Middleware<E> for Cors {
    type Output = Shared<E>;

    fn transform(&self, inner: E) -> Shared<E> {
        Shared { cors: self.clone(), inner }
    }
}

impl<E: Endpoint> Endpoint for Shared<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Self { cors, inner } = self;
        if cors.0.origins.is_empty() {
            return Ok(inner.call(request).await?.into_response());
        }
        let origin = cors.listed(&request);
        let mut response = if origin.is_some() && is_preflight(&request) {
            let mut response = StatusCode::NO_CONTENT.into_response();
            cors.allow(response.headers_mut());
            response
        } else {
            inner.call(request).await?.into_response()
        };
        let headers = response.headers_mut();
        // Whoever keeps answers must not give the one to the other.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, cors.0.shown.clone());
        }
        Ok(response)
    }
}

/// Whether a browser asks for itself what a page may ask.
fn is_preflight(request: &Request) -> bool {
    let names_method = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    request.method() == Method::OPTIONS && names_method
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::EndpointExt;
    use poem::endpoint::make_sync;

    const OURS: &str = "https://app.example";

    async fn answer(origins: &[&str], method: Method, headers: &[(&str, &str)]) -> Response {
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        let endpoint = make_sync(|_| "hello").with(Cors::new(&settings::cors::Cors { origins }));
        let request = Request::builder().method(method);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).finish();
        endpoint.call(request).await.unwrap()
    }

    fn said(response: &Response) -> Vec<&str> {
        let names = response.headers().keys().map(|name| name.as_str());
        names.filter(|name| name.starts_with("access-control") || *name == "vary").collect()
    }

    #[tokio::test]
    async fn a_listed_page_may_read_what_it_is_answered() {
        let response = answer(&[OURS], Method::GET, &[("Origin", OURS)]).await;
        assert_eq!(response.headers()["access-control-allow-origin"], OURS);
        assert_eq!(response.headers()["vary"], "Origin");
        let shown = response.headers()["access-control-expose-headers"].to_str().unwrap();
        for name in ["ETag", "Link", "Retry-After", "Refold-Receipt", "Refold-Position", "X-Request-Id"] {
            assert!(shown.split(", ").any(|known| known == name), "{name}: {shown}");
        }
        assert!(response.headers().get("access-control-allow-credentials").is_none());
    }

    #[tokio::test]
    async fn a_listed_page_may_ask_and_is_told_how() {
        let asks = [("Origin", OURS), ("Access-Control-Request-Method", "PUT")];
        let response = answer(&["https://other.example", OURS], Method::OPTIONS, &asks).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()["access-control-allow-origin"], OURS);
        assert_eq!(response.headers()["access-control-allow-methods"], METHODS);
        let taken = response.headers()["access-control-allow-headers"].to_str().unwrap();
        for name in ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID"] {
            assert!(taken.split(", ").any(|known| known == name), "{name}: {taken}");
        }
    }

    #[tokio::test]
    async fn nobody_else_is_let_in_or_turned_away() {
        let asks = ("Access-Control-Request-Method", "PUT");
        for (origins, headers) in [
            (&[OURS][..], &[("Origin", "https://app.example.evil"), asks][..]),
            (&[OURS], &[("Origin", "null"), asks]),
            (&[OURS], &[asks]),
        ] {
            let response = answer(origins, Method::OPTIONS, headers).await;
            assert_eq!((response.status(), said(&response)), (StatusCode::OK, vec!["vary"]), "{headers:?}");
        }
        let off = answer(&[], Method::OPTIONS, &[("Origin", OURS), asks]).await;
        assert_eq!((off.status(), said(&off)), (StatusCode::OK, vec![]));
    }
}
