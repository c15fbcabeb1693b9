//! Files for a browser: served from memory, revalidated by ETag, each under a policy that says what it may load.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::headers::{ETag, HeaderMapExt, IfNoneMatch};
use poem::{Endpoint, Request, Response};
use sha2::{Digest, Sha256};

/// What every policy ends with: no other address to resolve links against, no form sent by the browser, no frame around.
const CLOSED: &str = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The policy of what may load nothing.
pub const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Kept, but asked for again each time: a new binary may bring another file under the same name.
const CACHE: &str = "no-cache";

/// A file that a browser asks for.
#[derive(Debug, Clone)]
pub struct File {
    content_type: &'static str,
    body: Bytes,
    etag: ETag,
    policy: HeaderValue,
}

impl File {
    /// A file that may load what the `Content-Security-Policy` directives in `sources` say, and nothing else.
    pub fn new(content_type: &'static str, body: impl Into<Bytes>, sources: &str) -> Self {
        let body = body.into();
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&body)));
        let policy = format!("default-src 'none'; {sources}; {CLOSED}");
        Self {
            content_type,
            body,
            etag: etag.parse().expect("base64 in quotes is an entity tag"),
            policy: policy.parse().expect("policies are made of printable ASCII"),
        }
    }

    fn response(&self) -> Response {
        let mut response = Response::builder()
            .header(header::CACHE_CONTROL, CACHE)
            .header(header::CONTENT_SECURITY_POLICY, self.policy.clone())
            .finish();
        response.headers_mut().typed_insert(self.etag.clone());
        response
    }
}

impl Endpoint for File {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let mut response = self.response();
        let known = request.headers().typed_get::<IfNoneMatch>();
        if known.is_some_and(|known| !known.precondition_passes(&self.etag)) {
            response.set_status(StatusCode::NOT_MODIFIED);
        } else {
            response.set_body(self.body.clone());
            response = response.set_content_type(self.content_type);
        }
        Ok(response)
    }
}

/// The source expressions that allow exactly these inline scripts or styles.
pub fn hashes<'a>(inline: impl IntoIterator<Item = &'a str>) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    inline.into_iter().map(hash).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        File::new("text/plain", "hello", "img-src 'self'")
    }

    async fn ask(known: Option<&str>) -> Response {
        let request =
            known.iter().fold(Request::builder(), |request, etag| request.header("if-none-match", *etag));
        file().call(request.finish()).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_comes_with_its_policy() {
        let response = ask(None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()["content-security-policy"],
            "default-src 'none'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        );
        assert!(NOTHING.ends_with(CLOSED));
        assert_eq!(response.content_type(), Some("text/plain"));
        assert_eq!(response.into_body().into_string().await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_file_that_is_known_is_not_sent_again() {
        let etag = ask(None).await.headers()["etag"].to_str().unwrap().to_owned();
        let known = ask(Some(&etag)).await;
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(known.headers()["etag"], etag.as_str());
        assert_eq!(known.into_body().into_string().await.unwrap(), "");
        assert_eq!(ask(Some("\"other\"")).await.status(), StatusCode::OK);
    }

    #[test]
    fn a_hash_is_what_browsers_compute() {
        // The example of the standard (Content Security Policy Level 3, section 8.3).
        let expected = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='";
        assert_eq!(hashes(["alert('Hello, world.');"]), expected);
    }
}
