//! Many commands in one body, a line each (`application/x-ndjson`): all of them are found good before any is recorded.

use super::body::{self, Body, Parse};
use super::problem::{BadField, Problem};
use crate::settings;
use poem::{Request, RequestBody};
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, Union};
use refold_domain::lines::Lines;
use refold_domain::validation::json::Unreadable;
use refold_domain::validation::{FieldError, json};
use serde::Serialize;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The content type.
pub const CONTENT_TYPE: &str = "application/x-ndjson";
/// How many lines a body may have that are not blank.
pub const LINES_MAX: usize = 1_000_000;
/// How many errors are told at most.
const ERRORS_MAX: usize = 100;
/// How many lines that are decided one by one are under way at the same time, of all bodies together: whatever is sent
/// alone waits behind no more than these.
pub const LINES_AT_ONCE: usize = 2_048;

/// How many bodies of many lines are read and executed at the same time.
#[derive(Debug, Clone)]
pub struct Places {
    bodies: Arc<Semaphore>,
    lines: Arc<Semaphore>,
}

/// A command as JSON, or many of them, a line each.
#[derive(Debug)]
pub enum Sent<T> {
    /// One.
    One(T),
    /// Many.
    Many(Many<T>),
}

/// Many commands.
#[derive(Debug)]
pub struct Many<T> {
    /// Each as a line.
    pub lines: Arc<Lines>,
    /// Who takes one may decide a line.
    pub turns: Arc<Semaphore>,
    /// Given back when all are executed.
    _place: OwnedSemaphorePermit,
    kind: PhantomData<fn() -> T>,
}

/// What a request to record facts is answered with.
#[derive(Debug, Union)]
#[oai(one_of = true)]
pub enum Created<T: ParseFromJSON + ToJSON> {
    /// One.
    One(T),
    /// Many.
    Many(Accepted),
}

/// Facts that were recorded, each from a line.
#[derive(Debug, Object)]
pub struct Accepted {
    /// How many lines were recorded: all of them
    pub accepted: usize,
    /// The receipt of the last one in each partition, as in `Refold-Receipt`
    pub receipts: Vec<String>,
}

impl Places {
    /// So many.
    pub fn new(requests_max: usize) -> Self {
        let lines = Arc::new(Semaphore::new(LINES_AT_ONCE));
        Self { bodies: Arc::new(Semaphore::new(requests_max)), lines }
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| {
            let title = "Too many requests at the same time";
            let detail = "too many bodies of many lines are being read; nothing of this one was recorded; try again soon";
            Problem::unavailable("overloaded", title, detail)
        };
        Arc::clone(&self.bodies).try_acquire_owned().map_err(full)
    }
}

impl<T: Parse + Serialize + 'static> Many<T> {
    async fn read(request: &Request, body: &mut RequestBody) -> Result<Self, Problem> {
        let limits: &Arc<settings::Http> = request.data().expect("every route is given its limits");
        let places: &Places = request.data().expect("every route is given its places");
        let place = places.take()?;
        let bytes = body::read(request, body, limits.ndjson_bytes_max).await?;
        let line_bytes_max = limits.body_bytes_max;
        // Parsing takes as long as it takes: others are served meanwhile.
        let parsed = tokio::task::spawn_blocking(move || parse::<T>(&bytes, line_bytes_max)).await;
        let lines =
            parsed.map_err(|error| Problem::internal(format!("reading the lines failed: {error}")))??;
        let turns = Arc::clone(&places.lines);
        Ok(Self { lines: Arc::new(lines), turns, _place: place, kind: PhantomData })
    }
}

#[cfg(test)]
impl<T> Many<T> {
    /// These lines, in a place of their own.
    pub(super) fn of(lines: Lines, turns: Arc<Semaphore>) -> Self {
        let place = Places::new(1).take().expect("it is the only one");
        Self { lines: Arc::new(lines), turns, _place: place, kind: PhantomData }
    }
}

fn parse<T: Parse + Serialize>(body: &[u8], line_bytes_max: usize) -> Result<Lines, Problem> {
    let mut lines = Lines::default();
    let mut errors = Vec::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if is_blank(line) {
            continue;
        }
        if lines.len() == LINES_MAX {
            let detail = format!("the body has more than {LINES_MAX} lines; nothing was recorded");
            return Err(Problem::too_large(detail));
        }
        match read_line::<T>(line, line_bytes_max) {
            Ok(command) => lines.push(number, &command),
            Err(bad) => errors.extend(bad.into_iter().map(|error| BadField::on_line(number, error))),
        }
        if errors.len() > ERRORS_MAX {
            break;
        }
    }
    if errors.is_empty() && lines.is_empty() {
        return Err(Problem::validation(vec![whole("must have at least one line")]));
    }
    if errors.is_empty() { Ok(lines) } else { Err(Problem::lines(errors, ERRORS_MAX)) }
}

/// Whether there is nothing in a line but what JSON skips.
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

fn read_line<T: Parse>(line: &[u8], bytes_max: usize) -> Result<T, Vec<FieldError>> {
    if line.len() > bytes_max {
        return Err(vec![whole(format!("has more than {bytes_max} bytes"))]);
    }
    let unreadable = |error| match error {
        Unreadable::Syntax(error) => vec![whole(no_json(&error))],
        Unreadable::Repeated(errors) => errors,
    };
    T::parse(&json::read(line).map_err(unreadable)?)
}

fn whole(reason: impl Into<String>) -> FieldError {
    FieldError { field: String::new(), reason: reason.into() }
}

/// What is wrong, without the number of a line: to the parser, each line is the first.
fn no_json(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let what = told.split(" at line ").next().unwrap_or_default();
    format!("is no JSON: {what} at column {}", error.column())
}

/// Whether a content type is that of lines.
fn is_ndjson(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(CONTENT_TYPE)
}

impl<'a, T: Parse + Serialize + 'static> ApiExtractor<'a> for Sent<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Body<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let one = MetaMediaType { content_type: Body::<T>::CONTENT_TYPE, schema: T::Schema::schema_ref() };
        let many = MetaMediaType { content_type: CONTENT_TYPE, schema: lines_of::<T>() };
        Some(MetaRequest { description: None, content: vec![one, many], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        match request.content_type() {
            Some(content_type) if Body::<T>::check_content_type(content_type) => {
                let Body(one) = <Body<T> as ParsePayload>::from_request(request, body).await?;
                Ok(Self::One(one))
            }
            Some(content_type) if is_ndjson(content_type) => Ok(Self::Many(Many::read(request, body).await?)),
            _ => {
                let taken = format!("{} or {CONTENT_TYPE}", Body::<T>::CONTENT_TYPE);
                Err(Problem::content_type(&taken).into())
            }
        }
    }
}

/// OpenAPI has no word for lines: an array of what stands on each is the closest.
fn lines_of<T: Parse>() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        description: Some("Each item is a line of its own, as it would be sent alone; at most 1,000,000"),
        items: Some(Box::new(T::Schema::schema_ref())),
        min_items: Some(1),
        ..MetaSchema::new("array")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use refold_domain::foods::Food;

    fn read(body: &[u8]) -> Result<Vec<(u32, String)>, Problem> {
        let lines = parse::<Food>(body, 1_000)?;
        let line = |line| (lines.number(line), String::from_utf8(lines.get(line).to_vec()).unwrap());
        Ok((0..lines.len()).map(line).collect())
    }

    #[test]
    fn lines_end_as_people_end_them() {
        let pie = |number| (number, r#"{"food":"pie"}"#.to_owned());
        let body = b"\r\n{\"food\": \"pie\"}\r\n\n \t\n  {\"food\":\"pie\"}  \n{\"food\":\"p\\u0069e\"}";
        assert_eq!(read(body), Ok(vec![pie(2), pie(5), pie(6)]));
    }

    #[test]
    fn content_types_are_compared_without_their_parameters() {
        for yes in ["application/x-ndjson", "Application/X-NDJSON ; charset=utf-8"] {
            assert!(is_ndjson(yes), "{yes}");
        }
        for no in ["application/json", "application/x-ndjsonx", "", "text/plain"] {
            assert!(!is_ndjson(no), "{no}");
        }
    }
}
