//! The topic of a log: made with the right settings, by whoever may, once.

use crate::{Case, cases, config, open, refused, with};
use futures::future::join_all;
use refold_adapters::{Access, Config};
use refold_domain::log::{AppendError, End, LogError};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = cases![
    what_is_made_is_sound,
    many_may_make_the_same_log_at_once,
    another_number_of_partitions_is_refused,
    what_is_missing_is_only_made_by_whoever_may,
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

async fn many_may_make_the_same_log_at_once(server: SocketAddr) {
    let config = config(server);
    let logs = join_all((0..4).map(|_| open(&config))).await;
    for (index, log) in logs.iter().enumerate() {
        log.append(1, index.to_string().into()).await.unwrap();
    }
    assert_eq!(logs[0].bounds(1).await.unwrap().end, End::Last(3));
}

async fn another_number_of_partitions_is_refused(server: SocketAddr) {
    let config = config(server);
    open(&config).await;
    let error = refused(&Config { partitions: 3, ..config }).await;
    assert!(error.contains("has 2 partitions, not 3") && error.contains("log.partitions to 2"), "{error}");
}

async fn what_is_missing_is_only_made_by_whoever_may(server: SocketAddr) {
    let config = config(server);
    open(&Config { name: "another".into(), ..config.clone() }).await;
    for access in [Access::Look, Access::Use, Access::Use] {
        let error = refused(&Config { access, ..config.clone() }).await;
        assert!(error.contains("refold topics create") && error.contains(&config.name), "{error}");
    }
    open(&config).await.append(0, "a".into()).await.unwrap();
    open(&Config { access: Access::Use, ..config.clone() }).await.append(0, "b".into()).await.unwrap();
    let looked_at = open(&Config { access: Access::Look, ..config }).await;
    let outcome = looked_at.append(0, "c".into()).await;
    assert!(matches!(outcome, Err(AppendError::Refused(_))), "{outcome:?}");
    assert_eq!(looked_at.bounds(0).await.unwrap().end, End::Last(1));
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
