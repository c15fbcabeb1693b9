//! Reading a JSON body: bounded in bytes and time, with every bad field named at once.

use super::problem::Problem;
use crate::settings;
use poem::error::ReadBodyError;
use poem::{Request, RequestBody};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use refold_domain::validation::FieldError;
use serde_json::Value;
use std::sync::Arc;
use tokio::time::timeout;

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
        let bytes = read(request, body).await?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| Problem::syntax(error.to_string()))?;
        Ok(Self(T::parse(&value).map_err(Problem::validation)?))
    }
}

async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>, Problem> {
    let limits: &Arc<settings::Http> = request.data().expect("every route is given its limits");
    let max = limits.body_bytes_max;
    let body = body.take().map_err(|error| Problem::internal(error.to_string()))?;
    let read = timeout(limits.body_timeout, body.into_bytes_limit(max)).await;
    match read {
        Err(_) => Err(Problem::too_slow()),
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(ReadBodyError::PayloadTooLarge)) => {
            Err(Problem::too_large(format!("the body has more than {max} bytes; nothing was recorded")))
        }
        Ok(Err(error)) => Err(Problem::syntax(format!("the body ended early: {error}"))),
    }
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
