//! Pictures: register one with its weight.

use super::Tag;
use super::body::{Body, Parse};
use super::failure::{Commanding, Failure};
use super::recording::{Fact, record_fact};
use super::typed::{Key, Typed};
use crate::service::Service;
use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::pictures;
use refold_domain::validation::FieldError;
use serde_json::Value;
use std::sync::Arc;

/// The routes of the picture registrations.
pub struct Pictures(pub Arc<Service>);

/// A picture that was weighed.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Picture {
    /// Which picture; it may be registered any number of times
    #[oai(validator(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    picture_id: String,
    /// What it weighs in grams
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000000")))]
    weight: i64,
}

/// A registration as it was recorded.
#[derive(Debug, Object)]
struct RegisteredPicture {
    /// The id of the event
    id: String,
    /// Which picture
    picture_id: String,
    /// What it weighs in grams
    weight: i64,
}

#[derive(ApiResponse)]
enum Registered {
    /// It is recorded
    #[oai(status = 201)]
    Created(Json<RegisteredPicture>, #[oai(header = "Refold-Receipt")] String),
}

impl Example for Picture {
    fn example() -> Self {
        Self { picture_id: "000000243626".into(), weight: 1778 }
    }
}

impl Parse for pictures::Picture {
    type Schema = Picture;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

#[OpenApi(tag = "Tag::Pictures")]
impl Pictures {
    /// Register a picture
    #[oai(path = "/pictures", method = "post")]
    async fn register(
        &self,
        request: &Request,
        Body(picture): Body<pictures::Picture>,
        /// Makes a repeat answer what the first request did
        #[oai(name = "Idempotency-Key")]
        _key: Header<Option<Typed<Key>>>,
    ) -> Result<Registered, Failure<Commanding>> {
        let recorded =
            record_fact(&self.0, request, "POST /pictures", &picture, || picture.registered()).await?;
        let Fact { id, data: pictures::Picture { picture_id, weight }, receipt } = recorded;
        Ok(Registered::Created(Json(RegisteredPicture { id, picture_id, weight }), receipt))
    }
}
