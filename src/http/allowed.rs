//! Which methods a path takes: said with every 405, as HTTP demands.
//!
//! What the document does not name are files, which can be read.

use super::templates::Templates;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, Middleware, Request, Response};
use serde_json::Value;
use std::sync::Arc;

/// The methods of a file.
const FILES: HeaderValue = HeaderValue::from_static("GET");

/// The paths of an API with their methods, and the middleware that tells them.
#[derive(Debug, Clone)]
pub struct Allowed(Arc<Templates<HeaderValue>>);

impl Allowed {
    /// The paths of an OpenAPI document.
    ///
    /// # Panics
    /// Where it is none.
    pub fn by(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).expect("the document is JSON");
        Self(Arc::new(Templates::of(&document, methods)))
    }

    fn at(&self, path: &str) -> HeaderValue {
        let found = self.0.find(path).map(|found| found.known.clone());
        found.unwrap_or(FILES)
    }
}

fn methods(item: &Value) -> HeaderValue {
    let operations = item.as_object().into_iter().flatten();
    let methods: Vec<String> = operations.map(|(method, _)| method.to_uppercase()).collect();
    methods.join(", ").try_into().expect("methods are ASCII")
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Allowed {
    type Output = Telling<E>;

    fn transform(&self, endpoint: E) -> Telling<E> {
        Telling { allowed: self.clone(), endpoint }
    }
}

/// Answers as its endpoint does, with the methods where one was not allowed.
pub struct Telling<E> {
    allowed: Allowed,
    endpoint: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for Telling<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path().to_owned();
        let mut response = self.endpoint.call(request).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, self.allowed.at(&path));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_a_path_are_told() {
        let document = r#"{"paths": {"/a": {"get": {}, "post": {}}, "/a/{id}": {"put": {}}}}"#;
        let allowed = Allowed::by(document);
        for (path, methods) in [("/a", "GET, POST"), ("/a/7", "PUT"), ("/", "GET")] {
            assert_eq!(allowed.at(path), methods);
        }
    }
}
