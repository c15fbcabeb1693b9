//! Foods: record that one was eaten, and count them.

use super::Tag;
use super::body::{Body, Parse};
use super::failure::{Commanding, Failure, Querying};
use super::problem::Problem;
use super::reading::wait_for_receipts;
use super::recording::{Call, data};
use super::typed::{Key, Typed};
use crate::commands::Recorded;
use crate::service::Service;
use anyhow::Context;
use poem::Request;
use poem_openapi::param::{Header, Query as Parameter};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::decision::Decision;
use refold_domain::foods;
use refold_domain::validation::FieldError;
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// How many different foods `/aggregated` answers at most, and unless told otherwise.
const FOODS_MAX: u32 = 100_000;
/// Where all of them are, page by page.
const ALL: &str = "</views/food_counts>; rel=\"collection\"";

/// The routes of the food counts.
pub struct Foods(pub Arc<Service>);

/// A food that was eaten.
#[derive(Debug, Object)]
#[oai(example)]
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
    /// Record a food
    #[oai(path = "/foods", method = "post")]
    async fn observe(
        &self,
        request: &Request,
        Body(food): Body<foods::Food>,
        /// Makes a repeat answer what the first request did
        #[oai(name = "Idempotency-Key")]
        _key: Header<Option<Typed<Key>>>,
    ) -> Result<Observed, Failure<Commanding>> {
        let call = Call::of(request, "POST /foods")?;
        let request = call.fact(&food);
        let decide = |_: &_| Ok(Decision::Record { guards: Vec::new(), events: vec![food.observed()] });
        let recorded = self.0.commands.execute(&request, decide).await?;
        Ok(Observed::Created(Json(shown(&recorded)?), recorded.receipt.to_string()))
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
        /// Waits until the commands of these receipts can be seen
        #[oai(name = "Refold-Receipt")]
        _receipts: Header<Option<String>>,
        /// How long to wait for them: `wait=SECONDS`, 2 unless said, at most 30
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
    ) -> Result<Aggregated, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let mut most = MostFrequent::new(limit.0.unwrap_or(FOODS_MAX));
        let position = self.0.every("food_counts", reached, |row| most.add(row)).await?;
        let all = most.is_cut.then(|| ALL.to_owned());
        Ok(Aggregated::Counts(Json(most.in_order()), position.to_string(), all))
    }
}

/// The most frequent of all foods that are added, and no more of them than were asked for.
struct MostFrequent {
    limit: usize,
    /// The least frequent one is on top.
    foods: BinaryHeap<(Reverse<u64>, String)>,
    is_cut: bool,
}

impl MostFrequent {
    fn new(limit: u32) -> Self {
        Self { limit: limit as usize, foods: BinaryHeap::new(), is_cut: false }
    }

    fn add(&mut self, row: Value) -> anyhow::Result<()> {
        let FoodCount { food, count } =
            serde_json::from_value(row).context("a row of the view food_counts")?;
        self.foods.push((Reverse(count), food));
        if self.foods.len() > self.limit {
            self.foods.pop();
            self.is_cut = true;
        }
        Ok(())
    }

    fn in_order(self) -> Vec<FoodCount> {
        let foods = self.foods.into_sorted_vec().into_iter();
        foods.map(|(Reverse(count), food)| FoodCount { food, count }).collect()
    }
}

fn shown(recorded: &Recorded) -> Result<RecordedFood, Problem> {
    let foods::Food { food } = data(recorded)?;
    let id = recorded.events.first().map(|event| event.id.to_string()).unwrap_or_default();
    Ok(RecordedFood { id, food })
}
