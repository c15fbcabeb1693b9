//! The log on real servers: the service waits for a broker that is not there yet, and outlives one that is killed.

use crate::foods::{aggregated, observe};
use crate::kills::{
    JOBS, Journal, every_repeat_is_answered_the_same, everything_is_exact, finished, jobs, number, run,
};
use crate::redis;
use crate::remote::Remote;
use crate::servers::Server as Broker;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// How many lines warn of a server that runs alone, or is not there yet.
const STARTING_WARNINGS_MAX: usize = 6;

/// The tests of the five systems, by the beginning of their names.
const SYSTEMS: &[&str] = &[
    "introductions::",
    "foods::",
    "purchases::",
    "detections::",
    "users::",
    "alerts::",
    "pictures::",
    "events::",
    "live::",
    "ndjson::",
    "statistics::",
];

/// How many of them run at a time: making a log takes seconds on some brokers, most of them of waiting.
const THREADS: &str = "4";

/// How many partitions their logs have, where it is not they who say: each is something that a broker makes, and that is read.
const PARTITIONS: &str = "3";

/// How long their guarded commands wait for a verdict: servers, services and tests share the machine's cores.
const DECIDE_WAIT_MS: &str = "20000";

/// The same tests as of the embedded log and the embedded store, with the store and then both elsewhere.
#[tokio::test]
async fn the_five_systems_are_the_same_on_each() {
    let redis = Broker::start("redis", 1, "");
    five_systems("the embedded log with redis", &[redis::config()], &[redis::setting(redis.address())]).await;
    for (remote, kind) in Remote::asked() {
        let broker = Broker::start(&kind, remote.ports, "");
        let settings = [remote.setting(broker.address()), redis::setting(redis.address())];
        five_systems(&format!("{kind} with redis"), &[remote.config(), redis::config()], &settings).await;
    }
}

/// Runs the tests of the five systems, each service with other settings files and settings.
async fn five_systems(name: &str, files: &[PathBuf], settings: &[(&str, String)]) {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(SYSTEMS).args(["--test-threads", THREADS]).env("REFOLD_TEST__LOG__PARTITIONS", PARTITIONS);
    tests.env("REFOLD_TEST__DECIDE__WAIT_MS", DECIDE_WAIT_MS);
    tests.env("REFOLD_TEST_CONFIG", std::env::join_paths(files).unwrap());
    tests.envs(settings.iter().map(|(key, value)| (format!("REFOLD_TEST__{key}"), value)));
    let start = Instant::now();
    let done = tests.kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{name}: {said}\n{}", String::from_utf8_lossy(&done.stderr));
    let result = said.lines().find(|line| line.starts_with("test result:")).unwrap();
    assert!(!result.contains(" 0 passed"), "{result}");
    println!("{name}: {result} {:.0} s", start.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    for (remote, kind) in Remote::asked() {
        println!("broker: {kind}");
        let broker = Broker::prepared(&kind, remote.ports);
        let mut service = remote.service(broker.address());
        service.launch().await;
        let client = service.client();
        client.get("/healthz").send().await.is(200);
        let readiness = client.get("/readyz").send().await.is(503).json();
        assert_eq!(
            (&readiness["ready"], &readiness["dependencies"][0]["name"]),
            (&json!(false), &json!("log"))
        );
        assert!(readiness["dependencies"][0]["problem"].as_str().unwrap().len() > 20, "{readiness}");
        let refused = observe(&client, "pie").send().await;
        refused.problem(503, "starting");
        assert!(refused.header("Retry-After").parse::<u64>().unwrap() > 0);
        client.get("/metrics").send().await.is(200);

        broker.start_again();
        service.until_ready().await;
        let receipt = observe(&client, "pie").send().await.is(201).receipt();
        assert_eq!(aggregated(&client, &receipt).await, json!([{"food": "pie", "count": 1}]));
        let waits = service.said().lines().filter(|line| line.contains("waiting for the log")).count();
        assert!((1..=3).contains(&waits), "a line for each change, not for each try: {}", service.said());
        service.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_is_killed_under_load_loses_nothing_and_nothing_counts_twice() {
    let kills: usize = number("REFOLD_BROKER_KILLS", 3);
    for (remote, kind) in Remote::asked() {
        let mut random = StdRng::seed_from_u64(number("REFOLD_SIM_SEED", 1));
        let broker = Broker::start(&kind, remote.ports, "");
        let mut service = remote.service(broker.address());
        service.launch().await;
        service.until_ready().await;
        let client = service.client();
        let jobs = jobs((kills + 1) * JOBS);
        let journal = Arc::new(Journal::new());
        let tickets = Arc::new(Semaphore::new(0));
        let load =
            tokio::spawn(run(client.clone(), jobs.clone(), Arc::clone(&journal), Arc::clone(&tickets)));
        let start = Instant::now();
        for _ in 0..kills {
            tickets.add_permits(JOBS);
            journal.until(journal.len() + random.random_range(0..JOBS)).await;
            broker.kill();
            broker.start_again();
            service.until_ready().await;
        }
        tickets.add_permits(JOBS);
        finished(load, &journal).await;
        everything_is_exact(&client, &jobs, &journal).await;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{kind}: {kills} kills of the broker, {} answers, {} jobs, {seconds:.0} s",
            journal.len(),
            jobs.len()
        );
        let told = |text: &str| service.said().lines().filter(|line| line.contains(text)).count();
        // A server that starts may come and go; still it is a line for each change, not for each try.
        assert!((1..=2 * kills).contains(&told("the log is away")), "{}", service.said());
        assert_eq!(told("the log is away"), told("the log is back"), "{}", service.said());
        assert!(told(" WARN ") <= STARTING_WARNINGS_MAX + 4 * kills, "{}", service.said());
        service.kill().await;
        service.remove_store().await;
        service.up().await;
        everything_is_exact(&client, &jobs, &journal).await;
        every_repeat_is_answered_the_same(&journal).await;
        everything_is_exact(&client, &jobs, &journal).await;
    }
}
