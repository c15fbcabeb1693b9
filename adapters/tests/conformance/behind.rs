//! What others do on a server while nobody looks.

use crate::brokers::UnderTest;
use crate::case::{Case, cases};
use crate::records::{append_all, contents};
use bytes::Bytes;
use futures::future::join_all;
use refold_adapters::{Access, Config};
use refold_domain::log::{AppendError, EventLog, LogError, Risk};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{interval, timeout};

pub(crate) const CASES: &[Case] = cases![
    needs_server: true,
    disturbs: false,
    those_that_make_the_same_log_at_once_share_it,
    retention_set_behind_our_back_is_fatal_with_what_mends_it,
    another_number_of_partitions_is_refused,
    what_is_missing_is_made_only_by_who_may,
];

/// How long a server may take to tell of a change, in seconds: RabbitMQ's plugin counts every five.
const SEEN_SECONDS_MAX: u64 = 30;
/// How long to wait before it is looked again.
const RETRY: Duration = Duration::from_millis(200);

async fn those_that_make_the_same_log_at_once_share_it(test: UnderTest) {
    const PROCESSES: usize = 4;
    let logs = join_all((0..PROCESSES).map(|_| test.open())).await;
    let append = |(index, log): (usize, _)| async move {
        let log: &std::sync::Arc<dyn EventLog> = log;
        log.append(1, index.to_string().into()).await.unwrap();
    };
    join_all(logs.iter().enumerate().map(append)).await;
    let wanted: HashSet<Bytes> = (0..PROCESSES).map(|index| index.to_string().into()).collect();
    for log in logs {
        assert_eq!(contents(&*log, 1, PROCESSES).await.into_iter().collect::<HashSet<_>>(), wanted);
    }
}

async fn retention_set_behind_our_back_is_fatal_with_what_mends_it(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 1, &["a"]).await;
    assert_eq!(fatal(&*log).await, None);
    let (kind, server) = (test.broker.server.as_ref().unwrap(), test.server.as_ref().unwrap());
    (kind.age)(server.address(), test.config.name.clone()).await;
    let found = async {
        let mut looks = interval(RETRY);
        loop {
            looks.tick().await;
            // Who starts now, and who runs already.
            if let (Some(risk), Some(_)) = (fatal(&*log).await, fatal(&*test.open().await).await) {
                return risk;
            }
        }
    };
    let risk = timeout(Duration::from_secs(SEEN_SECONDS_MAX), found).await.expect("it is seen");
    assert!(risk.found.contains("3600") && risk.found.contains(&test.config.name), "{risk:?}");
    assert!(risk.remedy.contains(' '), "a command or a setting: {risk:?}");
}

async fn another_number_of_partitions_is_refused(test: UnderTest) {
    append_all(&*test.open().await, 0, &["a"]).await;
    for partitions in [test.config.partitions - 1, test.config.partitions + 1] {
        let error = refused(&Config { partitions, ..test.config.clone() }).await;
        assert!(error.contains("log.partitions"), "{error}");
    }
}

async fn what_is_missing_is_made_only_by_who_may(test: UnderTest) {
    // So that the server is known to answer.
    drop(test.open().await);
    let missing = Config { name: format!("{}-missing", test.config.name), ..test.config.clone() };
    for access in [Access::Look, Access::Use] {
        let error = refused(&Config { access, ..missing.clone() }).await;
        assert!(error.contains("refold topics create") && error.contains(&missing.name), "{error}");
    }
    refold_adapters::open(&missing).await.unwrap();
    let using = Config { access: Access::Use, ..missing.clone() };
    append_all(&*refold_adapters::open(&using).await.unwrap(), 0, &["a"]).await;
    let looking = refold_adapters::open(&Config { access: Access::Look, ..missing }).await.unwrap();
    let outcome = looking.append(0, "b".into()).await;
    assert!(matches!(outcome, Err(AppendError::Refused(_))), "{outcome:?}");
    assert_eq!(contents(&*looking, 0, 1).await, ["a"]);
}

async fn refused(config: &Config) -> String {
    let error = refold_adapters::open(config).await.err().unwrap();
    assert!(matches!(error.downcast_ref(), Some(LogError::Broken(_) | LogError::Missing(_))), "{error:#}");
    format!("{error:#}")
}

async fn fatal(log: &dyn EventLog) -> Option<Risk> {
    log.check().await.unwrap().into_iter().find(|risk| risk.fatal)
}
