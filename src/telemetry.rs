//! What the process tells about itself: log lines and metrics.

use crate::service::Service;
use crate::settings::{LogFormat, Telemetry};
use anyhow::{Context, anyhow};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use refold_adapters::BROKERS;
use refold_domain::metric::{self, Kind, Metric, Unit};
use refold_projections::store::kinds::KINDS;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Upper bounds of the buckets for durations, in seconds.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Upper bounds of the buckets for numbers of things.
const COUNTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, 4096.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts to write log lines to standard error.
///
/// # Errors
/// Where the filter cannot be read, or somebody writes them already.
pub fn write_log(settings: &Telemetry) -> anyhow::Result<()> {
    let mut filter =
        EnvFilter::try_new(&settings.log).with_context(|| format!("telemetry.log = {:?}", settings.log))?;
    let clients = BROKERS.iter().map(|broker| broker.client).chain(KINDS.iter().map(|kind| kind.client));
    for client in clients.flatten().filter(|client| !settings.log.contains(*client)) {
        filter = filter.add_directive(format!("{client}=off").parse()?);
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for eyes: files and pipes would hold escape codes instead.
    let lines = lines.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let started = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow!(error)).context("cannot write log lines")
}

/// Starts to count. Before anything is opened: handles made earlier count nowhere.
///
/// # Errors
/// Where somebody counts already.
pub fn count() -> anyhow::Result<()> {
    let mut builder = PrometheusBuilder::new();
    for Metric { name, unit, .. } in metric::ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
        let buckets: &[f64] = if *unit == Unit::Seconds { &SECONDS } else { &COUNTS };
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = builder.install_recorder().context("cannot count")?;
    metric::ALL.iter().for_each(describe);
    Collector::default().describe();
    RECORDER.set(handle).map_err(|_| anyhow!("somebody counts already"))
}

fn describe(Metric { name, kind, unit, help }: &Metric) {
    let unit = match unit {
        Unit::Count => metrics::Unit::Count,
        Unit::Bytes => metrics::Unit::Bytes,
        Unit::Seconds => metrics::Unit::Seconds,
    };
    match kind {
        Kind::Counter => describe_counter!(*name, unit, *help),
        Kind::Gauge => describe_gauge!(*name, unit, *help),
        Kind::Histogram => describe_histogram!(*name, unit, *help),
    }
}

/// All figures in the text format of Prometheus.
pub async fn metrics(service: &Service) -> String {
    for partition in 0..service.progress.partitions() {
        tell_partition(service, partition).await;
    }
    rendered()
}

/// The same without what is asked of a service, of which there may be none yet.
pub fn rendered() -> String {
    Collector::default().collect();
    RECORDER.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Empties the buffers of histograms from time to time, which rendering alone does not.
pub async fn keep_up() {
    const EVERY: std::time::Duration = std::time::Duration::from_secs(5);
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        if let Some(recorder) = RECORDER.get() {
            recorder.run_upkeep();
        }
    }
}

async fn tell_partition(service: &Service, partition: u32) {
    let Some(head) = service.progress.state(partition).head else {
        return;
    };
    let label = [(metric::PARTITION, partition.to_string())];
    if let Some(end) = service.end(partition).await {
        #[expect(clippy::cast_precision_loss, reason = "a lag needs no more than 52 bits")]
        gauge!(metric::PROJECTOR_LAG, &label).set(end.saturating_sub(head.position.offset) as f64);
    }
    for (name, value) in [
        (metric::GATE_COMMITS, head.seen.commits),
        (metric::GATE_ACCEPTED, head.seen.accepted),
        (metric::GATE_VOIDS, head.seen.voids),
        (metric::GATE_DUPLICATES, head.seen.duplicates),
        (metric::GATE_FORKS, head.seen.forks),
        (metric::LOG_GAPS, head.seen.gaps),
        (metric::GATE_FOREIGN, head.seen.foreign),
        (metric::GATE_UNREADABLE, head.seen.unreadable),
    ] {
        counter!(name, &label).absolute(value);
    }
}
