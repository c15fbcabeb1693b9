//! Introductions: made, revised, withdrawn, and read, each change guarded by the version that the client knows.

use super::Tag;
use super::body::{Body, Parse};
use super::failure::{Changing, Commanding, Ending, Failure, Finding, Querying, Reading};
use super::headers::{etag, if_match};
use super::link::Link;
use super::patterns::{Email, Text};
use super::problem::Problem;
use super::reading::{PAGE_MAX, page, wait_for_receipts};
use super::recording::{Call, data};
use super::typed::Typed;
use crate::commands::{CommandError, Recorded, Streams};
use crate::service::Service;
use anyhow::Context;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use poem::Request;
use poem_openapi::param::{Path, Query as Parameter};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use refold_domain::decision::{Decision, Rejection};
use refold_domain::introductions::{self, Command, State};
use refold_domain::validation::FieldError;
use refold_projections::query::{self, QueryError, Reached};
use refold_projections::store::damage::Damaged;
use refold_projections::view::Query;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The routes of the introductions.
pub struct Introductions(pub Arc<Service>);

/// What somebody says of themselves.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Introduction {
    /// Who it is
    #[oai(validator(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x1f\x7f-\x9f]*$"
    ))]
    name: String,
    /// What they have to say
    #[oai(validator(
        min_length = 1,
        max_length = 10000,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
    ))]
    message: String,
    /// Where to write to
    #[oai(nullable)]
    email: Option<Typed<Text<Email>>>,
    /// Where to read more: URLs with http or https
    #[oai(nullable, validator(max_items = 20))]
    links: Option<Vec<Link>>,
}

/// An introduction as it stands.
#[derive(Debug, Object, Deserialize)]
struct Introduced {
    /// Its id
    id: String,
    /// How many commands changed it, its making included
    version: u64,
    /// Who it is
    name: String,
    /// What they have to say
    message: String,
    /// Where to write to
    #[oai(skip_serializing_if_is_none)]
    email: Option<String>,
    /// Where to read more
    #[oai(skip_serializing_if_is_none)]
    links: Option<Vec<String>>,
}

/// A page of introductions.
#[derive(Debug, Object)]
struct Page {
    /// The introductions, by id
    data: Vec<Introduced>,
    /// The cursor of the next page, if there is one
    #[oai(nullable)]
    next: Option<String>,
}

/// Something that happened to an introduction.
#[derive(Debug, Object, Deserialize)]
struct Happened {
    /// The event's id
    id: String,
    /// When it was recorded
    time: String,
    /// What happened
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The introduction after it
    data: Value,
}

#[derive(ApiResponse)]
enum Made {
    /// It is recorded
    #[oai(status = 201)]
    Created(
        Json<Introduced>,
        #[oai(header = "Refold-Receipt")] String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Location")] String,
    ),
}

#[derive(ApiResponse)]
enum Revised {
    /// It is replaced
    #[oai(status = 200)]
    Done(Json<Introduced>, #[oai(header = "Refold-Receipt")] String, #[oai(header = "ETag")] String),
}

#[derive(ApiResponse)]
enum Withdrawn {
    /// It is withdrawn
    #[oai(status = 204)]
    Done(#[oai(header = "Refold-Receipt")] String),
}

#[derive(ApiResponse)]
enum Listed {
    /// A page of introductions
    #[oai(status = 200)]
    Page(Json<Page>, #[oai(header = "Refold-Position")] String),
}

#[derive(ApiResponse)]
enum Found {
    /// The introduction as it stands
    #[oai(status = 200)]
    Introduction(Json<Introduced>, #[oai(header = "Refold-Position")] String, #[oai(header = "ETag")] String),
}

#[derive(ApiResponse)]
enum History {
    /// What happened, the oldest first
    #[oai(status = 200)]
    Events(
        Json<Vec<Happened>>,
        #[oai(header = "Refold-Position")] String,
        /// Where the next page is, if there is one: `<...>; rel="next"`
        #[oai(header = "Link")]
        Option<String>,
    ),
}

impl Example for Introduction {
    fn example() -> Self {
        Self {
            name: "Ada".into(),
            message: "Hello".into(),
            email: Some("ada@example.org".into()),
            links: Some(vec![Link::example()]),
        }
    }
}

impl Parse for introductions::Introduction {
    type Schema = Introduction;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

#[OpenApi(tag = "Tag::Introductions")]
impl Introductions {
    /// Introduce somebody
    #[oai(path = "/introductions", method = "post")]
    async fn introduce(
        &self,
        request: &Request,
        Body(introduction): Body<introductions::Introduction>,
    ) -> Result<Made, Failure<Commanding>> {
        let call = Call::of(request, "POST /introductions")?;
        let id = call.new_id().to_string();
        let recorded = self.execute(call, &id, &Command::Introduce(introduction)).await?;
        let introduced: Introduced = data(&recorded)?;
        let (etag, location) = (etag(introduced.version), format!("/introductions/{}", introduced.id));
        Ok(Made::Created(Json(introduced), recorded.receipt.to_string(), etag, location))
    }

    /// All introductions that are not withdrawn
    #[oai(path = "/introductions", method = "get")]
    async fn list(
        &self,
        request: &Request,
        /// How many introductions to answer at most, 100 unless said; a page of large ones has fewer
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// Where to go on: `next` of the last page
        cursor: Parameter<Option<String>>,
    ) -> Result<Listed, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let found =
            self.0.page("introductions", &page(Query::default(), cursor.0, limit.0), &reached).await?;
        let position = found.position.to_string();
        let data = found.data.into_iter().map(introduced).collect::<Result<_, QueryError>>()?;
        Ok(Listed::Page(Json(Page { data, next: found.next }), position))
    }

    /// One introduction
    #[oai(path = "/introductions/:id", method = "get")]
    async fn find(
        &self,
        request: &Request,
        /// Its id
        id: Path<String>,
    ) -> Result<Found, Failure<Finding>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let first = self.present(&id.0, &reached).await?;
        if first.is_none() && self.happened(&id.0, None, 1, &reached).await?.data.is_empty() {
            return Err(Problem::not_found(format!("there is no introduction {}", id.0)).into());
        }
        // It was made; if it is still not there when looked for again, it was withdrawn.
        let found = if first.is_none() { self.present(&id.0, &reached).await? } else { first };
        let Some((introduction, position)) = found else {
            return Err(Problem::gone(format!("introduction {} was withdrawn", id.0)).into());
        };
        let etag = etag(introduction.version);
        Ok(Found::Introduction(Json(introduction), position, etag))
    }

    /// What happened to an introduction
    #[oai(path = "/introductions/:id/history", method = "get")]
    async fn history(
        &self,
        request: &Request,
        /// Its id
        id: Path<String>,
        /// Where to go on, from the `Link` of the last page
        cursor: Parameter<Option<String>>,
    ) -> Result<History, Failure<Reading>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let is_first = cursor.0.is_none();
        let found = self.happened(&id.0, cursor.0, PAGE_MAX, &reached).await?;
        let position = found.position.to_string();
        if is_first && found.data.is_empty() {
            return Err(Problem::not_found(format!("there is no introduction {}", id.0)).into());
        }
        let path = utf8_percent_encode(&id.0, NON_ALPHANUMERIC);
        let next = |cursor| format!("</introductions/{path}/history?cursor={cursor}>; rel=\"next\"");
        let link = found.next.map(next);
        let events = found.data.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
        let events = events.context(Damaged("a row of the view introduction_history cannot be shown"));
        let events = events.inspect_err(|error| self.0.progress.note(error)).map_err(QueryError::Failed)?;
        Ok(History::Events(Json(events), position, link))
    }

    /// Replace an introduction's text
    ///
    /// An `Idempotency-Key` is remembered beside the introduction's id.
    #[oai(path = "/introductions/:id", method = "put")]
    async fn revise(
        &self,
        request: &Request,
        /// Its id
        id: Path<String>,
        Body(introduction): Body<introductions::Introduction>,
    ) -> Result<Revised, Failure<Changing>> {
        let call = Call::of(request, format!("PUT /introductions/{}", id.0))?;
        let expected = if_match(request)?;
        let recorded = self.execute(call, &id.0, &Command::Revise(expected, introduction)).await?;
        let introduced: Introduced = data(&recorded)?;
        let etag = etag(introduced.version);
        Ok(Revised::Done(Json(introduced), recorded.receipt.to_string(), etag))
    }

    /// Withdraw an introduction
    ///
    /// An `Idempotency-Key` is remembered beside the introduction's id.
    #[oai(path = "/introductions/:id", method = "delete")]
    async fn withdraw(
        &self,
        request: &Request,
        /// Its id
        id: Path<String>,
    ) -> Result<Withdrawn, Failure<Ending>> {
        let call = Call::of(request, format!("DELETE /introductions/{}", id.0))?;
        let expected = if_match(request)?;
        let recorded = self.execute(call, &id.0, &Command::Withdraw(expected)).await?;
        Ok(Withdrawn::Done(recorded.receipt.to_string()))
    }
}

impl Introductions {
    async fn execute(&self, call: Call, id: &str, command: &Command) -> Result<Recorded, Problem> {
        let stream = introductions::stream(id);
        let request = call.request(id.to_owned(), command, vec![stream.clone()]);
        let decide = |streams: &Streams| decide(id, streams, &stream, command);
        let outcome = self.0.commands.execute(&request, decide).await;
        Ok(outcome.map_err(|error| match (error, command) {
            // Who sent If-Match is told that it did not hold, whatever the version was in the end.
            (error @ CommandError::Contended, Command::Revise(..) | Command::Withdraw(..)) => {
                CommandError::Rejected(Rejection::Stale(error.to_string()))
            }
            (error, _) => error,
        })?)
    }

    /// An introduction that is not withdrawn, and how far the view had come.
    async fn present(&self, id: &str, reached: &Reached) -> Result<Option<(Introduced, String)>, QueryError> {
        let by = [("key".to_owned(), id.to_owned())].into();
        let one = page(Query { by, ..Query::default() }, None, Some(1));
        let found = self.0.page("introductions", &one, reached).await?;
        let position = found.position.to_string();
        let row = found.data.into_iter().next();
        row.map(|row| Ok((introduced(row)?, position))).transpose()
    }

    async fn happened(
        &self,
        id: &str,
        cursor: Option<String>,
        limit: u32,
        reached: &Reached,
    ) -> Result<query::Page, QueryError> {
        let by = [("id".to_owned(), id.to_owned())].into();
        let query = Query { by, oldest_first: true, ..Query::default() };
        self.0.page("introduction_history", &page(query, cursor, Some(limit)), reached).await
    }
}

fn decide(id: &str, streams: &Streams, stream: &str, command: &Command) -> Result<Decision, Rejection> {
    let entry = streams.get(stream);
    let state: Option<State> = entry
        .and_then(|entry| entry.state.as_deref())
        .map(|state| serde_json::from_str(state).expect("the projector wrote what the domain made"));
    introductions::decide(id, entry.map_or(0, |entry| entry.at), state.as_ref(), command)
}

fn introduced(mut row: Value) -> Result<Introduced, QueryError> {
    Ok(serde_json::from_value(row["data"].take()).context("an entry of the view introductions")?)
}
