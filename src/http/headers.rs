//! The headers that mean something here, read strictly: what cannot be read is refused, never ignored.

use super::problem::Problem;
use super::typed::{Form, Key};
use poem::Request;
use poem::http::{HeaderValue, Version, header};
use refold_domain::decision::Expected;
use refold_domain::receipt::Receipt;
use std::time::Duration;

/// The header that a command's receipt stands in, and that queries bring back.
pub const RECEIPT: &str = "Refold-Receipt";
/// The header that says how far the views had come.
pub const POSITION: &str = "Refold-Position";
/// The header that makes a repeat of a command known.
pub const KEY: &str = "Idempotency-Key";
/// The header that says which version a change is made to.
pub const IF_MATCH: &str = "If-Match";
/// The header that says how long a query waits.
pub const PREFER: &str = "Prefer";
/// How many receipts a query may bring.
const RECEIPTS_MAX: usize = 1_024;
/// How many versions If-Match may list.
const VERSIONS_MAX: usize = 64;
/// How long a query waits for its receipts unless told otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(2);
/// How long a query waits for its receipts at most.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The idempotency key, if there is one.
///
/// # Errors
/// Where it is given twice, empty, too long or not printable ASCII: ignoring it would count a repeat twice.
pub fn idempotency_key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(key) = single(request, KEY)? else {
        return Ok(None);
    };
    match Key::read(key) {
        Some(Key) => Ok(Some(key.to_owned())),
        None => Err(Problem::parameter(KEY, format!("must be {}", Key::EXPECTED))),
    }
}

/// The versions that `If-Match` accepts.
///
/// # Errors
/// 428 where it is missing, 400 where it cannot be read. A tag that is not ours matches nothing.
pub fn if_match(request: &Request) -> Result<Expected, Problem> {
    let text = single(request, IF_MATCH)?.ok_or_else(Problem::precondition_required)?.trim();
    if text == "*" {
        return Ok(Expected::Any);
    }
    let tags: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_tag = |tag: &&str| {
        let quoted = tag.strip_prefix("W/").unwrap_or(tag);
        quoted.len() >= 2
            && quoted.starts_with('"')
            && quoted.ends_with('"')
            && quoted.matches('"').count() == 2
    };
    if tags.len() > VERSIONS_MAX || !tags.iter().all(is_tag) {
        return Err(Problem::parameter(IF_MATCH, "must be * or ETags in quotes, such as \"3\""));
    }
    // Weak tags never match here (RFC 9110, 13.1.1), nor do tags that no answer ever carried.
    Ok(Expected::OneOf(tags.into_iter().filter_map(version).collect()))
}

/// The version that a tag stands for, if it is written as [`etag`] writes it.
fn version(tag: &str) -> Option<u64> {
    let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    (etag(version) == tag).then_some(version)
}

/// The tag of a version.
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// Holds a request of HTTP/1.1 to the host that its standard demands (RFC 9112, 3.2): without it, or with two, those in
/// front of the service may have understood another request.
///
/// # Errors
/// Where it is missing, or given twice.
pub fn check_host(request: &Request) -> Result<(), Problem> {
    const NAME: &str = "Host";
    let host = single(request, NAME)?;
    if request.version() == Version::HTTP_11 && host.is_none() {
        return Err(Problem::parameter(NAME, "is missing, which HTTP/1.1 does not allow"));
    }
    Ok(())
}

/// Refuses a body that is written otherwise than in plain UTF-8: nothing here would decode it.
///
/// # Errors
/// 415, where a header says so.
pub fn check_encoding(request: &Request) -> Result<(), Problem> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !encodings.all(is_plain) {
        return Err(Problem::encoding("send the body without Content-Encoding: it is not decoded here"));
    }
    let parameters = request.content_type().unwrap_or_default().split(';').skip(1);
    let charset = parameters.filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let is_taken =
        |charset: &str| ["utf-8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(charset));
    if charset.is_none_or(is_taken) { Ok(()) } else { Err(Problem::encoding("send the body in UTF-8")) }
}

/// The W3C trace context, if there is a sound one; another is ignored, as its standard asks.
pub fn traceparent(request: &Request) -> Option<String> {
    let text = request.headers().get("traceparent")?.to_str().ok()?;
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let fits = parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && is_hex(part));
    fits.then(|| text.to_owned())
}

/// The receipts that a query waits for.
///
/// # Errors
/// Where one is malformed, or names a partition that the log does not have.
pub fn receipts(request: &Request, partitions: u32) -> Result<Vec<Receipt>, Problem> {
    let wrong = |reason: String| Problem::parameter(RECEIPT, reason);
    let mut receipts = Vec::new();
    for value in request.headers().get_all(RECEIPT) {
        let text = value.to_str().map_err(|_| wrong("must be ASCII".into()))?;
        for part in text.split(',').map(str::trim) {
            let receipt: Receipt = part.parse().map_err(wrong)?;
            if receipt.partition >= partitions {
                return Err(wrong(format!("{part:?} names a partition that the log does not have")));
            }
            receipts.push(receipt);
        }
    }
    if receipts.len() > RECEIPTS_MAX {
        return Err(wrong(format!("must be at most {RECEIPTS_MAX}")));
    }
    Ok(receipts)
}

/// How long a query may wait: `Prefer: wait=SECONDS` (RFC 7240). A preference that cannot be met is ignored.
///
/// # Errors
/// Where it is no text.
pub fn wait(request: &Request) -> Result<Duration, Problem> {
    let wrong = |_| Problem::parameter(PREFER, "must be printable ASCII");
    let preferences = request.headers().get_all(PREFER).iter().map(|value| value.to_str().map_err(wrong));
    let preferences = preferences.collect::<Result<Vec<_>, _>>()?;
    let seconds = preferences.into_iter().flat_map(|text| text.split(',')).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"').parse().ok())
            .flatten()
    });
    Ok(seconds.map_or(WAIT_DEFAULT, Duration::from_secs).min(WAIT_MAX))
}

fn single<'r>(request: &'r Request, name: &str) -> Result<Option<&'r str>, Problem> {
    let mut values = request.headers().get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::parameter(name, "must be given once"));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| Problem::parameter(name, "must be printable ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, values: &[&[u8]]) -> Request {
        let mut builder = Request::builder();
        for value in values {
            builder = builder.header(name, poem::http::HeaderValue::from_bytes(value).unwrap());
        }
        builder.finish()
    }

    #[test]
    fn a_key_is_read_or_refused_but_never_ignored() {
        let read = |values: &[&[u8]]| idempotency_key(&with("Idempotency-Key", values));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"k 1"]), Ok(Some("k 1".into())));
        for bad in [&[b"".as_slice()][..], &[b"a", b"b"], &[b"\xff"], &[&[b'x'; 256]]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn if_match_takes_every_form_of_the_standard() {
        let read = |value: &[u8]| if_match(&with("If-Match", &[value]));
        assert_eq!(read(b"*"), Ok(Expected::Any));
        assert_eq!(read(b"\"3\""), Ok(Expected::OneOf(vec![3])));
        assert_eq!(read(b"\"3\", \"5\""), Ok(Expected::OneOf(vec![3, 5])));
        assert_eq!(read(b"W/\"3\", \"x\", \"03\", \"+3\""), Ok(Expected::OneOf(vec![])));
        for bad in [b"3".as_slice(), b"\"3", b"", b"\"", b"\"1\",,", b"\"1\" \"3\""] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(if_match(&with("If-Match", &[])), Err(Problem::precondition_required()));
    }

    #[test]
    fn a_trace_is_passed_on_only_if_it_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&with("traceparent", &[good.as_bytes()])).as_deref(), Some(good));
        assert_eq!(traceparent(&with("traceparent", &[b"00-xyz"])), None);
    }

    #[test]
    fn waiting_has_a_default_and_a_bound() {
        let wait = |value: &[u8]| wait(&with("Prefer", &[value])).unwrap().as_secs();
        assert_eq!(wait(b"wait=5"), 5);
        assert_eq!(wait(b"respond-async, wait=7"), 7);
        assert_eq!(wait(b"wait=3000"), 30);
        assert_eq!(wait(b"wait=soon"), 2);
        assert_eq!(wait(b""), 2);
    }

    #[test]
    fn a_preference_that_is_no_text_is_refused() {
        assert!(wait(&with("Prefer", &[b"wait=5", b"\xff"])).is_err());
    }

    #[test]
    fn receipts_come_in_lists() {
        let id = uuid::Uuid::from_u128(5);
        let text = format!("1.{id}.2.3, 0.{id}.4.5");
        assert_eq!(receipts(&with(RECEIPT, &[text.as_bytes()]), 2).unwrap().len(), 2);
        assert!(receipts(&with(RECEIPT, &[text.as_bytes()]), 1).is_err());
        assert!(receipts(&with(RECEIPT, &[b"1"]), 2).is_err());
    }
}
