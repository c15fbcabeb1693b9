//! Pictures: register one with its weight, and read what they weigh.

use super::Tag;
use super::body::Parse;
use super::failure::{Commanding, Failure, Querying};
use super::ndjson::{Created, Sent};
use super::reading::{page, wait_for_receipts};
use super::recording::{Fact, record_facts};
use crate::service::Service;
use anyhow::Context;
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::pictures;
use refold_domain::validation::FieldError;
use refold_projections::query::QueryError;
use refold_projections::view::Query;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The routes of the picture registrations.
pub struct Pictures(pub Arc<Service>);

/// A picture that was weighed.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Picture {
    /// Which picture; it may be registered any number of times
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
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

/// What all registered pictures weigh, in grams; `null` where there are none.
#[derive(Debug, Default, Object, Deserialize)]
struct Weights {
    /// How many registrations there are
    count: u64,
    /// The mean
    #[oai(nullable)]
    average: Option<f64>,
    /// All together
    #[oai(nullable)]
    sum: Option<u64>,
    /// The least
    #[oai(nullable)]
    min: Option<u64>,
    /// The greatest
    #[oai(nullable)]
    max: Option<u64>,
    /// The standard deviation of the whole
    #[oai(nullable)]
    stddev: Option<f64>,
    /// The median; like the other quantiles at most 0.8 % off
    #[oai(nullable)]
    p50: Option<u64>,
    /// Nine in ten weigh no more
    #[oai(nullable)]
    p90: Option<u64>,
    /// 99 in a hundred weigh no more
    #[oai(nullable)]
    p99: Option<u64>,
}

#[derive(ApiResponse)]
enum Weighed {
    /// What they weigh
    #[oai(status = 200)]
    Stats(Json<Weights>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
enum Registered {
    /// It is recorded; many are all recorded
    #[oai(status = 201)]
    Created(Json<Created<RegisteredPicture>>, #[oai(header = "Refold-Receipt")] String),
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
    /// Register a picture, or many, a line each
    #[oai(path = "/pictures", method = "post")]
    async fn register(
        &self,
        request: &Request,
        sent: Sent<pictures::Picture>,
    ) -> Result<Registered, Failure<Commanding>> {
        let shown = |Fact { id, data: pictures::Picture { picture_id, weight } }| RegisteredPicture {
            id,
            picture_id,
            weight,
        };
        let (created, receipts) =
            record_facts(&self.0, request, "POST /pictures", &pictures::REGISTERED, sent, shown).await?;
        Ok(Registered::Created(Json(created), receipts))
    }

    /// What all registered pictures weigh
    #[oai(path = "/pictures/stats", method = "get")]
    async fn stats(&self, request: &Request) -> Result<Weighed, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let page = self.0.page("picture_weights", &page(Query::default(), None, None), &reached).await?;
        let weights = page.data.into_iter().next().map(serde_json::from_value).transpose();
        let weights = weights.context("the view picture_weights").map_err(QueryError::Failed)?;
        Ok(Weighed::Stats(Json(weights.unwrap_or_default()), page.position.to_string()))
    }
}
