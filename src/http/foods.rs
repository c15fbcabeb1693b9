//! Foods: record that one was eaten, and count them.

use super::Tag;
use super::body::Parse;
use super::failure::{Commanding, Failure, Querying};
use super::frequent::Counted;
use super::ndjson::{Created, Sent};
use super::reading::wait_for_receipts;
use super::recording::{Fact, record_facts};
use crate::service::Service;
use poem::Request;
use poem_openapi::param::Query as Parameter;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::foods;
use refold_domain::validation::FieldError;
use serde_json::Value;
use std::sync::Arc;

/// The view that foods are counted in.
const FOODS: Counted = Counted { view: "food_counts", by: "food" };

/// The routes of the food counts.
pub struct Foods(pub Arc<Service>);

/// A food that was eaten.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Food {
    /// What it was
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    food: String,
}

/// A food as it was recorded.
#[derive(Debug, Object)]
struct RecordedFood {
    /// The id of the event
    id: String,
    /// What it was
    food: String,
}

/// How often a food was eaten.
#[derive(Debug, Object)]
struct FoodCount {
    /// What it was
    food: String,
    /// How often
    count: u64,
}

#[derive(ApiResponse)]
enum Observed {
    /// It is recorded; many are all recorded
    #[oai(status = 201)]
    Created(Json<Created<RecordedFood>>, #[oai(header = "Refold-Receipt")] String),
}

#[derive(ApiResponse)]
enum Aggregated {
    /// The foods and how often each was eaten, the most frequent first
    #[oai(status = 200)]
    Counts(
        Json<Vec<FoodCount>>,
        #[oai(header = "Refold-Position")] String,
        /// Where all foods are, if there are more than these: `</views/food_counts>; rel="collection"`
        #[oai(header = "Link")]
        Option<String>,
    ),
}

impl Example for Food {
    fn example() -> Self {
        Self { food: "pie".into() }
    }
}

impl Parse for foods::Food {
    type Schema = Food;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

#[OpenApi(tag = "Tag::Foods")]
impl Foods {
    /// Record a food, or many, a line each
    #[oai(path = "/foods", method = "post")]
    async fn observe(
        &self,
        request: &Request,
        sent: Sent<foods::Food>,
    ) -> Result<Observed, Failure<Commanding>> {
        let shown = |Fact { id, data: foods::Food { food } }| RecordedFood { id, food };
        let (created, receipts) =
            record_facts(&self.0, request, "POST /foods", &foods::OBSERVED, sent, shown).await?;
        Ok(Observed::Created(Json(created), receipts))
    }

    /// The foods and how often each was eaten
    ///
    /// The most frequent first, those eaten equally often by name. Where there are more foods than were asked for, or
    /// than 100,000, the answer has the most frequent ones and a `Link` to all. Many thousand foods are read in several
    /// steps: then some counts may be newer than `Refold-Position`; none is older.
    #[oai(path = "/aggregated", method = "get")]
    async fn aggregated(
        &self,
        request: &Request,
        /// How many foods to answer at most; 100,000 unless said
        #[oai(validator(minimum(value = "1"), maximum(value = "100000")))]
        limit: Parameter<Option<u32>>,
    ) -> Result<Aggregated, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let most = FOODS.most_frequent(&self.0, limit.0, reached).await?;
        let foods = most.counts.into_iter().map(|(food, count)| FoodCount { food, count }).collect();
        Ok(Aggregated::Counts(Json(foods), most.position.to_string(), most.all))
    }
}
