//! The read models on a cluster of Redis, of which a server fails while it is worked with.

use crate::kills::{
    JOBS, Journal, every_repeat_is_answered_the_same, everything_is_exact, finished, jobs, run,
};
use crate::redis::config;
use crate::server::Server;
use crate::servers::redis::Cluster;
use std::sync::Arc;
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_server_that_fails_under_load_loses_nothing_and_nothing_counts_twice() {
    let cluster = Cluster::start().await;
    let seeds: Vec<_> = cluster.addresses().iter().take(2).map(ToString::to_string).collect();
    let mut service = Server::new().with("REDIS__SERVERS", &seeds.join(",")).with("REDIS__CLUSTER", "true");
    service.set_variable("REFOLD_CONFIG", config().to_str().unwrap());
    service.up().await;
    let client = service.client();
    let jobs = jobs(3 * JOBS);
    let journal = Arc::new(Journal::new());
    let tickets = Arc::new(Semaphore::new(2 * JOBS));
    let load = tokio::spawn(run(client.clone(), jobs.clone(), Arc::clone(&journal), Arc::clone(&tickets)));
    journal.until(JOBS / 2).await;
    cluster.fail_over().await;
    service.until_ready().await;
    tickets.add_permits(JOBS);
    finished(load, &journal).await;
    everything_is_exact(&client, &jobs, &journal).await;
    cluster.join_again().await;
    service.kill().await;
    service.remove_store().await;
    service.up().await;
    everything_is_exact(&client, &jobs, &journal).await;
    every_repeat_is_answered_the_same(&journal).await;
}
