//! The read models on Redis: the service waits for it, outlives it, and comes back to the same answers whatever becomes of it.

use crate::foods::{aggregated, newest, observe, send_all};
use crate::kills::{
    JOBS, Journal, every_repeat_is_answered_the_same, everything_is_exact, finished, jobs, number, run,
};
use crate::server::{Server, in_time};
use crate::servers::Server as Redis;
use crate::servers::redis::{ask, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, interval_at};

/// Its settings file.
pub(crate) fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/redis.toml")
}

/// What points a service at the server at this address: a key and its value.
pub(crate) fn setting(redis: SocketAddr) -> (&'static str, String) {
    ("REDIS__SERVERS", redis.to_string())
}

/// A service that has its log in a file, and its read models on this server.
fn service(redis: &Redis) -> Server {
    let (key, value) = setting(redis.address());
    let mut service = Server::new().with(key, &value);
    service.set_variable("REFOLD_CONFIG", config().to_str().unwrap());
    service
}

/// A server that answers already.
async fn started() -> Redis {
    let redis = Redis::start("redis", 1, "");
    until(&redis, "PING", "PONG").await;
    redis
}

/// Eats so many pies and waits until they are seen.
async fn eat(service: &Server, count: usize) {
    let client = service.client();
    let answers = send_all(&vec![observe(&client, "pie"); count]).await;
    aggregated(&client, &newest(&answers)).await;
}

/// Waits until `/readyz` says this of something that is not as it should be.
pub(crate) async fn until_problem(service: &Server, text: &str) -> Value {
    let client = service.client();
    let told = async {
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            let ready = client.get("/readyz").send().await.json();
            let all = ready["dependencies"].as_array().unwrap().iter();
            let mut problems = all.filter(|one| one["problem"].as_str().is_some_and(|it| it.contains(text)));
            if let Some(problem) = problems.next() {
                return problem.clone();
            }
        }
    };
    in_time(&format!("told {text:?}"), told).await
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let redis = Redis::prepared("redis", 1);
    let mut service = service(&redis);
    service.launch().await;
    let client = service.client();
    client.get("/healthz").send().await.is(200);
    let readiness = client.get("/readyz").send().await.is(503).json();
    let store = &readiness["dependencies"][0];
    assert_eq!((&readiness["ready"], &store["name"]), (&json!(false), &json!("store")), "{readiness}");
    assert!(store["problem"].as_str().unwrap().contains(&redis.address().to_string()), "{readiness}");
    observe(&client, "pie").send().await.problem(503, "starting");

    redis.start_again();
    service.until_ready().await;
    let receipt = observe(&client, "pie").send().await.is(201).receipt();
    assert_eq!(aggregated(&client, &receipt).await, json!([{"food": "pie", "count": 1}]));
    let waits = service.said().lines().filter(|line| line.contains("waiting for the store")).count();
    assert!((1..=3).contains(&waits), "a line for each change, not for each try: {}", service.said());
    service.stop().await;
    // What it was folded to is found again.
    service.up().await;
    assert!(!service.said().contains("folding from the start"), "{}", service.said());
    eat(&service, 1).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_under_load_loses_nothing_and_nothing_counts_twice() {
    let kills: usize = number("REFOLD_BROKER_KILLS", 3);
    let mut random = StdRng::seed_from_u64(number("REFOLD_SIM_SEED", 1));
    let redis = Redis::start("redis", 1, "");
    let mut service = service(&redis);
    service.up().await;
    let client = service.client();
    let jobs = jobs((kills + 2) * JOBS);
    let journal = Arc::new(Journal::new());
    let tickets = Arc::new(Semaphore::new(0));
    let load = tokio::spawn(run(client.clone(), jobs.clone(), Arc::clone(&journal), Arc::clone(&tickets)));
    for _ in 0..kills {
        tickets.add_permits(JOBS);
        journal.until(journal.len() + random.random_range(0..JOBS)).await;
        redis.kill();
        redis.start_again();
        service.until_ready().await;
    }
    tickets.add_permits(JOBS);
    journal.until(journal.len() + JOBS / 2).await;
    ask(&redis, "FLUSHALL").await;
    tickets.add_permits(JOBS);
    finished(load, &journal).await;
    // Before that partitions may have been folded anew that it empties once more.
    service.line("Redis has lost which definitions are in force").await;
    service.until_ready().await;
    everything_is_exact(&client, &jobs, &journal).await;
    let told = |text: &str| service.said().lines().filter(|line| line.contains(text)).count();
    assert!((1..=2 * kills).contains(&told("the store is away")), "{}", service.said());
    assert_eq!(told("the store is away"), told("the store is back"), "{}", service.said());
    assert_eq!(told("Redis has lost which definitions are in force"), 1, "{}", service.said());
    service.kill().await;
    service.up().await;
    everything_is_exact(&client, &jobs, &journal).await;
    every_repeat_is_answered_the_same(&journal).await;
    everything_is_exact(&client, &jobs, &journal).await;
}

#[tokio::test]
async fn an_idle_redis_that_is_emptied_or_killed_answers_with_nothing_or_with_everything() {
    let redis = Redis::start("redis", 1, "");
    let mut service = service(&redis);
    service.up().await;
    let client = service.client();
    eat(&service, 30).await;
    for round in 0..3 {
        if round == 1 {
            redis.kill();
            redis.start_again();
        } else {
            ask(&redis, "FLUSHALL").await;
        }
        let back = async {
            // As anybody asks, long before it has noticed and until it is folded anew.
            let mut answered = 0;
            while answered < 50 {
                let answer = client.get("/views/food_counts").send().await;
                if answer.status == 200 {
                    assert_eq!(answer.json()["data"], json!([{"food": "pie", "count": 30}]), "round {round}");
                    answered += 1;
                } else {
                    assert_eq!(answer.status, 503, "{}", answer.text);
                }
            }
        };
        in_time("answered", back).await;
        service.until_ready().await;
    }
    service.line_times("Redis has lost which definitions are in force", 2).await;
    service.stop().await;
}

#[tokio::test]
async fn a_full_redis_pauses_folding_and_goes_on_where_it_was() {
    let redis = Redis::start("redis", 1, "");
    let mut service = service(&redis);
    service.up().await;
    let client = service.client();
    eat(&service, 10).await;
    ask(&redis, "CONFIG SET maxmemory 1").await;
    let answers = send_all(&vec![observe(&client, "pie"); 200]).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "the log takes them");
    let problem = until_problem(&service, "it is full").await;
    assert!(problem["name"].as_str().unwrap().starts_with("partition "), "{problem}");
    let said = service.said();
    assert_eq!(said.lines().filter(|line| line.contains("it is full")).count(), 1, "{said}");
    let found = client.get("/views/food_counts").send().await.is(200).json();
    assert_eq!(found["data"], json!([{"food": "pie", "count": 10}]));

    ask(&redis, "CONFIG SET maxmemory 0").await;
    service.until_ready().await;
    let found = aggregated(&client, &newest(&answers)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 210}]));
    let said = service.line("goes on, after: ").await;
    assert!(said.contains("it is full"), "{said}");
}

#[tokio::test]
async fn a_redis_that_begins_to_throw_keys_away_is_told_until_it_stops() {
    let redis = Redis::start("redis", 1, "");
    let mut service = service(&redis).with("LOG__CHECK_EVERY_MS", "100");
    service.up().await;
    ask(&redis, "CONFIG SET maxmemory-policy allkeys-lru").await;
    let problem = until_problem(&service, "CONFIG SET maxmemory-policy noeviction").await;
    assert_eq!((&problem["name"], &problem["up"]), (&json!("store"), &json!(false)), "{problem}");
    service.line("the store is not safe any more").await;
    ask(&redis, "CONFIG SET maxmemory-policy noeviction").await;
    service.until_ready().await;
    service.line("no more: ").await;
}

#[tokio::test]
async fn a_redis_that_becomes_a_replica_is_waited_for() {
    let (redis, other) = (Redis::start("redis", 1, ""), started().await);
    let mut service = service(&redis);
    service.up().await;
    eat(&service, 20).await;
    let address = other.address();
    // What it holds is replaced by the other's nothing.
    ask(&redis, &format!("REPLICAOF {} {}", address.ip(), address.port())).await;
    let client = service.client();
    let answers = send_all(&vec![observe(&client, "pie"); 50]).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "the log takes them");
    until_problem(&service, &redis.address().to_string()).await;
    // Long enough to try again several times.
    interval_at(Instant::now() + Duration::from_secs(3), Duration::from_secs(3)).tick().await;
    ask(&redis, "REPLICAOF NO ONE").await;
    service.until_ready().await;
    let found = aggregated(&client, &newest(&answers)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 70}]));
    service.line("the store is back").await;
    let told = |text: &str| service.said().lines().filter(|line| line.contains(text)).count();
    assert_eq!((told("the store is away"), told("the store is back")), (1, 1), "{}", service.said());
    service.stop().await;
    ask(&redis, &format!("REPLICAOF {} {}", address.ip(), address.port())).await;
    for said in [service.refused().await, service.run(&["check"]).await.1] {
        assert!(said.contains("it is a replica of") && said.contains("redis.servers"), "{said}");
    }
}

#[tokio::test]
async fn a_key_of_somebody_else_is_named_until_it_is_gone() {
    let redis = Redis::start("redis", 1, "");
    let mut service = service(&redis);
    service.up().await;
    eat(&service, 20).await;
    let keys = ask(&redis, "KEYS *.p0*values/view/food_counts/1").await;
    let key = keys.lines().find(|line| line.ends_with("food_counts/1")).unwrap();
    // What was there goes with it, so that it can be folded from the start only.
    ask(&redis, &format!("SET {key} mine")).await;
    let client = service.client();
    let answers = send_all(&vec![observe(&client, "pie"); 100]).await;
    let problem = until_problem(&service, key).await;
    assert!(problem["problem"].as_str().unwrap().contains("is a string"), "{problem}");
    let detail = client.get("/aggregated").send().await.problem(503, "store");
    assert!(detail.contains(key), "{detail}");
    service.stop().await;
    assert!(service.run(&["store", "empty", "--yes"]).await.0.success());
    service.up().await;
    let found = aggregated(&service.client(), &newest(&answers)).await;
    assert_eq!(found, json!([{"food": "pie", "count": 120}]));
}

#[tokio::test]
async fn it_is_checked_and_emptied_as_a_file_is() {
    let redis = started().await;
    let mut service = service(&redis);
    let (status, said) = service.run(&["store", "empty", "--yes"]).await;
    assert!(status.success() && said.contains("There was no store."), "{said}");
    service.up().await;
    eat(&service, 20).await;
    service.stop().await;
    let (status, said) = service.run(&["check"]).await;
    assert!(status.success() && said.contains("folded up to offsets"), "{said}");
    let (status, said) = service.run(&["store", "empty", "--yes"]).await;
    assert!(status.success() && said.contains("The store is empty."), "{said}");
    let (status, said) = service.run(&["check"]).await;
    assert!(status.success() && said.contains("the next start folds it"), "{said}");
    service.up().await;
    eat(&service, 1).await;
    let found = service.client().get("/aggregated").send().await.is(200).json();
    assert_eq!(found, json!([{"food": "pie", "count": 21}]));
    service.stop().await;

    ask(&redis, "CONFIG SET maxmemory-policy allkeys-lru").await;
    for said in [service.refused().await, service.run(&["check"]).await.1] {
        assert!(said.contains("CONFIG SET maxmemory-policy noeviction"), "{said}");
    }
    ask(&redis, "CONFIG SET maxmemory-policy noeviction").await;
    ask(&redis, "CONFIG SET requirepass geheim").await;
    let said = service.refused().await;
    assert!(said.contains("redis.password"), "{said}");
    service.set("REDIS__PASSWORD", "falsch");
    let said = service.refused().await;
    assert!(said.contains("redis.password") && !said.contains("falsch"), "{said}");
    service.set("REDIS__PASSWORD", "geheim");
    service.up().await;
    service.stop().await;
    redis.kill();
    let (status, said) = service.run(&["check"]).await;
    assert!(!status.success() && said.contains("see that it runs"), "{said}");
}

#[tokio::test]
async fn the_store_of_another_log_is_refused() {
    let redis = Redis::start("redis", 1, "");
    let (mut one, mut other) = (service(&redis), service(&redis));
    other.set("LOG__NAME", one.variable("REFOLD__LOG__NAME").unwrap());
    one.launch().await;
    one.until_ready().await;
    eat(&one, 3).await;
    one.stop().await;
    let said = other.refused().await;
    assert!(said.contains("the store belongs to the log"), "{said}");
    assert!(said.contains("refold store empty"), "{said}");
    one.up().await;
    eat(&one, 1).await;
}
