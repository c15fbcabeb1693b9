//! Servers that are not there, or there and silent.

use crate::records::{append_all, take};
use crate::servers::proxy::{Proxy, Weather};
use crate::{config, config_at, is_away, opened, server};
use futures::StreamExt;
use refold_domain::log::LogError;
use std::net::TcpListener;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long anything may take to notice that nobody answers, in seconds.
const NOTICE_SECONDS: u64 = 15;

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_away() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [free, silent.local_addr().unwrap()] {
        let start = Instant::now();
        let error = refold_adapters::open(&config_at(&format!("nats://{address}"))).await.err().unwrap();
        assert!(is_away(&error) && error.to_string().contains("nats"), "{error:#}");
        assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_reader_whose_server_falls_silent_ends() {
    let server = server("");
    let front = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(front, server.address()).await;
    let log = opened(&config_at(&format!("nats://{}", proxy.address()))).await;
    append_all(&*log, 0, &["a"]).await;
    let mut records = log.read(0, 0).await.unwrap();
    take(&mut records, 1).await;
    proxy.set(Weather::Deaf);
    append_all(&*opened(&config(&server)).await, 0, &["b"]).await;
    let next = timeout(Duration::from_secs(NOTICE_SECONDS), records.next()).await.expect("an end in time");
    assert!(matches!(next, Some(Err(LogError::Away(_)))), "{next:?}");
    proxy.set(Weather::Cut);
    let start = Instant::now();
    assert!(matches!(log.bounds(0).await, Err(LogError::Away(_))));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
