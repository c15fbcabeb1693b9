//! Servers that are killed, and connections that break: what was confirmed is there, and what was not may be.

use crate::brokers::UnderTest;
use crate::case::{Case, cases};
use crate::kinds::SMALL_BYTES;
use crate::records::{append_all, contents, take};
use crate::servers::proxy::Weather;
use bytes::Bytes;
use futures::StreamExt;
use refold_domain::log::{AppendError, EventLog, LogError, Offset, Records};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, interval_at, timeout};

pub(crate) const CASES: &[Case] = cases![
    needs_server: true,
    disturbs: true,
    what_was_confirmed_outlives_a_kill,
    appends_go_on_over_kills_and_nothing_confirmed_is_lost,
    a_reader_that_is_cut_off_reads_on,
    an_append_without_an_answer_is_unknown_and_may_be_repeated,
    a_record_that_is_refused_after_an_unknown_outcome_is_there_once_or_not_at_all,
    a_slow_connection_is_only_slow,
    a_server_that_stood_still_goes_on,
    wrong_credentials_are_refused_at_once_and_not_shown,
];

/// How long anything may take that must happen, in seconds; a server's start included.
const WAIT_SECONDS: u64 = 120;
/// How long to wait before an append is tried again.
const RETRY: Duration = Duration::from_millis(50);
const KILLS: usize = 3;
const APPENDS_BETWEEN_KILLS: usize = 200;
/// How long a server stands still, in seconds: longer than its cluster counts on it.
const STILL_SECONDS: u64 = 12;
/// How long somebody with a wrong password waits for the answer at most, in seconds.
const REFUSED_SECONDS_MAX: u64 = 15;

async fn what_was_confirmed_outlives_a_kill(test: UnderTest) {
    let server = test.server.clone().unwrap();
    let log = test.open().await;
    append_until_confirmed(&*log, 0, "a").await;
    append_all(&*log, 0, &["b", "c"]).await;
    append_all(&*log, 2, &["x"]).await;
    server.kill();
    server.start_again();
    append_until_confirmed(&*log, 0, "d").await;
    let read = distinct(&read_until(&*log, 0, "d").await);
    assert_eq!(read, ["a", "b", "c", "d"]);
    drop(log);
    let log = test.open().await;
    assert_eq!(contents(&*log, 2, 1).await, ["x"]);
}

async fn appends_go_on_over_kills_and_nothing_confirmed_is_lost(test: UnderTest) {
    let server = test.server.clone().unwrap();
    let log = test.open().await;
    append_until_confirmed(&*log, 0, "first").await;
    let appending = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            for number in 0..KILLS * APPENDS_BETWEEN_KILLS {
                append_until_confirmed(&*log, 0, &number.to_string()).await;
            }
        }
    });
    for kill in 1..=KILLS {
        // It is in the middle of its work whenever this many are there.
        let seen = (kill * APPENDS_BETWEEN_KILLS - APPENDS_BETWEEN_KILLS / 2).to_string();
        read_until(&*log, 0, &seen).await;
        server.kill();
        server.start_again();
    }
    appending.await.unwrap();
    let last = (KILLS * APPENDS_BETWEEN_KILLS - 1).to_string();
    let read = distinct(&read_until(&*log, 0, &last).await);
    let wanted = (0..KILLS * APPENDS_BETWEEN_KILLS).map(|number| number.to_string());
    assert_eq!(read, ["first".to_owned()].into_iter().chain(wanted).collect::<Vec<_>>());
}

async fn a_reader_that_is_cut_off_reads_on(test: UnderTest) {
    let proxy = test.proxy.as_ref().unwrap();
    let log = test.open().await;
    append_until_confirmed(&*log, 1, "a").await;
    let mut records = log.read(1, 0).await.unwrap();
    let (passed, _) = take(&mut records, 1).await.remove(0);
    proxy.set(Weather::Cut);
    proxy.set(Weather::Fair);
    append_until_confirmed(&*log, 1, "b").await;
    let mut passed = Some(passed);
    let next = next_of(&*log, 1, &mut records, &mut passed).await;
    assert_eq!(next, "b");
}

async fn an_append_without_an_answer_is_unknown_and_may_be_repeated(test: UnderTest) {
    let proxy = test.proxy.as_ref().unwrap();
    let log = test.open().await;
    append_until_confirmed(&*log, 0, "a").await;
    proxy.set(Weather::Deaf);
    let outcome = log.append(0, "b".into()).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    proxy.set(Weather::Cut);
    proxy.set(Weather::Fair);
    append_until_confirmed(&*log, 0, "b").await;
    append_until_confirmed(&*log, 0, "c").await;
    let read = read_until(&*log, 0, "c").await;
    // The first of the two came through. Where the repeat did, too, it is a duplicate, which the gate will void; Kafka knows it
    // again.
    assert_eq!(distinct(&read), ["a", "b", "c"], "{read:?}");
}

async fn a_record_that_is_refused_after_an_unknown_outcome_is_there_once_or_not_at_all(test: UnderTest) {
    let (proxy, server) = (test.proxy.as_ref().unwrap(), test.server.clone().unwrap());
    let log = test.open().await;
    append_until_confirmed(&*log, 0, "a").await;
    let large = "b".repeat(2 * SMALL_BYTES);
    proxy.set(Weather::Deaf);
    let outcome = log.append(0, large.clone().into()).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    (test.broker.server.as_ref().unwrap().shrink)(server, test.config.name.clone()).await;
    proxy.set(Weather::Cut);
    proxy.set(Weather::Fair);
    let outcome = known_outcome(&*log, 0, &large).await;
    assert!(matches!(outcome, Err(AppendError::TooLarge(_))), "{outcome:?}");
    append_until_confirmed(&*log, 0, "c").await;
    let mut read = read_until(&*log, 0, "c").await;
    let is_large = |text: &String| *text == large;
    assert!(read.iter().filter(|text| is_large(text)).count() <= 1, "it was sent once");
    read.retain(|text| !is_large(text));
    assert_eq!(distinct(&read), ["a", "c"]);
}

async fn a_slow_connection_is_only_slow(test: UnderTest) {
    let proxy = test.proxy.as_ref().unwrap();
    let log = test.open().await;
    append_until_confirmed(&*log, 0, "a").await;
    let mut records = log.read(0, 0).await.unwrap();
    take(&mut records, 1).await;
    proxy.set(Weather::Slow);
    append_all(&*log, 0, &["b", "c"]).await;
    let read = take(&mut records, 2).await;
    assert_eq!((&read[0].1[..], &read[1].1[..]), (&b"b"[..], &b"c"[..]));
    // Who comes now finds all of it, too.
    assert_eq!(contents(&*test.open().await, 0, 3).await, ["a", "b", "c"]);
}

async fn a_server_that_stood_still_goes_on(test: UnderTest) {
    let server = test.server.clone().unwrap();
    let log = test.open().await;
    append_until_confirmed(&*log, 0, "a").await;
    server.pause();
    let appending = tokio::spawn({
        let log = Arc::clone(&log);
        async move { append_until_confirmed(&*log, 0, "b").await }
    });
    interval_at(Instant::now() + Duration::from_secs(STILL_SECONDS), RETRY).tick().await;
    assert!(log.bounds(0).await.is_err(), "nobody answers");
    server.resume();
    appending.await.unwrap();
    let back = async {
        let mut tries = interval(RETRY);
        while log.bounds(0).await.is_err() {
            tries.tick().await;
        }
    };
    timeout(Duration::from_secs(WAIT_SECONDS), back).await.expect("it is asked again");
    assert_eq!(distinct(&read_until(&*log, 0, "b").await), ["a", "b"]);
}

async fn wrong_credentials_are_refused_at_once_and_not_shown(test: UnderTest) {
    drop(test.open().await);
    let begun = Instant::now();
    let error = test.open_as("battery-staple").await.err().unwrap();
    assert!(begun.elapsed().as_secs() < REFUSED_SECONDS_MAX, "{:?}", begun.elapsed());
    assert!(matches!(error.downcast_ref(), Some(LogError::Broken(_))), "{error:#}");
    let said = format!("{error:#}");
    assert!(said.contains(&format!("{}.password", test.broker.name)), "{said}");
    assert!(!said.contains("battery-staple"), "{said}");
}

async fn append_until_confirmed(log: &dyn EventLog, partition: u32, text: &str) {
    known_outcome(log, partition, text).await.unwrap();
}

/// Appends a text as a writer does: again and again, until its outcome is known.
async fn known_outcome(log: &dyn EventLog, partition: u32, text: &str) -> Result<(), AppendError> {
    let trying = async {
        let mut tries = interval(RETRY);
        loop {
            tries.tick().await;
            match log.append(partition, Bytes::copy_from_slice(text.as_bytes())).await {
                Err(AppendError::Unknown(_)) => {}
                known => return known,
            }
        }
    };
    let done = timeout(Duration::from_secs(WAIT_SECONDS), trying).await;
    done.unwrap_or_else(|_| panic!("the outcome of {text:?} was not known in time"))
}

/// All texts of a partition from its start to this one, however often the reading breaks off.
async fn read_until(log: &dyn EventLog, partition: u32, last: &str) -> Vec<String> {
    let mut records: Records = futures::stream::pending().boxed();
    let mut texts = Vec::new();
    let mut passed = None;
    let reading = async {
        records = open_after(log, partition, passed).await;
        while texts.last().map(String::as_str) != Some(last) {
            texts.push(next_of(log, partition, &mut records, &mut passed).await);
        }
    };
    let done = timeout(Duration::from_secs(WAIT_SECONDS), reading).await;
    done.unwrap_or_else(|_| panic!("{last:?} was not read in time"));
    texts
}

/// The next record's text, from another reading where this one breaks off.
async fn next_of(
    log: &dyn EventLog,
    partition: u32,
    records: &mut Records,
    passed: &mut Option<Offset>,
) -> String {
    loop {
        let next = timeout(Duration::from_secs(WAIT_SECONDS), records.next()).await;
        match next.expect("a record in time").expect("no end without an error") {
            Ok((offset, bytes)) => {
                assert!(*passed < Some(offset), "offsets grow over readings: {passed:?}, then {offset}");
                *passed = Some(offset);
                return String::from_utf8(bytes.to_vec()).unwrap();
            }
            Err(_) => *records = open_after(log, partition, *passed).await,
        }
    }
}

async fn open_after(log: &dyn EventLog, partition: u32, passed: Option<Offset>) -> Records {
    let opening = async {
        let mut tries = interval(RETRY);
        loop {
            tries.tick().await;
            if let Ok(records) = log.read(partition, passed.map_or(0, |offset| offset + 1)).await {
                return records;
            }
        }
    };
    timeout(Duration::from_secs(WAIT_SECONDS), opening).await.expect("the log can be read again in time")
}

/// Without what stands directly behind its like: a repeat of the same append.
fn distinct(texts: &[String]) -> Vec<String> {
    let mut distinct = texts.to_vec();
    distinct.dedup();
    distinct
}
