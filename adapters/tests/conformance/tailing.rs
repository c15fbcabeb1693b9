//! Readers at the end of a partition: they wait, and miss nothing.

use crate::brokers::UnderTest;
use crate::case::{Case, cases};
use crate::records::{append_all, take};
use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use refold_domain::log::{EventLog, Records};
use std::sync::Arc;

pub(crate) const CASES: &[Case] = cases![
    a_reader_waits_for_what_comes,
    a_reader_waits_for_an_offset_that_is_yet_to_come,
    many_readers_see_the_same,
    a_reader_at_the_tail_sees_every_record_once_and_in_order,
    a_reader_that_has_fallen_behind_catches_up,
];

async fn a_reader_waits_for_what_comes(test: UnderTest) {
    let log = test.open().await;
    let mut records = log.read(0, 0).await.unwrap();
    assert!(records.next().now_or_never().is_none(), "nothing is there yet");
    append_all(&*log, 0, &["a"]).await;
    assert_eq!(take(&mut records, 1).await[0].1, "a");
    assert!(records.next().now_or_never().is_none(), "no more than that");
    append_all(&*log, 1, &["elsewhere"]).await;
    append_all(&*log, 0, &["b", "c"]).await;
    let read = take(&mut records, 2).await;
    assert_eq!((&read[0].1[..], &read[1].1[..]), (&b"b"[..], &b"c"[..]));
}

async fn a_reader_waits_for_an_offset_that_is_yet_to_come(test: UnderTest) {
    let log = test.open().await;
    append_all(&*log, 0, &["a"]).await;
    let offset = take(&mut log.read(0, 0).await.unwrap(), 1).await[0].0;
    let mut records = log.read(0, offset + 1).await.unwrap();
    append_all(&*log, 0, &["b"]).await;
    assert_eq!(take(&mut records, 1).await[0].1, "b");
}

async fn many_readers_see_the_same(test: UnderTest) {
    const READERS: usize = 32;
    const RECORDS: usize = 500;
    let log = test.open().await;
    let half = (0..RECORDS / 2).map(|index| index.to_string()).collect::<Vec<_>>();
    append_all(&*log, 0, &half.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let readers = join_all((0..READERS).map(|_| log.read(0, 0))).await;
    let read = readers
        .into_iter()
        .map(|reader| tokio::spawn(async move { take(&mut reader.unwrap(), RECORDS).await }));
    let read: Vec<_> = read.collect();
    append_all(&*log, 0, &half.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let read: Vec<_> = join_all(read).await.into_iter().map(Result::unwrap).collect();
    assert!(read.iter().all(|records| *records == read[0]));
}

async fn a_reader_at_the_tail_sees_every_record_once_and_in_order(test: UnderTest) {
    const WRITERS: usize = 8;
    const EACH: usize = 1_500;
    let log = test.open().await;
    let records = log.read(0, 0).await.unwrap();
    let reader = tokio::spawn(read_numbered(records, WRITERS, EACH));
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write_numbered(Arc::clone(&log), writer, EACH)));
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    reader.await.unwrap();
}

/// Larger in all than what a log may keep in memory, so that a reader that starts late has to catch up.
async fn a_reader_that_has_fallen_behind_catches_up(test: UnderTest) {
    const RECORDS: usize = 24;
    const BYTES: usize = 500_000;
    let log = test.open().await;
    let mut records = log.read(0, 0).await.unwrap();
    for index in 0..RECORDS {
        log.append(0, vec![u8::try_from(index).unwrap(); BYTES].into()).await.unwrap();
    }
    let read = take(&mut records, RECORDS).await;
    assert!(read.is_sorted_by(|(a, _), (b, _)| a < b));
    assert!(read.iter().enumerate().all(|(index, (_, record))| usize::from(record[0]) == index));
    append_all(&*log, 0, &["live"]).await;
    assert_eq!(take(&mut records, 1).await[0].1, "live");
}

async fn write_numbered(log: Arc<dyn EventLog>, writer: usize, count: usize) {
    for number in 0..count {
        log.append(0, Bytes::from(format!("{writer}.{number}"))).await.unwrap();
    }
}

/// Each writer waits for its confirms, so its numbers come in order, one by one.
async fn read_numbered(mut records: Records, writers: usize, count: usize) {
    let mut next = vec![0; writers];
    let mut last = None;
    for _ in 0..writers * count {
        let (offset, record) = take(&mut records, 1).await.remove(0);
        assert!(last < Some(offset));
        last = Some(offset);
        let text = str::from_utf8(&record).unwrap();
        let (writer, number) = text.split_once('.').unwrap();
        let expected = &mut next[writer.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<usize>().unwrap(), *expected);
        *expected += 1;
    }
}
