//! The decorator around logs that misbehave.

use super::*;
use futures::future::pending;
use futures::stream;
use metrics_exporter_prometheus::PrometheusBuilder;
use refold_domain::log::End;

/// Never confirms and never answers.
struct Silent;

#[async_trait]
impl EventLog for Silent {
    async fn append(&self, _: u32, _: Bytes) -> Result<(), AppendError> {
        pending().await
    }

    async fn read(&self, _: u32, _: Offset) -> Result<Records, LogError> {
        pending().await
    }

    async fn bounds(&self, _: u32) -> Result<Bounds, LogError> {
        pending().await
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        pending().await
    }
}

/// Confirms partition 0, refuses the others, and breaks after two records.
struct Moody;

#[async_trait]
impl EventLog for Moody {
    async fn append(&self, partition: u32, _: Bytes) -> Result<(), AppendError> {
        if partition == 0 { Ok(()) } else { Err(AppendError::Refused("no".into())) }
    }

    async fn read(&self, _: u32, _: Offset) -> Result<Records, LogError> {
        let read = [Ok((0, "apple".into())), Ok((1, "pie".into())), Err(LogError::Away("gone".into()))];
        Ok(stream::iter(read).boxed())
    }

    async fn bounds(&self, _: u32) -> Result<Bounds, LogError> {
        Ok(Bounds { first: None, end: End::Empty })
    }

    async fn check(&self) -> Result<Vec<Risk>, LogError> {
        Err(LogError::Away("away".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_never_confirmed_is_unknown() {
    let start = Instant::now();
    let outcome = Observed::new(Arc::new(Silent), "silent").append(0, Bytes::new()).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    assert_eq!(start.elapsed(), Duration::from_millis(APPEND_TIMEOUT_MS));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_never_answers_is_an_error() {
    let log = Observed::new(Arc::new(Silent), "silent");
    assert_eq!(log.read(0, 0).await.err().unwrap().to_string(), "read: no answer within 5000 ms");
    assert_eq!(log.bounds(0).await.err().unwrap().to_string(), "bounds: no answer within 5000 ms");
    assert_eq!(log.check().await.err().unwrap().to_string(), "check: no answer within 60000 ms");
}

#[tokio::test]
async fn counts_what_passes() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let log = metrics::with_local_recorder(&recorder, || Observed::new(Arc::new(Moody), "moody"));
    log.append(0, "apple pie".into()).await.unwrap();
    log.append(1, "pie".into()).await.unwrap_err();
    assert_eq!(log.read(0, 0).await.unwrap().count().await, 3);
    log.bounds(0).await.unwrap();
    log.check().await.unwrap_err();

    let text = recorder.handle().render();
    for line in [
        "refold_log_appends_total{broker=\"moody\",outcome=\"confirmed\"} 1",
        "refold_log_appends_total{broker=\"moody\",outcome=\"refused\"} 1",
        "refold_log_appends_total{broker=\"moody\",outcome=\"unknown\"} 0",
        "refold_log_append_duration_seconds_count{broker=\"moody\"} 2",
        "refold_log_appended_bytes_total{broker=\"moody\"} 9",
        "refold_log_read_records_total{broker=\"moody\"} 2",
        "refold_log_read_bytes_total{broker=\"moody\"} 8",
        "refold_log_read_errors_total{broker=\"moody\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
