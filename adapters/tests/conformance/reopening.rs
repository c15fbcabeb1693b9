//! A log that was closed and opened again holds everything, and goes on behind it.

use crate::brokers::UnderTest;
use crate::case::{Case, cases};
use crate::records::{append_all, contents, take};

pub(crate) const CASES: &[Case] =
    cases![a_reopened_log_holds_everything_and_goes_on, closing_and_opening_many_times_loses_nothing,];

async fn a_reopened_log_holds_everything_and_goes_on(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 0, &["a", "b"]).await;
    append_all(&*log, 2, &["x"]).await;
    let (before, bounds) = (take(&mut log.read(0, 0).await.unwrap(), 2).await, log.bounds(0).await.unwrap());
    drop(log);

    let log = test.open().await;
    assert_eq!(log.bounds(0).await.unwrap(), bounds);
    append_all(&*log, 0, &["c"]).await;
    let after = take(&mut log.read(0, 0).await.unwrap(), 3).await;
    assert_eq!(after[..2], before);
    assert!(after[2].0 > before[1].0 && after[2].1 == "c", "{after:?}");
    assert_eq!(contents(&*log, 2, 1).await, ["x"]);
    assert_eq!(log.bounds(1).await.unwrap().first, None);
}

async fn closing_and_opening_many_times_loses_nothing(test: UnderTest) {
    for round in 1..=5 {
        let log = test.open().await;
        append_all(&*log, 1, &["a"]).await;
        assert_eq!(contents(&*log, 1, round).await.len(), round);
    }
}
