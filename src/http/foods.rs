//! Foods: record that one was eaten, and count them.

use super::Tag;
use super::body::{Body, Parse};
use super::problem::{Commanding, Failure, Problem, Querying};
use super::reading::wait_for_receipts;
use super::recording::{Call, data};
use crate::commands::Recorded;
use crate::service::Service;
use anyhow::Context;
use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::decision::Decision;
use refold_domain::foods;
use refold_domain::validation::FieldError;
use refold_projections::query;
use refold_projections::view::Query;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// How many different foods `/aggregated` answers at most.
const FOODS_MAX: usize = 100_000;

/// The routes of the food counts.
pub struct Foods(pub Arc<Service>);

/// A food that was eaten.
#[derive(Debug, Object)]
pub struct Food {
    /// What it was
    #[oai(validator(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
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
#[derive(Debug, Object, Deserialize)]
struct FoodCount {
    /// What it was
    food: String,
    /// How often
    count: u64,
}

#[derive(ApiResponse)]
enum Observed {
    /// It is recorded
    #[oai(status = 201)]
    Created(Json<RecordedFood>, #[oai(header = "Refold-Receipt")] String),
}

#[derive(ApiResponse)]
enum Aggregated {
    /// Every food and how often it was eaten, the most frequent first
    #[oai(status = 200)]
    Counts(Json<Vec<FoodCount>>, #[oai(header = "Refold-Position")] String),
}

impl Parse for foods::Food {
    type Schema = Food;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

#[OpenApi(tag = "Tag::Foods")]
impl Foods {
    /// Record a food
    #[oai(path = "/foods", method = "post")]
    async fn observe(
        &self,
        request: &Request,
        Body(food): Body<foods::Food>,
        /// Makes a repeat answer what the first request did
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 255, pattern = "^[ -~]*$"))]
        _key: Header<Option<String>>,
    ) -> Result<Observed, Failure<Commanding>> {
        let call = Call::of(request, "POST /foods")?;
        let partition_key = call.new_id().to_string();
        let request = call.request(partition_key, &food, Vec::new());
        let decide = |_: &_| Ok(Decision::Record { guards: Vec::new(), events: vec![food.observed()] });
        let recorded = self.0.commands.execute(&request, decide).await?;
        Ok(Observed::Created(Json(shown(&recorded)?), recorded.receipt.to_string()))
    }

    /// Every food and how often it was eaten
    #[oai(path = "/aggregated", method = "get")]
    async fn aggregated(
        &self,
        request: &Request,
        /// Waits until the commands of these receipts can be seen
        #[oai(name = "Refold-Receipt")]
        _receipts: Header<Option<String>>,
        /// How long to wait for them: `wait=SECONDS`, 2 unless said, at most 30
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
    ) -> Result<Aggregated, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let all = query::Request { query: Query::default(), cursor: None, limit: FOODS_MAX };
        let page = self.0.page("food_counts", &all, &reached).await?;
        if page.next.is_some() {
            let detail =
                format!("there are more than {FOODS_MAX} foods: read /views/food_counts page by page");
            return Err(Problem::unavailable("too-many", "The answer is too large", detail).into());
        }
        let position = page.position.to_string();
        Ok(Aggregated::Counts(Json(by_frequency(page.data)?), position))
    }
}

fn shown(recorded: &Recorded) -> Result<RecordedFood, Problem> {
    let foods::Food { food } = data(recorded)?;
    let id = recorded.events.first().map(|event| event.id.to_string()).unwrap_or_default();
    Ok(RecordedFood { id, food })
}

fn by_frequency(rows: Vec<Value>) -> Result<Vec<FoodCount>, query::QueryError> {
    let parsed = rows.into_iter().map(serde_json::from_value).collect::<Result<Vec<FoodCount>, _>>();
    let mut counts = parsed.context("a row of the view food_counts")?;
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.food.cmp(&b.food)));
    Ok(counts)
}
