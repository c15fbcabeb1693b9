//! Which methods a path takes: said with every 405, as HTTP demands.

use super::templates::Templates;
use poem::http::{HeaderValue, header};
use poem::{Endpoint, Middleware, Request, Response};
use serde_json::Value;
use std::sync::Arc;

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

    fn at(&self, path: &str) -> Option<&HeaderValue> {
        self.0.find(path).map(|found| found.known)
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
        if response.status() == poem::http::StatusCode::METHOD_NOT_ALLOWED
            && let Some(methods) = self.allowed.at(&path)
        {
            response.headers_mut().insert(header::ALLOW, methods.clone());
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
        let at = |path| allowed.at(path).map(|methods| methods.to_str().unwrap());
        assert_eq!((at("/a"), at("/a/7"), at("/b")), (Some("GET, POST"), Some("PUT"), None));
    }
}
