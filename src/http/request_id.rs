//! A name for each request, under which its client, its answer and its log lines find each other.
//!
//! The client's own, where it sends a sound one, so that one name goes through all services that a request passes.

use poem::http::{HeaderMap, HeaderValue};
use poem::{Request, Response};
use tracing::Span;
use uuid::Uuid;

/// The header that it stands in, of request and answer.
pub const REQUEST_ID: &str = "X-Request-Id";
/// How many characters a client's own may have.
const CHARS_MAX: usize = 128;

/// The name of a request; the request carries it as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The one that these headers bring, or a new one.
    ///
    /// # Panics
    /// Never: an id is made of printable ASCII.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID).iter();
        match (sent.next(), sent.next()) {
            (Some(only), None) if is_sound(only) => Self(only.clone()),
            _ => Self(Uuid::now_v7().to_string().try_into().expect("an id is made of printable ASCII")),
        }
    }

    /// That of a request, if it came in through a connection.
    pub fn told(request: &Request) -> Option<&Self> {
        request.data()
    }

    /// What is said under it: each log line carries it. As loud as an error, for else it would be left out where only
    /// errors are written.
    pub fn span(&self) -> Span {
        tracing::error_span!("request", id = self.as_str())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        // Nothing else was let in.
        self.0.to_str().unwrap_or_default()
    }

    /// Puts it on an answer.
    pub fn stamp(self, answer: &mut Response) {
        answer.headers_mut().insert(REQUEST_ID, self.0);
    }
}

/// Whether it can stand in a line of a log: no blank, nothing that is not shown, and not too long.
fn is_sound(id: &HeaderValue) -> bool {
    (1..=CHARS_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sent: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sound_one_is_taken() {
        for sound in ["a", "0190c0de-7000", "~!{}", &"x".repeat(CHARS_MAX)] {
            assert_eq!(id(&[sound.as_bytes()]), sound);
        }
    }

    fn version(id: &str) -> usize {
        id.parse::<Uuid>().unwrap().get_version_num()
    }

    #[test]
    fn any_other_is_replaced() {
        let long = "x".repeat(CHARS_MAX + 1);
        for bad in [&b""[..], b"a b", b"a\tb", b"\xff", long.as_bytes()] {
            assert_eq!(version(&id(&[bad])), 7, "{bad:?}");
        }
        assert_eq!((version(&id(&[])), version(&id(&[b"a", b"b"]))), (7, 7));
        assert_ne!(id(&[]), id(&[]));
    }
}
