//! What others do to a topic behind the log's back.

use crate::{Case, SEEN_SECONDS_MAX, cases, config, open, seen};
use futures::StreamExt;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use refold_adapters::{Access, Config};
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) const CASES: &[Case] = cases![
    what_deletes_is_refused,
    more_partitions_are_refused,
    what_was_deleted_is_seen,
    a_partition_that_was_emptied_is_seen,
    a_lower_limit_refuses_the_record,
    a_topic_that_is_gone_stays_gone,
    a_topic_that_came_back_is_written_and_ends_before_the_place,
];

async fn what_deletes_is_refused(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    for (key, value) in
        [("retention.ms", "604800000"), ("retention.bytes", "1073741824"), ("cleanup.policy", "compact")]
    {
        set(server, &config, &[(key, value)]).await;
        let found = seen(async || {
            let risks = log.check().await.unwrap();
            risks
                .into_iter()
                .find(|risk| risk.fatal && risk.found.contains(key) && risk.found.contains(value))
        });
        let risk = found.await;
        assert!(risk.remedy.contains("kafka-configs.sh") && risk.remedy.contains(&config.name), "{risk:?}");
    }
}

async fn more_partitions_are_refused(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    let more = [NewPartitions::new(&config.name, 5)];
    admin(server).create_partitions(&more, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    seen(async || {
        log.check().await.unwrap().into_iter().find(|risk| risk.fatal && risk.found.contains("5 partitions"))
    })
    .await;
}

async fn what_was_deleted_is_seen(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    append_all(&*log, &["a", "b", "c"]).await;
    delete_before(server, &config, Offset::Offset(2)).await;
    assert_eq!(log.bounds(0).await.unwrap(), Bounds { first: Some(2), end: End::Last(2) });
    let (offset, record) = log.read(0, 0).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!((offset, &record[..]), (2, &b"c"[..]));
    let risks = log.check().await.unwrap();
    assert!(risks.iter().any(|risk| risk.fatal && risk.found.contains("partition 0")), "{risks:?}");
}

async fn a_partition_that_was_emptied_is_seen(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    append_all(&*log, &["a", "b"]).await;
    delete_before(server, &config, Offset::End).await;
    assert_eq!(log.bounds(0).await.unwrap(), Bounds { first: None, end: End::Last(1) });
    assert_eq!(log.bounds(1).await.unwrap(), Bounds { first: None, end: End::Empty });
    let risks = log.check().await.unwrap();
    assert!(risks.iter().any(|risk| risk.fatal && risk.found.contains("offset 2")), "{risks:?}");
}

async fn a_lower_limit_refuses_the_record(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    let keeps = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")];
    set(server, &config, &[&keeps[..], &[("max.message.bytes", "10000")]].concat()).await;
    let refused = seen(async || match log.append(0, vec![b'x'; 20_000].into()).await {
        Err(AppendError::TooLarge(reason)) => Some(reason),
        _ => None,
    });
    let reason = refused.await;
    assert!(reason.contains("max.message.bytes"), "{reason}");
    log.append(0, "small".into()).await.unwrap();
    let risks = log.check().await.unwrap();
    assert!(risks.iter().any(|risk| risk.fatal && risk.found.contains("max.message.bytes")), "{risks:?}");
}

/// The server makes topics for whoever writes to them.
async fn a_topic_that_is_gone_stays_gone(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    append_all(&*log, &["a"]).await;
    let mut records = log.read(0, 0).await.unwrap();
    records.next().await.unwrap().unwrap();
    delete(server, &config).await;
    let ended = timeout(Duration::from_secs(SEEN_SECONDS_MAX), records.next()).await;
    ended.expect("the reading ends").expect("with an error").unwrap_err();
    let broken =
        seen(async || log.bounds(0).await.err().filter(|error| matches!(error, LogError::Broken(_)))).await;
    assert!(broken.to_string().contains(&config.name), "{broken}");
    let outcome = log.append(0, "b".into()).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    let gone = refold_adapters::open(&Config { access: Access::Use, ..config }).await.err().unwrap();
    assert!(format!("{gone:#}").contains("refold topics create"), "{gone:#}");
}

/// It is not the same: its first records are others, which whoever has read it before compares.
async fn a_topic_that_came_back_is_written_and_ends_before_the_place(server: SocketAddr) {
    let config = config(server);
    let log = open(&config).await;
    append_all(&*log, &["a", "b", "c"]).await;
    delete(server, &config).await;
    seen(async || {
        let topic = [NewTopic::new(&config.name, 2, TopicReplication::Fixed(1))];
        admin(server).create_topics(&topic, &AdminOptions::new()).await.unwrap().remove(0).ok()
    })
    .await;
    seen(async || log.append(0, "x".into()).await.ok()).await;
    assert_eq!(log.bounds(0).await.unwrap(), Bounds { first: Some(0), end: End::Last(0) });
    let error = log.read(0, 3).await.err().unwrap();
    assert!(
        matches!(&error, LogError::Broken(text) if text.contains("ends at offset 1, before 3")),
        "{error}"
    );
}

async fn append_all(log: &dyn EventLog, texts: &[&'static str]) {
    for text in texts {
        log.append(0, (*text).into()).await.unwrap();
    }
}

fn admin(server: SocketAddr) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", server.to_string()).create().unwrap()
}

async fn set(server: SocketAddr, config: &Config, settings: &[(&str, &str)]) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(&config.name));
    let change = settings.iter().fold(change, |change, (key, value)| change.set(key, value));
    admin(server).alter_configs(&[change], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

async fn delete(server: SocketAddr, config: &Config) {
    admin(server).delete_topics(&[&config.name], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let name = config.name.clone();
    let asked =
        ClientConfig::new().set("bootstrap.servers", server.to_string()).create::<BaseConsumer>().unwrap();
    seen(async || {
        let known = asked.fetch_metadata(None, Duration::from_secs(SEEN_SECONDS_MAX)).unwrap();
        (!known.topics().iter().any(|topic| topic.name() == name)).then_some(())
    })
    .await;
}

/// Deletes the records of partition 0 before this place.
async fn delete_before(server: SocketAddr, config: &Config, place: Offset) {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(&config.name, 0, place).unwrap();
    admin(server).delete_records(&places, &AdminOptions::new()).await.unwrap();
}
