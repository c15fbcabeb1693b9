//! The ceiling: typed endpoints that do nothing, on the listener and runtime that the service uses, to measure it against.
//!
//! `cargo bench --bench ceiling -- 127.0.0.1:8089` serves until it is killed. `script/bench` does that.

use poem::Route;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi, OpenApiService};
use refold::http::connections::{Limits, serve};
use std::time::Duration;
use tokio::net::TcpListener;

/// More than any load generator opens.
const CONNECTIONS_MAX: usize = 10_000;
/// Longer than any measurement.
const PATIENCE: Duration = Duration::from_secs(600);

struct Nothing;

#[derive(Object)]
struct Food {
    #[oai(validator(min_length = 1, max_length = 200))]
    food: String,
}

#[derive(Object)]
struct Made {
    id: String,
    food: String,
}

#[derive(ApiResponse)]
enum Answer {
    #[oai(status = 201)]
    Created(Json<Made>),
}

#[OpenApi]
impl Nothing {
    #[oai(path = "/foods", method = "post")]
    async fn post(&self, food: Json<Food>) -> Answer {
        Answer::Created(Json(Made { id: String::new(), food: food.0.food }))
    }

    #[oai(path = "/nothing", method = "get")]
    async fn get(&self, limit: Query<Option<u32>>) -> Json<u32> {
        Json(limit.0.unwrap_or_default())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo adds arguments of its own.
    let listen = std::env::args().find(|argument| argument.contains(':'));
    let listen = listen.unwrap_or_else(|| "127.0.0.1:8089".to_owned());
    let listener = TcpListener::bind(&listen).await?;
    let routes = Route::new().nest("/", OpenApiService::new(Nothing, "ceiling", "0"));
    let limits =
        Limits { connections_max: CONNECTIONS_MAX, head: PATIENCE, answer: PATIENCE, stop: PATIENCE };
    serve(listener, routes, limits, std::future::pending()).await
}
