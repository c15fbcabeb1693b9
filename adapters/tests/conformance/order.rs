//! What was appended can be read: in order, byte for byte, partition by partition.

use crate::brokers::UnderTest;
use crate::case::{Case, cases};
use crate::records::{append_all, contents, take};
use bytes::Bytes;
use futures::future::join_all;
use refold_domain::log::{AppendError, Bounds, End};
use std::collections::HashSet;

pub(crate) const CASES: &[Case] = cases![
    records_come_back_in_order,
    reading_starts_where_it_is_told_to,
    partitions_are_independent,
    a_partition_that_is_not_there_is_refused,
    bounds_tell_the_first_and_the_last,
    records_of_all_sizes_keep_every_byte,
    the_largest_record_is_taken_and_a_larger_one_refused_before_it_is_sent,
    concurrent_appends_are_all_there_once,
    a_sound_log_has_no_fatal_risk,
];

async fn records_come_back_in_order(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 0, &["a", "b", "c"]).await;
    let read = take(&mut log.read(0, 0).await.unwrap(), 3).await;
    assert!(read.is_sorted_by(|(a, _), (b, _)| a < b), "offsets grow strictly: {read:?}");
    assert_eq!(contents(&*log, 0, 3).await, ["a", "b", "c"]);
}

async fn reading_starts_where_it_is_told_to(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 1, &["a", "b", "c", "d"]).await;
    let all = take(&mut log.read(1, 0).await.unwrap(), 4).await;
    for start in 0..4 {
        let mut records = log.read(1, all[start].0).await.unwrap();
        assert_eq!(take(&mut records, 4 - start).await, all[start..]);
    }
}

async fn partitions_are_independent(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 0, &["a0", "b0"]).await;
    append_all(&*log, 2, &["a2"]).await;
    append_all(&*log, 0, &["c0"]).await;
    assert_eq!(contents(&*log, 0, 3).await, ["a0", "b0", "c0"]);
    assert_eq!(contents(&*log, 2, 1).await, ["a2"]);
    let empty = log.bounds(1).await.unwrap();
    assert_eq!(empty.first, None);
}

async fn a_partition_that_is_not_there_is_refused(test: UnderTest) {
    let log = test.open().await;
    let outcome = log.append(99, "a".into()).await;
    assert!(matches!(outcome, Err(AppendError::Refused(_))), "{outcome:?}");
    assert!(log.read(99, 0).await.is_err());
    assert!(log.bounds(99).await.is_err());
}

async fn bounds_tell_the_first_and_the_last(test: UnderTest) {
    let log = test.open().await;
    let empty = log.bounds(0).await.unwrap();
    assert_eq!(empty.first, None);
    assert!(!test.broker.knows_its_end || empty.end == End::Empty, "{empty:?}");

    for count in 1..=3 {
        append_all(&*log, 0, &["a"]).await;
        let read = take(&mut log.read(0, 0).await.unwrap(), count).await;
        let Bounds { first, end } = log.bounds(0).await.unwrap();
        let last = read[count - 1].0;
        assert_eq!(first, Some(read[0].0));
        match end {
            End::AtLeast(offset) if !test.broker.knows_its_end => assert!(offset <= last),
            _ => assert_eq!(end, End::Last(last)),
        }
    }
}

async fn records_of_all_sizes_keep_every_byte(test: UnderTest) {
    let log = test.open().await;
    let sizes = [1, 2, 1000, 4096, 65_537, 900_000, 1];
    let records: Vec<Bytes> = sizes.into_iter().map(noise).collect();
    for record in &records {
        log.append(0, record.clone()).await.unwrap();
    }
    assert!(contents(&*log, 0, sizes.len()).await == records);
    drop(log);
    let log = test.open().await;
    assert!(contents(&*log, 0, sizes.len()).await == records, "after opening it again");
}

async fn the_largest_record_is_taken_and_a_larger_one_refused_before_it_is_sent(test: UnderTest) {
    let (largest, larger) = test.broker.sizes;
    let log = test.open().await;
    log.append(0, noise(largest)).await.unwrap();
    let outcome = log.append(0, noise(larger)).await;
    let Err(AppendError::TooLarge(reason)) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains(&larger.to_string()), "{reason}");
    append_all(&*log, 0, &["small"]).await;
    let read = contents(&*log, 0, 2).await;
    assert!(read == [noise(largest), "small".into()]);
}

async fn concurrent_appends_are_all_there_once(test: UnderTest) {
    const APPENDS: usize = 2_000;
    let log = test.open().await;
    let append = |index: usize| log.append(0, index.to_string().into());
    let outcomes = join_all((0..APPENDS).map(append)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let read: HashSet<_> = contents(&*log, 0, APPENDS).await.into_iter().collect();
    let wanted: HashSet<Bytes> = (0..APPENDS).map(|index| index.to_string().into()).collect();
    assert!(read == wanted);
}

async fn a_sound_log_has_no_fatal_risk(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 0, &["a", "b"]).await;
    let risks = log.check().await.unwrap();
    assert!(!risks.iter().any(|risk| risk.fatal), "{risks:?}");
}

/// Bytes that are neither text nor alike.
fn noise(size: usize) -> Bytes {
    let mut state = size as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}
