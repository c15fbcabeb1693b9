//! Which methods a path takes: said with every 405, as HTTP demands.

use poem::http::{HeaderValue, header};
use poem::{Endpoint, Middleware, Request, Response};
use serde_json::Value;
use std::sync::Arc;

/// The paths of an API with their methods, and the middleware that tells them.
#[derive(Debug, Clone)]
pub struct Allowed(Arc<[Path]>);

#[derive(Debug)]
struct Path {
    /// Without slashes; a parameter is `None`.
    segments: Vec<Option<String>>,
    methods: HeaderValue,
}

impl Allowed {
    /// The paths of an OpenAPI document.
    ///
    /// # Panics
    /// Where it is none.
    pub fn by(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).expect("the document is JSON");
        let paths = document["paths"].as_object().expect("a document has paths");
        Self(paths.iter().map(|(template, item)| Path::new(template, item)).collect())
    }

    fn at(&self, path: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|known| known.matches(path)).map(|known| &known.methods)
    }
}

impl Path {
    fn new(template: &str, item: &Value) -> Self {
        let literal = |segment: &str| (!segment.starts_with('{')).then(|| segment.to_owned());
        let operations = item.as_object().into_iter().flatten();
        let methods: Vec<String> = operations.map(|(method, _)| method.to_uppercase()).collect();
        Self {
            segments: segments(template).map(literal).collect(),
            methods: methods.join(", ").try_into().expect("methods are ASCII"),
        }
    }

    fn matches(&self, path: &str) -> bool {
        let mut known = self.segments.iter();
        let fits =
            |segment: &str| known.next().is_some_and(|it| it.as_deref().is_none_or(|it| it == segment));
        segments(path).all(fits) && known.next().is_none()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_matches('/').split('/')
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
    fn a_path_is_found_with_and_without_a_slash() {
        let document =
            r#"{"paths": {"/a": {"get": {}, "post": {}}, "/a/{id}": {"put": {}}, "/a/{id}/b": {"get": {}}}}"#;
        let allowed = Allowed::by(document);
        let at = |path| allowed.at(path).map(|methods| methods.to_str().unwrap());
        assert_eq!((at("/a"), at("/a/"), at("/a/7")), (Some("GET, POST"), Some("GET, POST"), Some("PUT")));
        assert_eq!((at("/a/7/b"), at("/a/7/c"), at("/b"), at("/")), (Some("GET"), None, None, None));
    }
}
