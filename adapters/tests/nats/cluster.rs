//! Three servers that keep each record together: one of them may be lost.

use crate::records::take;
use crate::servers::{Server, free_ports};
use crate::{RETRY, config_at, kind, opened, url, with};
use bytes::Bytes;
use refold_domain::log::{EventLog, Risk};
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long a cluster may take to agree on who leads, in seconds.
const AGREE_SECONDS: u64 = 60;

async fn append(log: &dyn EventLog, text: &'static str) {
    let trying = async {
        let mut tries = interval(RETRY);
        loop {
            tries.tick().await;
            if log.append(0, Bytes::from_static(text.as_bytes())).await.is_ok() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(AGREE_SECONDS), trying).await.expect("a confirm in time");
}

#[tokio::test]
async fn a_log_on_three_servers_outlives_each_of_them() {
    let held = free_ports(3);
    let routes = held.first;
    let all =
        (0..3).map(|number| format!("nats://127.0.0.1:{}", routes + number)).collect::<Vec<_>>().join(", ");
    let start = |number: u16| {
        let listen = format!("127.0.0.1:{}", routes + number);
        let cluster = format!("cluster {{ name: test, listen: {listen:?}, routes: [{all}] }}");
        Server::start(&kind(), 2, &format!("server_name: n{number}\n{cluster}\n"))
    };
    let servers: Vec<_> = (0..3).map(start).collect();
    let urls: Vec<String> = servers.iter().map(url).collect();
    let config = with(with(config_at(""), "servers", urls), "replicas", 3);
    let log = opened(&config).await;
    append(&*log, "a").await;
    let risks = log.check().await.unwrap();
    assert!(!risks.iter().any(|risk| risk.fatal || risk.found.contains("one server keeps it")), "{risks:?}");

    for (server, text) in servers.iter().zip(["b", "c", "d"]) {
        server.kill();
        append(&*log, text).await;
        server.start_again();
        assert!(is_complete_in_time(&*log).await, "{}", server.said());
    }
    append(&*log, "e").await;
    assert_eq!(read_until(&*log, "e").await, ["a", "b", "c", "d", "e"]);
}

/// Waits until all servers have everything again: two of three must, always.
async fn is_complete_in_time(log: &dyn EventLog) -> bool {
    let waiting = async {
        let mut looks = interval(RETRY);
        let is_behind = |risk: &Risk| risk.found.contains("not complete on");
        loop {
            looks.tick().await;
            if log.check().await.is_ok_and(|risks| !risks.iter().any(is_behind)) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(AGREE_SECONDS), waiting).await.is_ok()
}

/// All texts up to this one, without repeats.
async fn read_until(log: &dyn EventLog, last: &str) -> Vec<String> {
    let mut records = log.read(0, 0).await.unwrap();
    let mut texts: Vec<String> = Vec::new();
    while texts.last().map(String::as_str) != Some(last) {
        let (_, record) = take(&mut records, 1).await.remove(0);
        texts.push(String::from_utf8(record.to_vec()).unwrap());
    }
    texts.dedup();
    texts
}
