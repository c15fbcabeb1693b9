//! Every projection's view, whoever defined it, and how the projections are doing.

use super::Tag;
use super::failure::{Failure, Querying, Reading};
use super::problem::Problem;
use super::reading::{page, wait_for_receipts};
use super::typed::{Form, Typed};
use crate::access::table::Table;
use crate::service::Service;
use crate::settings::access::Need;
use futures::future::join_all;
use jiff::Timestamp;
use poem::Request;
use poem::http::Method;
use poem_openapi::param::{Path, Query as Parameter};
use poem_openapi::payload::Json;
use poem_openapi::registry::MetaSchema;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use refold_projections::catalogue::Projection;
use refold_projections::progress::Condition;
use refold_projections::query::Page;
use refold_projections::view::Query;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The routes of all views.
pub struct Views(pub Arc<Service>);

/// Parameters that mean the same for every view.
const COMMON: [&str; 5] = ["limit", "cursor", "from", "until", "fill"];

/// A view that can be read at `/views/{name}`.
#[derive(Debug, Object)]
struct Listed {
    /// The projection's name
    name: String,
    /// counts, stats, series, rows or latest
    kind: String,
    /// A heading for people
    #[oai(nullable)]
    title: Option<String>,
    /// What it is good for
    #[oai(nullable)]
    description: Option<String>,
    /// The query parameters that select by key
    fields: Vec<String>,
    /// The definition, as TOML
    definition: String,
    /// Whether it can be read now
    state: ViewState,
    /// What is needed to read it: open, user or admin
    needs: String,
}

/// Whether a view can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum ViewState {
    /// It answers.
    Live,
    /// It is being folded from the start of the log.
    Folding,
    /// An event broke it, or a partition stopped.
    Broken,
}

/// What to put where a series has gaps: zeros.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zero;

impl Form for Zero {
    const NAME: &'static str = "string(fill)";
    const EXPECTED: &'static str = "zero";

    fn read(text: &str) -> Option<Self> {
        (text == Self::EXPECTED).then_some(Self)
    }

    fn schema() -> MetaSchema {
        MetaSchema { enum_items: vec![Self::EXPECTED.into()], ..MetaSchema::new("string") }
    }
}

/// A page of a view.
#[derive(Debug, Object)]
pub(super) struct Answer {
    /// The projection's name
    pub(super) name: String,
    /// counts, stats, series, rows or latest
    pub(super) kind: String,
    /// The view's cells, in an array; of stats without key fields, the only one
    pub(super) data: Value,
    /// The cursor of the next page, if there is one
    #[oai(nullable)]
    pub(super) next: Option<String>,
    /// How far each partition had come when it was read
    pub(super) position: String,
}

/// How a projection is doing.
#[derive(Debug, Object)]
pub(super) struct Standing {
    /// The projection's name
    name: String,
    /// Whether its view can be read now
    state: ViewState,
    /// The build that is folded and served
    generation: u32,
    /// How it stands in each partition
    partitions: Vec<PartitionStanding>,
}

/// How a projection stands in a partition.
#[derive(Debug, Object)]
struct PartitionStanding {
    /// The partition
    partition: u32,
    /// The offset of the last record folded
    #[oai(nullable)]
    position: Option<u64>,
    /// The offset that must be reached before the view answers
    #[oai(nullable)]
    target: Option<u64>,
    /// How many records of the log are not folded yet
    #[oai(nullable)]
    lag: Option<u64>,
    /// What is wrong, if anything is
    #[oai(nullable)]
    problem: Option<String>,
}

#[derive(ApiResponse)]
enum AllViews {
    /// Every view
    #[oai(status = 200)]
    List(Json<Vec<Listed>>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
enum View {
    /// A page of the view
    #[oai(status = 200)]
    Page(Json<Answer>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
enum Projections {
    /// How each projection is doing
    #[oai(status = 200)]
    List(Json<Vec<Standing>>, #[oai(header = "Refold-Position")] String),
}

#[OpenApi(tag = "Tag::Views")]
impl Views {
    /// All views
    #[oai(path = "/views", method = "get")]
    async fn list(&self, request: &Request) -> Result<AllViews, Failure<Querying>> {
        let position = self.position_after(request).await?;
        let table: &Arc<Table> = request.data().ok_or_else(|| Problem::internal("no table"))?;
        let listed = self.0.projections.iter().map(|projection| self.listed(projection, table));
        Ok(AllViews::List(Json(listed.collect()), position))
    }

    /// A page of a view
    ///
    /// Key fields select: `/views/food_counts?food=pie`. `from` and `until` select rows by their time, and the steps of
    /// a series by when they begin; both need all key fields, as `fill` does.
    #[oai(path = "/views/:name", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn read(
        &self,
        request: &Request,
        /// The projection's name
        name: Path<String>,
        /// How many cells to answer at most, 100 unless said; a page of large ones has fewer
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// Where to go on: `next` of the last page
        cursor: Parameter<Option<String>>,
        /// The first time wanted, of rows, or of steps of a series
        from: Parameter<Option<Typed<Timestamp>>>,
        /// The first time not wanted any more, of rows, or of steps of a series
        until: Parameter<Option<Typed<Timestamp>>>,
        /// What to put into the gaps of a series, from `from` or the first step to `until` or the last
        fill: Parameter<Option<Typed<Zero>>>,
    ) -> Result<View, Failure<Reading>> {
        let projection = projection(&self.0, &name.0)?;
        let reached = wait_for_receipts(&self.0, request).await?;
        let query = Query {
            by: by(request)?,
            from: from.0.map(|Typed(time)| time),
            until: until.0.map(|Typed(time)| time),
            fill: fill.0.is_some(),
            ..Query::default()
        };
        let page = self.0.page(&name.0, &page(query, cursor.0, limit.0), &reached).await?;
        let answer = Answer::of(projection, page);
        let position = answer.position.clone();
        Ok(View::Page(Json(answer), position))
    }

    /// How the projections are doing
    #[oai(path = "/projections", method = "get")]
    async fn projections(&self, request: &Request) -> Result<Projections, Failure<Querying>> {
        let position = self.position_after(request).await?;
        Ok(Projections::List(Json(self.standings().await), position))
    }
}

impl Views {
    /// How each projection is doing.
    pub(super) async fn standings(&self) -> Vec<Standing> {
        let ends = (0..self.0.progress.partitions()).map(|partition| self.0.end(partition));
        let ends = join_all(ends).await;
        self.0.projections.iter().map(|projection| self.standing(projection, &ends)).collect()
    }

    /// How far the views have come, once they have passed what the client wrote.
    async fn position_after(&self, request: &Request) -> Result<String, Problem> {
        wait_for_receipts(&self.0, request).await?;
        Ok(self.0.progress.position().to_string())
    }

    fn listed(&self, projection: &Projection, table: &Table) -> Listed {
        let definition = &projection.definition;
        let needs = table.need(&Method::GET, &format!("/views/{}", definition.name));
        Listed {
            name: definition.name.clone(),
            kind: projection.view.kind().to_owned(),
            title: definition.title.clone(),
            description: definition.description.clone(),
            fields: projection.view.fields(),
            definition: definition.text.clone(),
            state: self.state(projection),
            needs: needs.unwrap_or(Need::Admin).name().to_owned(),
        }
    }

    fn state(&self, projection: &Projection) -> ViewState {
        let states = (0..self.0.progress.partitions()).map(|partition| self.0.progress.state(partition));
        let of_partition = |state: refold_projections::progress::State| match (&state.head, &state.condition)
        {
            (_, Condition::Stopped { .. }) => ViewState::Broken,
            (Some(head), _) if !projection.is_live(head) => ViewState::Broken,
            (Some(head), _) if head.is_caught_up() => ViewState::Live,
            _ => ViewState::Folding,
        };
        let all: Vec<_> = states.map(of_partition).collect();
        let worst = [ViewState::Broken, ViewState::Folding].into_iter().find(|state| all.contains(state));
        worst.unwrap_or(ViewState::Live)
    }

    fn standing(&self, projection: &Projection, ends: &[Option<u64>]) -> Standing {
        let name = &projection.definition.name;
        let partitions = (0..).zip(ends).map(|(partition, end)| self.partition(name, partition, *end));
        Standing {
            name: name.clone(),
            state: self.state(projection),
            generation: projection.generation,
            partitions: partitions.collect(),
        }
    }

    fn partition(&self, name: &str, partition: u32, end: Option<u64>) -> PartitionStanding {
        let state = self.0.progress.state(partition);
        let head = state.head.as_deref();
        let broken = head.and_then(|head| head.projections.get(name)).and_then(|live| live.broken.as_ref());
        let position = match (head, broken) {
            (_, Some(broken)) => Some(broken.position.offset),
            (head, None) => head.map(|head| head.position.offset),
        };
        let problem = match broken {
            Some(broken) => Some(format!("event {}: {}", broken.event, broken.reason)),
            None => state.condition.problem(),
        };
        PartitionStanding {
            partition,
            position,
            target: head.map(|head| head.target),
            lag: end.zip(position).map(|(end, position)| end.saturating_sub(position)),
            problem,
        }
    }
}

impl Answer {
    /// A page of a projection's view.
    pub(super) fn of(projection: &Projection, page: Page) -> Self {
        let data = match projection.view.single() {
            Some(none_yet) => page.data.into_iter().next().unwrap_or(none_yet),
            None => page.data.into(),
        };
        Self {
            name: projection.definition.name.clone(),
            kind: projection.view.kind().to_owned(),
            data,
            next: page.next,
            position: page.position.to_string(),
        }
    }
}

/// The projection of this name.
pub(super) fn projection<'s>(service: &'s Service, name: &str) -> Result<&'s Projection, Problem> {
    service.projection(name).ok_or_else(|| {
        let known = service.projections.iter().map(|projection| projection.definition.name.as_str());
        Problem::not_found(refold_domain::nearest::unknown("view", name, known))
    })
}

/// The parameters that select by key.
pub(super) fn by(request: &Request) -> Result<BTreeMap<String, String>, Problem> {
    let pairs: Vec<(String, String)> =
        request.params().map_err(|error| Problem::parameter("query", error.to_string()))?;
    Ok(pairs.into_iter().filter(|(name, _)| !COMMON.contains(&name.as_str())).collect())
}
