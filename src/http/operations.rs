//! How the service is doing: for load balancers, operators and Prometheus.

use super::Tag;
use crate::health::Dependency;
use crate::service::Service;
use crate::telemetry;
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use std::sync::Arc;

/// The routes for whoever runs the service.
pub struct Operations(pub Arc<Service>);

/// Whether the service can do its work.
#[derive(Debug, Object)]
pub(super) struct Readiness {
    /// Whether everything is up
    ready: bool,
    /// What it depends on
    dependencies: Vec<State>,
}

/// How something that the service depends on is doing.
#[derive(Debug, Object)]
struct State {
    /// What it is
    name: String,
    /// Whether it is up
    up: bool,
    /// Since when
    since: String,
    /// What is wrong and what to do, if anything is
    #[oai(skip_serializing_if_is_none)]
    problem: Option<String>,
}

#[derive(ApiResponse)]
pub(super) enum Ready {
    /// Everything is up
    #[oai(status = 200)]
    Yes(Json<Readiness>),
    /// Something is down
    #[oai(status = 503)]
    No(Json<Readiness>),
}

#[derive(ApiResponse)]
enum Alive {
    /// It is: `"ok"`
    #[oai(status = 200)]
    Yes(Json<String>),
}

#[derive(ApiResponse)]
enum Metrics {
    /// Figures in the text format of Prometheus
    #[oai(status = 200)]
    Figures(PlainText<String>),
}

#[OpenApi(tag = "Tag::Operations")]
impl Operations {
    /// Is the process alive?
    #[oai(path = "/healthz", method = "get")]
    async fn health(&self) -> Alive {
        Alive::Yes(Json("ok".to_owned()))
    }

    /// Can it do its work?
    #[oai(path = "/readyz", method = "get")]
    async fn readiness(&self) -> Ready {
        let dependencies = self.0.health.dependencies(&self.0).await;
        Readiness::of(dependencies)
    }

    /// Figures for Prometheus
    #[oai(path = "/metrics", method = "get")]
    async fn metrics(&self) -> Metrics {
        Metrics::Figures(PlainText(telemetry::metrics(&self.0).await))
    }
}

impl Readiness {
    /// That of a service that depends on these.
    pub(super) fn of(dependencies: Vec<Dependency>) -> Ready {
        let ready = dependencies.iter().all(|dependency| dependency.up);
        let readiness = Self { ready, dependencies: dependencies.into_iter().map(State::from).collect() };
        if ready { Ready::Yes(Json(readiness)) } else { Ready::No(Json(readiness)) }
    }
}

/// That it is alive.
pub(super) fn alive() -> Response {
    Alive::Yes(Json("ok".to_owned())).into_response()
}

impl From<Dependency> for State {
    fn from(Dependency { name, up, since, problem }: Dependency) -> Self {
        Self { name, up, since: since.to_string(), problem }
    }
}
