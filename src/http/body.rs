//! Reading a JSON body: bounded in bytes and time, with every bad field named at once.

use super::connections::Stopping;
use super::headers::check_encoding;
use super::problem::Problem;
use crate::settings;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use poem::http::header;
use poem::{Request, RequestBody};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use refold_domain::validation::{FieldError, json};
use serde_json::Value;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How many bytes of a body that is too large are read on, so that its sender sees the answer.
const DRAIN_BYTES_MAX: usize = 16 << 20;
/// How long they are read on.
const DRAIN_WAIT: Duration = Duration::from_secs(1);
/// How long the rest of a body is waited for when the service stops: nothing was taken yet, and what comes so late would
/// hold up everybody who waits for the next start.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// A command that can be read from a JSON body.
pub trait Parse: Sized + Send {
    /// What the OpenAPI document shows of it.
    type Schema: Type;

    /// Reads it.
    ///
    /// # Errors
    /// Every bad field.
    fn parse(body: &Value) -> Result<Self, Vec<FieldError>>;
}

/// A JSON body, read and found good.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: Parse> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        Json::<T::Schema>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::Schema::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::Schema::register(registry);
    }
}

impl<T: Parse> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let limits: &Arc<settings::Http> = request.data().expect("every route is given its limits");
        let bytes = read(request, body, limits.body_bytes_max).await?;
        let value = json::read(&bytes).map_err(Problem::from)?;
        Ok(Self(T::parse(&value).map_err(Problem::validation)?))
    }
}

/// The bytes of a body, of which there may be `max`, and which may take as long as the limits say.
///
/// # Errors
/// Where it is encoded, too large or too slow, ends early, or the service stops.
pub async fn read(request: &Request, body: &mut RequestBody, max: usize) -> Result<Vec<u8>, Problem> {
    check_encoding(request)?;
    let limits: &Arc<settings::Http> = request.data().expect("every route is given its limits");
    let body = body.take().map_err(|error| Problem::internal(error.to_string()))?;
    let mut chunks = pin!(body.into_bytes_stream());
    if declared(request).is_none_or(|length| length <= max) {
        let bytes = tokio::select! {
            bytes = timeout(limits.body_timeout, take(&mut chunks, max)) => bytes.map_err(|_| Problem::too_slow())?,
            () = cut_off(request) => return Err(Problem::stopping()),
        };
        let ended_early = |error| Problem::syntax(format!("the body ended early: {error}"));
        if let Some(bytes) = bytes.map_err(ended_early)? {
            return Ok(bytes);
        }
    }
    // A client that waits to be told to go on sends nothing now.
    if !request.headers().contains_key(header::EXPECT) {
        drop(timeout(DRAIN_WAIT, drain(&mut chunks)).await);
    }
    Err(Problem::too_large(format!("the body has more than {max} bytes; nothing was recorded")))
}

/// Returns when the service has been stopping for so long that no body is waited for any more.
async fn cut_off(request: &Request) {
    Stopping::told(request).begun().await;
    sleep(STOP_WAIT).await;
}

/// The whole body, `None` where it has more than `max` bytes.
async fn take(
    chunks: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut taken = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        if taken.len() + chunk.len() > max {
            return Ok(None);
        }
        taken.extend_from_slice(&chunk);
    }
    Ok(Some(taken))
}

/// Throws away what still comes: who is hung up on while sending does not see the answer.
async fn drain(chunks: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin)) {
    let mut bytes = 0;
    while bytes < DRAIN_BYTES_MAX
        && let Ok(Some(chunk)) = chunks.try_next().await
    {
        bytes += chunk.len();
    }
}

/// How many bytes the client says will come; more than a number can tell is more than anybody takes.
fn declared(request: &Request) -> Option<usize> {
    let length = request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?;
    Some(length.parse().unwrap_or(usize::MAX))
}

impl<'a, T: Parse> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content =
            vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: <Self as Payload>::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        match request.content_type() {
            Some(content_type) if Self::check_content_type(content_type) => {
                <Self as ParsePayload>::from_request(request, body).await
            }
            Some(other) => Err(ContentTypeError::NotSupported { content_type: other.to_owned() }.into()),
            None => Err(ContentTypeError::ExpectContentType.into()),
        }
    }
}
