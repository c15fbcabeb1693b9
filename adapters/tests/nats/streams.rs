//! Streams that were changed, taken away or never ours.

use crate::records::{append_all, contents, take};
use crate::{config, opened, refusal, server, url, with};
use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use refold_adapters::Config;
use refold_domain::log::{AppendError, Bounds, End, EventLog, LogError, Risk};
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long a reader may take to notice what happened, in seconds.
const NOTICE_SECONDS: u64 = 20;

async fn admin(server: &crate::servers::Server) -> Context {
    jetstream::new(async_nats::connect(url(server)).await.unwrap())
}

async fn change(admin: &Context, name: &str, change: impl FnOnce(&mut stream::Config)) {
    let mut config = admin.get_stream(name).await.unwrap().cached_info().config.clone();
    change(&mut config);
    admin.update_stream(config).await.unwrap();
}

async fn fatal(log: &dyn EventLog) -> Vec<Risk> {
    let risks = log.check().await.unwrap();
    risks.into_iter().filter(|risk| risk.fatal).collect()
}

/// A stream of the log's second partition that somebody else made.
fn foreign(change: impl FnOnce(&mut stream::Config)) -> stream::Config {
    let mut config =
        stream::Config { name: "log-p1".into(), subjects: vec!["log.p1".into()], ..Default::default() };
    change(&mut config);
    config
}

#[tokio::test]
async fn limits_that_are_set_behind_our_back_are_fatal_with_what_mends_them() {
    let server = server("");
    let log = opened(&config(&server)).await;
    let admin = admin(&server).await;
    assert_eq!(fatal(&*log).await, []);
    change(&admin, "log-p1", |config| config.max_age = Duration::from_secs(3_600)).await;
    let [risk] = fatal(&*log).await.try_into().unwrap();
    assert_eq!(risk.found, "log-p1: max_age is 3600 s: older records are deleted");
    assert_eq!(risk.remedy, "nats stream edit log-p1 --max-age=0s");

    change(&admin, "log-p1", |config| {
        config.max_age = Duration::ZERO;
        config.max_bytes = 1_000_000;
    })
    .await;
    let risks = log.check().await.unwrap();
    let full = risks.iter().find(|risk| risk.found.contains("max_bytes is 1000000")).unwrap();
    assert!(!full.fatal, "it refuses new records and keeps the old ones: {full:?}");

    // The limit of the one subject deletes though the stream's own would not.
    change(&admin, "log-p1", |config| config.max_messages_per_subject = 10).await;
    let [risk] = fatal(&*log).await.try_into().unwrap();
    assert_eq!(risk.found, "log-p1: max_msgs_per_subject is 10: older records are deleted");
    assert_eq!(risk.remedy, "nats stream edit log-p1 --max-msgs-per-subject=-1");
    change(&admin, "log-p1", |config| config.max_messages_per_subject = -1).await;

    change(&admin, "log-p1", |config| config.discard = DiscardPolicy::Old).await;
    let [risk] = fatal(&*log).await.try_into().unwrap();
    assert_eq!(risk.found, "log-p1: max_bytes is 1000000: older records are deleted");
    assert_eq!(risk.remedy, "nats stream edit log-p1 --max-bytes=-1");
}

#[tokio::test]
async fn a_stream_that_is_full_refuses_and_keeps_all() {
    let server = server("");
    let log = opened(&config(&server)).await;
    append_all(&*log, 0, &["a", "b"]).await;
    change(&admin(&server).await, "log-p0", |config| config.max_messages = 2).await;
    let outcome = log.append(0, "c".into()).await;
    assert!(
        matches!(&outcome, Err(AppendError::Refused(why)) if why.contains("maximum messages")),
        "{outcome:?}"
    );
    assert_eq!(contents(&*log, 0, 2).await, ["a", "b"]);
}

#[tokio::test]
async fn nobody_can_delete_what_is_in_a_stream_of_ours() {
    let server = server("");
    let log = opened(&config(&server)).await;
    append_all(&*log, 0, &["a", "b"]).await;
    let stream = admin(&server).await.get_stream("log-p0").await.unwrap();
    stream.delete_message(1).await.unwrap_err();
    stream.purge().await.unwrap_err();
    assert_eq!(contents(&*log, 0, 2).await, ["a", "b"]);
}

#[tokio::test]
async fn records_that_are_gone_are_noticed() {
    let server = server("");
    drop(opened(&Config { name: "other".into(), ..config(&server) }).await);
    let admin = admin(&server).await;
    let stream = admin.create_stream(foreign(|_| {})).await.unwrap();
    let log = opened(&config(&server)).await;
    append_all(&*log, 1, &["a", "b", "c", "d"]).await;
    let unguarded = log.check().await.unwrap();
    let unguarded = unguarded.iter().find(|risk| risk.found.contains("may be deleted by anybody")).unwrap();
    assert_eq!(unguarded.remedy, "nats stream edit log-p1 --deny-delete --deny-purge");

    stream.delete_message(2).await.unwrap();
    let found = || async { fatal(&*log).await.remove(0).found };
    assert_eq!(found().await, "log-p1: 1 of its records between 1 and 4 are gone");
    stream.purge().sequence(3).await.unwrap();
    assert_eq!(found().await, "log-p1: its records 1 to 2 are gone");
    let read = take(&mut log.read(1, 0).await.unwrap(), 2).await;
    assert_eq!(read, [(3, "c".into()), (4, "d".into())]);
    stream.purge().await.unwrap();
    assert_eq!(found().await, "log-p1: all of its records are gone, 1 to 4");
    assert_eq!(log.bounds(1).await.unwrap(), Bounds { first: None, end: End::Last(4) });
}

#[tokio::test]
async fn a_stream_in_memory_or_of_another_kind_is_refused() {
    let server = server("");
    drop(opened(&Config { name: "other".into(), ..config(&server) }).await);
    let admin = admin(&server).await;
    admin.create_stream(foreign(|config| config.storage = StorageType::Memory)).await.unwrap();
    let log = opened(&config(&server)).await;
    assert_eq!(fatal(&*log).await[0].found, "log-p1: it is kept in memory: a restart deletes it");

    change(&admin, "log-p1", |config| config.subjects.push("more".into())).await;
    let error = refusal(&config(&server)).await;
    assert!(error.ends_with("nats stream edit log-p1 --subjects=log.p1"), "{error}");
    change(&admin, "log-p1", |config| {
        config.subjects.pop();
        config.no_ack = true;
    })
    .await;
    let error = refusal(&config(&server)).await;
    assert!(error.ends_with("does not confirm: nats stream edit log-p1 --ack"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_deleted_ends_its_readers_and_refuses_appends() {
    let server = server("");
    let log = opened(&config(&server)).await;
    append_all(&*log, 0, &["a"]).await;
    let mut records = log.read(0, 0).await.unwrap();
    take(&mut records, 1).await;
    admin(&server).await.delete_stream("log-p0").await.unwrap();
    let next = timeout(Duration::from_secs(NOTICE_SECONDS), records.next()).await.expect("an end in time");
    next.unwrap().unwrap_err();
    assert!(records.next().await.is_none());
    let outcome = log.append(0, "b".into()).await;
    assert!(matches!(outcome, Err(AppendError::Refused(_))), "{outcome:?}");
    let bounds = log.bounds(0).await;
    assert!(matches!(&bounds, Err(LogError::Broken(why)) if why.contains("no stream log-p0")), "{bounds:?}");
    assert!(matches!(log.read(0, 0).await, Err(LogError::Broken(_))));
    append_all(&*log, 1, &["others go on"]).await;
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_before_it_is_sent() {
    const LIMIT: usize = 65_536;
    let server = server(&format!("max_payload: {LIMIT}\n"));
    let log = opened(&config(&server)).await;
    let outcome = log.append(0, vec![1; LIMIT].into()).await;
    let Err(AppendError::TooLarge(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("65536 bytes, the server takes 65536 with its headers: raise max_payload"), "{why}");
    // The headers are a line each, and the version and the end in front and behind.
    let headers = "NATS/1.0\r\nNats-Expected-Stream: log-p0\r\n\r\n".len();
    log.append(0, vec![2; LIMIT - headers].into()).await.unwrap();
    let outcome = log.append(0, vec![3; LIMIT - headers + 1].into()).await;
    assert!(matches!(outcome, Err(AppendError::TooLarge(_))), "{outcome:?}");
    assert_eq!(contents(&*log, 0, 1).await[0].len(), LIMIT - headers);
}

#[tokio::test]
async fn more_replicas_than_there_are_servers_are_refused_with_what_mends_it() {
    let server = server("");
    let config = with(config(&server), "replicas", 3);
    let told = async {
        let mut tries = interval(Duration::from_millis(50));
        loop {
            tries.tick().await;
            // Until the server answers.
            if let Err(error) = refold_adapters::open(&config).await
                && matches!(error.downcast_ref(), Some(LogError::Broken(_)))
            {
                return format!("{error:#}");
            }
        }
    };
    let told = timeout(Duration::from_secs(NOTICE_SECONDS), told).await.expect("an answer in time");
    assert!(told.contains("nats.replicas is 3") && told.contains("set it to 1"), "{told}");
}

#[tokio::test]
async fn a_warning_tells_what_a_power_failure_may_lose_until_it_cannot() {
    let server = server("");
    let log = opened(&config(&server)).await;
    let of_sync = |risk: &Risk| !risk.fatal && risk.found.contains("sync");
    assert!(log.check().await.unwrap().iter().any(of_sync));
    let version = admin(&server).await.client().server_info().version;
    let log = opened(&crate::with(config(&server), "sync_always", true)).await;
    // 2.9 cannot be told to sync.
    assert_eq!(log.check().await.unwrap().iter().any(of_sync), version.starts_with("2.9."), "{version}");
}

/// More than what is asked for at once, many times: whoever loses count of it waits for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn many_large_records_are_read_without_a_pause() {
    const RECORDS: usize = 1_500;
    const BYTES: usize = 100_000;
    let server = server("");
    let log = opened(&config(&server)).await;
    for _ in 0..RECORDS {
        log.append(0, vec![7; BYTES].into()).await.unwrap();
    }
    for _ in 0..3 {
        let mut records = log.read(0, 0).await.unwrap();
        for offset in 1..=RECORDS as u64 {
            let (read, record) = take(&mut records, 1).await.remove(0);
            assert_eq!((read, record.len()), (offset, BYTES));
        }
    }
}
