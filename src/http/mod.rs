//! The HTTP surface: one file a system, and what they share.
//!
//! A request comes in through one of the [`connections`], which give it an id ([`request_id`]), is let in by its [`authorization`], held to its [`parameters`], read by [`body`] or
//! [`ndjson`] and [`headers`], handled by its system, and answered with an object, a stream from [`streams`] or a [`problem`]. [`reading`] is what all
//! queries do first and last, [`follow`] what all streams of events do. [`secure`] and [`cors`] are for browsers, [`audit`] tells operators who came in.
//! For people there are the [`page`] and the [`docs`].

pub mod admission;
pub mod alerts;
pub mod allowed;
pub mod answers;
pub mod audit;
pub mod authorization;
pub mod body;
pub mod browser;
pub mod connections;
pub mod cors;
pub mod detections;
pub mod docs;
pub mod document;
pub mod door;
pub mod each;
pub mod events;
pub mod failure;
pub mod follow;
pub mod foods;
pub mod form;
pub mod frequent;
pub mod headers;
pub mod introductions;
pub mod link;
pub mod live;
pub mod login;
pub mod measure;
pub mod misplaced;
pub mod ndjson;
pub mod needs;
pub mod operations;
pub mod page;
pub mod parameters;
pub mod patience;
pub mod patterns;
pub mod pictures;
pub mod places;
pub mod problem;
pub mod purchases;
pub mod reading;
pub mod recording;
pub mod request_id;
pub mod secure;
pub mod seldom;
pub mod streams;
pub mod templates;
pub mod typed;
pub mod users;
pub mod views;

use crate::access::table::{Route, Table};
use crate::service::Service;
use crate::settings::Settings;
use poem::middleware::{NormalizePath, TrailingSlash};
use poem::{Endpoint, EndpointExt};
use poem_openapi::registry::MetaPath;
use poem_openapi::{OpenApi, OpenApiService, Tags};
use std::sync::Arc;

/// The parts of the OpenAPI document.
#[derive(Debug, Tags)]
pub enum Tag {
    /// Somebody introduces themselves, may revise what they said, and may withdraw it.
    Introductions,
    /// Somebody ate something.
    Foods,
    /// Ice cream was bought.
    Purchases,
    /// Vehicles were detected.
    Detections,
    /// Pictures were weighed and registered.
    Pictures,
    /// Who may ask for what.
    Users,
    /// Every projection's view, whoever defined it.
    Views,
    /// What happened, in pages and live.
    Events,
    /// How the service is doing.
    Operations,
}

/// What the OpenAPI document says before everything else.
const DESCRIPTION: &str = "\
Commands in, one log, read models out.

- Every POST, PUT and DELETE answers with a `Refold-Receipt`; a query that brings it back sees what was written.
- With an `Idempotency-Key` a command may be repeated: it counts once, and the answer is that of the first time.
- Every error is `application/problem+json`: `type` is stable, `detail` says what was wrong and what to do, `errors` names each \
bad field or parameter.
- Facts and purchases are taken many at a time, too: `application/x-ndjson`, a line each, all of them found good before any is \
recorded.
- What happens can be followed: `/events/live`, `/alerts` and `/views/{name}/live` are streams (SSE), which resume by \
`Last-Event-ID`.
- Every answer has an `X-Request-Id`, the request's own where it brings one; the lines of the service's log have it, too.
- A long list comes in pages: `next`, or a `Link` with `rel=\"next\"`, says where to go on.";

/// All systems with a route.
type Apis = (
    foods::Foods,
    purchases::Purchases,
    introductions::Introductions,
    detections::Detections,
    alerts::Alerts,
    pictures::Pictures,
    users::Users,
    login::Login,
    views::Views,
    live::Live,
    events::Events,
    operations::Operations,
);

/// All routes of the OpenAPI document, in its order.
pub fn known_routes() -> Vec<Route> {
    let paths = Apis::meta().into_iter().flat_map(|api| api.paths);
    let routes = paths.flat_map(|MetaPath { path, operations }| {
        operations.into_iter().map(move |operation| Route { method: operation.method, path: path.clone() })
    });
    routes.collect()
}

/// Everything that is served, to those whom `table` lets in.
pub fn routes(service: &Arc<Service>, table: &Arc<Table>, settings: &Settings) -> impl Endpoint + use<> {
    let (limits, role) = (&settings.http, settings.role);
    let streams = streams::Streams::new(limits);
    let apis: Apis = (
        foods::Foods(Arc::clone(service)),
        purchases::Purchases(Arc::clone(service)),
        introductions::Introductions(Arc::clone(service)),
        detections::Detections(Arc::clone(service)),
        alerts::Alerts::new(service, streams.clone()),
        pictures::Pictures(Arc::clone(service)),
        users::Users(Arc::clone(service)),
        login::Login::new(service),
        views::Views(Arc::clone(service)),
        live::Live::new(service, streams.clone()),
        events::Events(Arc::clone(service), streams),
        operations::Operations(Arc::clone(service)),
    );
    let api = OpenApiService::new(apis, "Refold", env!("CARGO_PKG_VERSION")).description(DESCRIPTION);
    let document = needs::complete(&document::complete(&api.spec()), table);
    let allowed = allowed::Allowed::by(&document);
    let parameters = parameters::Parameters::by(&document);
    let docs = docs::page(api.swagger_ui_html().replace(&api.spec(), &document));
    page::routes(api)
        .at("/openapi.json", document::endpoint(document))
        .at("/docs", poem::get(docs))
        .with(parameters)
        .with(answers::Answers::new(&service.progress))
        // In front of the answers that are kept, and behind what makes one path of all that mean the same.
        .with(authorization::Authorization::new(table, service))
        .with(NormalizePath::new(TrailingSlash::Trim))
        .with(admission::Admission::new(limits.requests_max))
        .data(ndjson::Places::new(limits.ndjson_requests_max))
        .data(Arc::new(limits.clone()))
        .data(Arc::clone(table))
        .before(move |request| async move {
            headers::check_host(&request)?;
            misplaced::refuse(role, &request)?;
            Ok(request)
        })
        .catch_all_error(|error| async { problem::of_error(error) })
        .with(allowed)
        .with(cors::Cors::new(&settings.cors))
        .with(measure::Measure)
        .with(secure::Secure)
}
