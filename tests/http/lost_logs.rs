//! A log on a server that is not the one any more that the store was folded from.

use crate::foods::{aggregated, observe};
use crate::remote::Remote;
use crate::server::{Server, in_time};
use crate::servers::Server as Broker;
use serde_json::json;
use std::time::Duration;
use tokio::time::interval;

#[tokio::test]
async fn a_log_that_lost_its_tail_on_its_server_is_not_gone_on_with() {
    for (remote, kind) in Remote::asked() {
        let (broker, mut service) = with_pies(remote, &kind, 1).await;
        service.stop().await;
        broker.kill();
        let backup = broker.save();
        broker.start_again();
        service.up().await;
        eat(&service, "cake").await;
        service.stop().await;
        broker.kill();
        broker.put_back(&backup);
        broker.start_again();

        service.launch().await;
        let problem = problem_of_the_partition(&service).await;
        assert!(problem.contains("lost its tail") && problem.contains("refold store empty"), "{problem}");
        let refused = service.client().get("/aggregated").send().await;
        assert_eq!(refused.status, 503, "{}", refused.text);
        takes_no_commands(&service).await;
        service.stop().await;
        let (status, said) = service.run(&["store", "empty", "--yes"]).await;
        assert!(status.success(), "{said}");
        service.up().await;
        let receipt = observe(&service.client(), "pie").send().await.is(201).receipt();
        assert_eq!(aggregated(&service.client(), &receipt).await, json!([{"food": "pie", "count": 2}]));
        service.stop().await;
    }
}

#[tokio::test]
async fn a_log_that_is_gone_from_its_server_or_was_made_anew_is_refused() {
    for (remote, kind) in Remote::asked() {
        let (broker, mut service) = with_pies(remote, &kind, 1).await;
        service.stop().await;
        broker.kill();
        let backup = broker.save();
        broker.empty();
        broker.start_again();
        let gone = once_refused(&mut service).await;
        assert!(gone.contains("but there is none here"), "{gone}");
        let (status, said) = service.run(&["check"]).await;
        assert!(!status.success() && said.contains("put the log back"), "{said}");
        let mut another = beside(remote, &broker, &service);
        another.set("LOG__CREATE", "false");
        let not_made = another.refused().await;
        assert!(not_made.contains("refold topics create"), "who was refused made nothing: {not_made}");

        another.set("LOG__CREATE", "true");
        let (status, said) = another.run(&["check"]).await;
        assert!(status.success() && said.contains("the first start makes it"), "{said}");
        another.up().await;
        eat(&another, "cake").await;
        another.stop().await;
        let anew = once_refused(&mut service).await;
        assert!(anew.contains("but the log here is"), "{anew}");

        broker.kill();
        broker.put_back(&backup);
        broker.start_again();
        service.up().await;
        eat(&service, "cake").await;
        service.stop().await;
    }
}

#[tokio::test]
async fn a_log_that_is_made_anew_under_a_running_service_takes_no_commands() {
    for (remote, kind) in Remote::asked() {
        let (broker, mut service) = with_pies(remote, &kind, 3).await;
        broker.kill();
        broker.empty();
        broker.start_again();
        let mut another = beside(remote, &broker, &service);
        another.up().await;

        let problem = problem_of_the_partition(&service).await;
        assert!(problem.contains("refold store empty") || problem.contains("restore the log"), "{problem}");
        for _ in 0..2 {
            takes_no_commands(&service).await;
        }
        let receipt = observe(&another.client(), "cake").send().await.is(201).receipt();
        assert_eq!(aggregated(&another.client(), &receipt).await, json!([{"food": "cake", "count": 1}]));
        another.stop().await;
        service.stop().await;
    }
}

#[tokio::test]
async fn services_that_make_one_log_at_once_share_it() {
    for (remote, kind) in Remote::asked() {
        println!("broker: {kind}");
        // Both wait for it, so that both find it empty.
        let broker = Broker::prepared(&kind, remote.ports);
        let mut one = remote.service(broker.address());
        let mut other = beside(remote, &broker, &one);
        tokio::join!(one.launch(), other.launch());
        broker.start_again();
        tokio::join!(one.until_ready(), other.until_ready());
        let mut receipts = Vec::new();
        for service in [&one, &other, &one] {
            receipts.push(observe(&service.client(), "pie").send().await.is(201).receipt());
        }
        for service in [&one, &other] {
            let found = aggregated(&service.client(), &receipts.join(", ")).await;
            assert_eq!(found, json!([{"food": "pie", "count": 3}]));
        }
        one.stop().await;
        other.stop().await;
    }
}

/// A server of its own, and a service on it whose log has one partition, with so many pies in it.
async fn with_pies(remote: &Remote, kind: &str, pies: usize) -> (Broker, Server) {
    println!("broker: {kind}");
    let broker = Broker::start(kind, remote.ports, "");
    let mut service = remote.service(broker.address());
    service.set("LOG__PARTITIONS", "1");
    service.up().await;
    for _ in 0..pies {
        eat(&service, "pie").await;
    }
    (broker, service)
}

/// Another service on the log of the same name, with a store of its own.
fn beside(remote: &Remote, broker: &Broker, service: &Server) -> Server {
    let mut another = remote.service(broker.address());
    for key in ["LOG__NAME", "LOG__PARTITIONS"] {
        if let Some(value) = service.variable(&format!("REFOLD__{key}")) {
            another.set(key, value);
        }
    }
    another
}

async fn takes_no_commands(service: &Server) {
    let refused = observe(&service.client(), "pie").send().await.problem(503, "behind");
    assert!(refused.contains("not recorded"), "{refused}");
}

/// Records one, and waits until it is seen.
async fn eat(service: &Server, food: &str) {
    let receipt = observe(&service.client(), food).send().await.is(201).receipt();
    aggregated(&service.client(), &receipt).await;
}

/// What `/readyz` says of the only partition, once that is more than that it begins.
async fn problem_of_the_partition(service: &Server) -> String {
    let found = async {
        let mut looks = interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let ready = service.client().get("/readyz").send().await.json();
            let all = ready["dependencies"].as_array().cloned().unwrap_or_default();
            let partition = all.into_iter().find(|one| one["name"] == "partition 0");
            let problem = partition.and_then(|one| one["problem"].as_str().map(str::to_owned));
            if let Some(problem) =
                problem.filter(|problem| problem.contains("the log's") || problem.contains("offset"))
            {
                return problem;
            }
        }
    };
    in_time("a problem", found).await
}

/// What the service says when it gives up, once the server answers.
async fn once_refused(service: &mut Server) -> String {
    service.spawn();
    let said = service.line("the store belongs to the log").await;
    assert_eq!(service.ended().await.code(), Some(1));
    said
}
