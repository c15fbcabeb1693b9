//! The topic of a log: made with the right settings, by whoever may, once.

use crate::{Case, cases, config, open, refused, with};
use refold_domain::log::LogError;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = cases![
    what_is_made_is_sound,
    more_replicas_than_brokers_are_refused,
    a_server_that_is_not_there_is_away,
];

async fn what_is_made_is_sound(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    let risks = log.check().await.unwrap();
    assert!(!risks.iter().any(|risk| risk.fatal), "{risks:?}");
    assert!(risks.iter().any(|risk| risk.found.contains("one replica")), "{risks:?}");
}

async fn more_replicas_than_brokers_are_refused(server: SocketAddr) {
    let config = with(config(server), &[("replicas", 3.into()), ("min_insync_replicas", 2.into())]);
    let error = refused(&config).await;
    assert!(error.contains("kafka.replicas is 3"), "{error}");
}

async fn a_server_that_is_not_there_is_away(_: SocketAddr) {
    let begun = Instant::now();
    let nobody = ([127, 0, 0, 1], 1).into();
    let error = refold_adapters::open(&config(nobody)).await.err().unwrap();
    assert!(matches!(error.downcast_ref(), Some(LogError::Away(_))), "{error:#}");
    assert!(format!("{error:#}").contains("127.0.0.1:1"), "{error:#}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
