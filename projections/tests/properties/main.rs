//! Properties of gate, views, stores and projector, over random logs and against naive models.
//!
//! Each test states one promise. `PROPTEST_CASES` raises the number of cases of all of them.
#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod breaking;
mod catalogue;
#[path = "../../../adapters/tests/kafka/certificates.rs"]
mod certificates;
mod driver;
mod gate;
mod log;
mod logs;
mod model;
mod naive;
mod naive_numbers;
mod numbers;
mod peers;
mod projector;
mod redis;
mod redis_alone;
mod redis_cluster;
mod redis_tls;
#[path = "../../../adapters/tests/servers/mod.rs"]
#[expect(dead_code, reason = "some of it is for tests of other servers")]
mod servers;
mod stores;
mod views;

use proptest::prelude::ProptestConfig;

/// So many cases that the suite stays quick, or as many as `PROPTEST_CASES` says.
fn cases(quick: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(quick), failure_persistence: None, ..ProptestConfig::default() }
}

/// Runs a future on the present thread, where the rules are switched.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
