//! The log on real servers: the service waits for a broker that is not there yet, and outlives one that is killed.

use crate::foods::{aggregated, observe};
use crate::kills::{
    JOBS, Journal, every_repeat_is_answered_the_same, everything_is_exact, jobs, number, run,
};
use crate::server::{Server, in_time};
use crate::servers::Server as Broker;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// A broker on a server, and how the service is pointed at it.
struct Remote {
    name: &'static str,
    ports: u16,
    /// The variable that has its address, and what stands before it there.
    setting: (&'static str, &'static str),
}

const REMOTES: &[Remote] = &[
    Remote { name: "nats", ports: 2, setting: ("NATS__SERVERS", "nats://") },
    Remote { name: "kafka", ports: 2, setting: ("KAFKA__BROKERS", "") },
    Remote { name: "rabbit", ports: 4, setting: ("RABBIT__SERVERS", "") },
];

impl Remote {
    /// Those that are asked for in `REFOLD_TEST_BROKERS`, with commas; else all.
    fn asked() -> impl Iterator<Item = (&'static Self, String)> {
        let asked = std::env::var("REFOLD_TEST_BROKERS").unwrap_or_default();
        let asked: Vec<_> = asked.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        REMOTES.iter().filter_map(move |remote| {
            let found = asked.iter().find(|kind| kind.split('@').next() == Some(remote.name));
            let usual = || asked.is_empty().then(|| remote.name.to_owned());
            Some((remote, found.cloned().or_else(usual)?))
        })
    }

    fn service(&self, address: SocketAddr) -> Server {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{}.toml", self.name));
        let (key, before) = self.setting;
        let mut service = Server::new().with(key, &format!("{before}{address}"));
        service.set_variable("REFOLD_CONFIG", config.to_str().unwrap());
        service
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    for (remote, kind) in Remote::asked() {
        println!("broker: {kind}");
        let broker = Broker::prepared(&kind, remote.ports, "");
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
        in_time("finished", load).await.unwrap();
        everything_is_exact(&client, &jobs, &journal).await;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{kind}: {kills} kills of the broker, {} answers, {} jobs, {seconds:.0} s",
            journal.len(),
            jobs.len()
        );
        service.kill().await;
        service.remove_store();
        service.up().await;
        everything_is_exact(&client, &jobs, &journal).await;
        every_repeat_is_answered_the_same(&journal).await;
        everything_is_exact(&client, &jobs, &journal).await;
    }
}
