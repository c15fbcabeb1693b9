//! Holds requests to the parameters that the OpenAPI document names, and says in its words what is wrong with one.
//!
//! Other names are refused, for they are slips: `?limt=1` would be a page that nobody asked for. So is what is no
//! UTF-8, which would select by a text that nobody wrote, and a header that is no text: the library takes it as absent.

use super::Tag;
use super::headers::{PREFER, RECEIPT};
use super::problem::Problem;
use super::templates::{Found, Templates};
use percent_encoding::percent_decode_str;
use poem::http::{HeaderMap, Method};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response};
use poem_openapi::Tags;
use poem_openapi::error::{ParseParamError, ParsePathError};
use refold_domain::nearest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How an operation's path parameter is called by the library, before its number.
const IN_PATH: &str = "param";

/// The headers that may be given as often as one likes (RFC 9110, 5.3).
const LISTS: [&str; 2] = [PREFER, RECEIPT];

/// The parameters of all operations, and the middleware that holds requests to them.
#[derive(Debug, Clone)]
pub struct Parameters(Arc<Templates<Vec<(Method, Operation)>>>);

/// An operation's parameters.
#[derive(Debug, Clone)]
struct Operation {
    parameters: Vec<Parameter>,
    /// Whether more names may come: those of a view's fields, which no document knows.
    is_open: bool,
}

#[derive(Debug, Clone)]
struct Parameter {
    name: String,
    place: String,
    /// What it must be, in words.
    expected: String,
}

impl Parameters {
    /// The parameters in an OpenAPI document.
    ///
    /// # Panics
    /// Where it is none.
    pub fn by(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).expect("the document is JSON");
        Self(Arc::new(Templates::of(&document, operations)))
    }
}

/// The operations of a path, without those for probes and scrapers, which may send what they like.
fn operations(item: &Value) -> Vec<(Method, Operation)> {
    let all = item.as_object().into_iter().flatten();
    let asked = all.filter(|(_, operation)| operation["tags"][0] != Tag::Operations.name());
    let method = |name: &str| name.to_uppercase().parse().expect("a document's methods are methods");
    asked.map(|(name, operation)| (method(name), Operation::new(operation))).collect()
}

impl Operation {
    fn new(operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let (open, named): (Vec<_>, Vec<_>) =
            parameters.partition(|parameter| parameter["schema"]["type"] == "object");
        Self { parameters: named.into_iter().map(Parameter::new).collect(), is_open: !open.is_empty() }
    }

    fn at(&self, place: &'static str) -> impl Iterator<Item = &Parameter> + Clone {
        self.parameters.iter().filter(move |parameter| parameter.place == place)
    }

    /// Refuses a query string with other names, with a name twice, or with what is no text.
    fn check_query(&self, query: &str) -> Result<(), Problem> {
        let mut seen = BTreeSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let pair = pair.replace('+', " ");
            let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
            let name = text(&percent_decode_str(name).decode_utf8_lossy(), name)?;
            let names = self.at("query").map(|parameter| parameter.name.as_str());
            if !self.is_open && !names.clone().any(|known| known == name) {
                return Err(Problem::parameter(&name, nearest::unknown("parameter", &name, names)));
            }
            text(&name, value)?;
            if !seen.insert(name.clone()) {
                return Err(Problem::parameter(&name, "must be given once"));
            }
        }
        Ok(())
    }

    /// Refuses a header that is no text, or that is there twice and is no list.
    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let known = self.at("header").map(|header| header.name.as_str());
        for name in known.chain([PREFER]) {
            let values = headers.get_all(name);
            if values.iter().any(|value| value.to_str().is_err()) {
                return Err(Problem::parameter(name, "must be printable ASCII"));
            }
            if !LISTS.contains(&name) && values.iter().nth(1).is_some() {
                return Err(Problem::parameter(name, "must be given once"));
            }
        }
        Ok(())
    }

    /// What the library found wrong with a parameter, in words for people; other errors as they are.
    fn in_words(&self, error: poem::Error) -> poem::Error {
        let wrong = if let Some(error) = error.downcast_ref::<ParseParamError>() {
            self.parameters.iter().find(|parameter| parameter.name == error.name)
        } else if let Some(error) = error.downcast_ref::<ParsePathError>() {
            let number = error.name.strip_prefix(IN_PATH).and_then(|number| number.parse().ok());
            number.and_then(|number| self.at("path").nth(number))
        } else {
            None
        };
        wrong.map_or(error, |parameter| Problem::parameter(&parameter.name, &parameter.expected).into())
    }
}

impl Parameter {
    fn new(parameter: &Value) -> Self {
        let text = |field: &str| parameter[field].as_str().unwrap_or_default().to_owned();
        Self { name: text("name"), place: text("in"), expected: expected(&parameter["schema"]) }
    }
}

/// What a schema asks for.
fn expected(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64().unwrap_or_default();
    match (schema["description"].as_str(), schema["type"].as_str(), schema["format"].as_str()) {
        (Some(words), ..) => format!("must be {words}"),
        (_, Some("integer"), _) => {
            format!("must be a whole number from {} to {}", bound("minimum"), bound("maximum"))
        }
        (.., Some("uuid")) => "must be a UUID such as 91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0001".into(),
        _ => "cannot be read".into(),
    }
}

/// A part of an address, decoded.
fn text(name: &str, encoded: &str) -> Result<String, Problem> {
    let text = percent_decode_str(encoded).decode_utf8();
    let refused = |_| Problem::parameter(name, "must be percent-encoded UTF-8");
    text.map(|text| text.into_owned()).map_err(refused)
}

impl<E: Endpoint> Middleware<E> for Parameters {
    type Output = Held<E>;

    fn transform(&self, endpoint: E) -> Held<E> {
        Held { parameters: self.clone(), endpoint }
    }
}

/// An endpoint whose requests are held to their parameters.
pub struct Held<E> {
    parameters: Parameters,
    endpoint: E,
}

impl<E: Endpoint> Endpoint for Held<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let uri = request.uri().clone();
        let Some(Found { known, parameters }) = self.parameters.0.find(uri.path()) else {
            return Ok(self.endpoint.call(request).await?.into_response());
        };
        for (name, value) in parameters {
            text(name, value)?;
        }
        let Some((_, operation)) = known.iter().find(|(method, _)| method == request.method()) else {
            return Ok(self.endpoint.call(request).await?.into_response());
        };
        operation.check_query(uri.query().unwrap_or_default())?;
        operation.check_headers(request.headers())?;
        let response = self.endpoint.call(request).await;
        Ok(response.map_err(|error| operation.in_words(error))?.into_response())
    }
}
