//! What is answered while the service waits for its broker: that it waits, and for what. Once it is open, all goes through.

use super::operations::{self, Readiness};
use super::problem::Problem;
use crate::health::Dependency;
use crate::telemetry;
use jiff::Timestamp;
use poem::endpoint::BoxEndpoint;
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Result};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// An endpoint that has others behind it as soon as they are there.
#[derive(Clone, Default)]
pub struct Door(Arc<Inner>);

#[derive(Default)]
struct Inner {
    routes: OnceLock<BoxEndpoint<'static>>,
    waiting: Mutex<Option<Dependency>>,
}

impl Door {
    /// Lets everything through to these routes.
    pub fn open(&self, routes: impl Endpoint + 'static) {
        if self.0.routes.set(routes.map_to_response().boxed()).is_err() {
            tracing::error!("the service was opened twice: the first one serves");
        }
    }

    /// Notes what is waited for, and says it in the log where it is news.
    pub fn wait(&self, name: &str, problem: String) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.as_ref().is_some_and(|known| known.problem.as_ref() == Some(&problem)) {
            return;
        }
        tracing::warn!("waiting for the {name}: {problem}");
        let since = waiting.as_ref().map_or_else(Timestamp::now, |known| known.since);
        *waiting = Some(Dependency { name: name.to_owned(), up: false, since, problem: Some(problem) });
    }

    fn waiting(&self) -> Dependency {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waiting.unwrap_or_else(|| Dependency {
            name: "service".to_owned(),
            up: false,
            since: Timestamp::now(),
            problem: Some("it has just begun".to_owned()),
        })
    }

    fn wait_told(&self, path: &str) -> Response {
        match path {
            "/healthz" => operations::alive(),
            "/readyz" => Readiness::of(vec![self.waiting()]).into_response(),
            "/metrics" => telemetry::rendered().into_response(),
            _ => {
                let detail = self.waiting().problem.unwrap_or_default();
                Problem::unavailable("starting", "The service waits for what it depends on", detail)
                    .into_response()
            }
        }
    }
}

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        match self.0.routes.get() {
            Some(routes) => routes.call(request).await,
            None => Ok(self.wait_told(request.uri().path().trim_end_matches('/'))),
        }
    }
}
