//! Detections: record that a vehicle was detected, list them, and count them by make.

use super::Tag;
use super::body::Parse;
use super::failure::{Commanding, Failure, Querying};
use super::frequent::Counted;
use super::ndjson::{Created, Sent};
use super::reading::{PAGE_BYTES_MAX, PAGE_DEFAULT, page, wait_for_receipts};
use super::recording::{Fact, record_facts};
use crate::service::Service;
use anyhow::Context;
use poem::Request;
use poem_openapi::param::Query as Parameter;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, Union};
use refold_domain::detections;
use refold_domain::validation::FieldError;
use refold_projections::query::{self, QueryError, Reached};
use refold_projections::store::Limit;
use refold_projections::view::Query;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The view that the list is read from.
const DETECTIONS: &str = "detections";
/// The view that makes are counted in.
const MAKES: Counted = Counted { view: "vehicles_per_make", by: "make" };

/// The routes of the vehicle detections.
pub struct Detections(pub Arc<Service>);

/// A detection, in one of two spellings.
#[derive(Debug, Union)]
#[oai(one_of = true)]
pub enum AnyDetection {
    /// As this service spells it.
    Lower(Detection),
    /// As producers do.
    Capitals(ProducersDetection),
}

/// A vehicle that was detected.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Detection {
    /// The model year
    #[oai(validator(minimum(value = "1886"), maximum(value = "2100")))]
    year: i64,
    /// Who built it
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    make: String,
    /// What its builder calls it
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    model: String,
    /// What kind of vehicle it is
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    category: String,
}

/// A vehicle that was detected, as producers write it.
#[derive(Debug, Object)]
#[oai(example, rename_all = "PascalCase")]
pub struct ProducersDetection {
    /// The model year
    #[oai(validator(minimum(value = "1886"), maximum(value = "2100")))]
    year: i64,
    /// Who built it
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    make: String,
    /// What its builder calls it
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    model: String,
    /// What kind of vehicle it is
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    category: String,
}

/// A detection as it was recorded.
#[derive(Debug, Object)]
struct RecordedDetection {
    /// The id of the event
    id: String,
    /// The model year
    year: i64,
    /// Who built it
    make: String,
    /// What its builder calls it
    model: String,
    /// What kind of vehicle it is
    category: String,
}

/// A detection in the list.
#[derive(Debug, Object)]
struct ListedDetection {
    /// The id of the event
    id: String,
    /// When it was recorded
    timestamp: String,
    /// The model year
    year: i64,
    /// Who built it
    make: String,
    /// What its builder calls it
    model: String,
    /// What kind of vehicle it is
    category: String,
}

/// A page of detections.
#[derive(Debug, Object)]
struct DetectionsPage {
    /// The detections, the newest first
    data: Vec<ListedDetection>,
    /// How many are in `data`
    size: usize,
    /// How many were left out before them
    skip: u32,
    /// How many were asked for at most
    limit: u32,
    /// The cursor of the next page, if there is one
    #[oai(nullable)]
    next: Option<String>,
}

/// How many vehicles of a make were detected.
#[derive(Debug, Object)]
struct MakeCount {
    /// The make
    make: String,
    /// How many
    count: u64,
}

/// How many vehicles of each make were detected.
#[derive(Debug, Object)]
struct MakeCounts {
    /// The makes, the most frequent first
    data: Vec<MakeCount>,
    /// How many are in `data`
    size: usize,
}

#[derive(ApiResponse)]
enum Detected {
    /// It is recorded; many are all recorded
    #[oai(status = 201)]
    Created(Json<Created<RecordedDetection>>, #[oai(header = "Refold-Receipt")] String),
}

#[derive(ApiResponse)]
enum Listed {
    /// A page of detections
    #[oai(status = 200)]
    Page(Json<DetectionsPage>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
enum Stats {
    /// The makes and how many vehicles of each were detected, the most frequent first
    #[oai(status = 200)]
    Counts(
        Json<MakeCounts>,
        #[oai(header = "Refold-Position")] String,
        /// Where all makes are, if there are more than these: `</views/vehicles_per_make>; rel="collection"`
        #[oai(header = "Link")]
        Option<String>,
    ),
}

/// A row of the view.
#[derive(Deserialize)]
struct Row {
    id: String,
    time: String,
    data: detections::Detection,
}

impl Example for Detection {
    fn example() -> Self {
        let [make, model, category] = ["Toyota", "Land Cruiser", "SUV"].map(str::to_owned);
        Self { year: 2011, make, model, category }
    }
}

impl Example for ProducersDetection {
    fn example() -> Self {
        let Detection { year, make, model, category } = Detection::example();
        Self { year, make, model, category }
    }
}

impl Parse for detections::Detection {
    type Schema = AnyDetection;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

#[OpenApi(tag = "Tag::Detections")]
impl Detections {
    /// Record a detection, or many, a line each
    ///
    /// Names of fields are taken in lower case or as producers write them, with a capital: `year` or `Year`, not both.
    #[oai(path = "/detections", method = "post")]
    async fn detect(
        &self,
        request: &Request,
        sent: Sent<detections::Detection>,
    ) -> Result<Detected, Failure<Commanding>> {
        let shown = |Fact { id, data: detections::Detection { year, make, model, category } }| {
            RecordedDetection { id, year, make, model, category }
        };
        let (created, receipts) =
            record_facts(&self.0, request, "POST /detections", &detections::DETECTED, sent, shown).await?;
        Ok(Detected::Created(Json(created), receipts))
    }

    /// All detections
    ///
    /// The newest first: those recorded last. While detections come in, they push others from one `skip` to the next;
    /// a cursor goes on exactly where its page ended, and as fast on the last page as on the first.
    #[oai(path = "/detections", method = "get")]
    async fn list(
        &self,
        request: &Request,
        /// How many of the newest to leave out, or of those after the cursor; 0 unless said
        #[oai(validator(minimum(value = "0"), maximum(value = "10000")))]
        skip: Parameter<Option<u32>>,
        /// How many detections to answer at most, 100 unless said; a page of large ones has fewer
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// Where to go on: `next` of the last page
        cursor: Parameter<Option<String>>,
    ) -> Result<Listed, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let (skip, limit) = (skip.0.unwrap_or(0), limit.0.unwrap_or(PAGE_DEFAULT));
        let found = self.page(skip, limit, cursor.0, reached).await?;
        let data = found.data.into_iter().map(listed).collect::<Result<Vec<_>, QueryError>>()?;
        let shown = DetectionsPage { size: data.len(), data, skip, limit, next: found.next };
        Ok(Listed::Page(Json(shown), found.position.to_string()))
    }

    /// How many vehicles of each make were detected
    ///
    /// The most frequent makes first, those detected equally often by name. Where there are more makes than were asked
    /// for, or than 100,000, the answer has the most frequent ones and a `Link` to all.
    #[oai(path = "/stats", method = "get")]
    async fn stats(
        &self,
        request: &Request,
        /// How many makes to answer at most; 100,000 unless said
        #[oai(validator(minimum(value = "1"), maximum(value = "100000")))]
        limit: Parameter<Option<u32>>,
    ) -> Result<Stats, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let most = MAKES.most_frequent(&self.0, limit.0, reached).await?;
        let data: Vec<_> = most.counts.into_iter().map(|(make, count)| MakeCount { make, count }).collect();
        let shown = MakeCounts { size: data.len(), data };
        Ok(Stats::Counts(Json(shown), most.position.to_string(), most.all))
    }
}

impl Detections {
    /// The page that begins `skip` detections after the cursor. What is left out is read, for no partition knows how
    /// many of the others' detections come before its own; so `skip` has a bound, and a cursor has none.
    async fn page(
        &self,
        skip: u32,
        limit: u32,
        mut cursor: Option<String>,
        mut reached: Reached,
    ) -> Result<query::Page, QueryError> {
        let mut left = skip as usize;
        while left > 0 {
            let limit = Limit { entries: left, bytes: PAGE_BYTES_MAX };
            let skipped = query::Request { query: Query::default(), cursor, limit };
            let found = self.0.page(DETECTIONS, &skipped, &reached).await?;
            left -= found.data.len();
            if found.next.is_none() {
                return Ok(query::Page { data: Vec::new(), ..found });
            }
            cursor = found.next;
            reached.note_all(&found.position);
        }
        self.0.page(DETECTIONS, &page(Query::default(), cursor, Some(limit)), &reached).await
    }
}

fn listed(row: Value) -> Result<ListedDetection, QueryError> {
    let Row { id, time, data } = serde_json::from_value(row).context("a row of the view detections")?;
    let detections::Detection { year, make, model, category } = data;
    Ok(ListedDetection { id, timestamp: time, year, make, model, category })
}
