//! What backing up and restoring the embedded log share: how a copy is made, watched and found whole.

use super::serve::stopped;
use crate::genesis;
use crate::settings::Settings;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use refold_adapters::embedded::copy::{Copy, Progress};
use refold_adapters::embedded::{EmbeddedLog, NAME};
use refold_domain::log::{End, EventLog, Offset};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// What is in a log that was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Contents {
    /// The log's id.
    pub(super) log: Uuid,
    /// The offset of each partition's last record.
    pub(super) last_offsets: Vec<Offset>,
    /// The size of the file.
    pub(super) bytes: u64,
}

/// Refuses another broker than the one whose log is a file.
///
/// # Errors
/// What to do instead.
pub(super) fn ensure_embedded(broker: &str) -> Result<()> {
    ensure!(
        broker == NAME,
        "the log is kept by {broker} (log.broker), not in a file of refold's: back it up and restore it with the means \
         of {broker}"
    );
    Ok(())
}

/// Makes a copy: shows on a terminal how far it is, and leaves nothing behind if it is stopped.
///
/// # Errors
/// As `make`, or that it was stopped.
pub(super) async fn copied(
    make: impl FnOnce(&mut dyn FnMut(Progress) -> Result<()>) -> Result<Copy> + Send + 'static,
) -> Result<Copy> {
    let stopped = stopped()?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let bar = bar();
    let mut copying = spawn_blocking(move || {
        let copy = make(&mut |progress| {
            show(&bar, progress);
            ensure!(!asked.load(Ordering::Relaxed), "it was stopped; nothing is left of the copy");
            Ok(())
        });
        bar.finish_and_clear();
        copy
    });
    tokio::select! {
        copy = &mut copying => return copy?,
        () = stopped => stop.store(true, Ordering::Relaxed),
    }
    copying.await?
}

/// What a log has in it that is whole, as `refold check` sees it.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn whole(log: &EmbeddedLog, file: &Path, settings: &Settings) -> Result<Contents> {
    if let Some(risk) = log.check().await?.into_iter().find(|risk| risk.fatal) {
        bail!("{}: {}", risk.found, risk.remedy);
    }
    let partitions = NonZeroU32::new(settings.log.partitions).context("log.partitions is 0")?;
    let found = genesis::find(log, partitions).await?;
    let log_id = found.with_context(|| {
        format!("the log in {} is empty or half made: its service was never ready", file.display())
    })?;
    let mut last_offsets = Vec::new();
    for partition in 0..partitions.get() {
        let End::Last(last) = log.bounds(partition).await?.end else {
            bail!("partition {partition} is empty");
        };
        last_offsets.push(last);
    }
    Ok(Contents { log: log_id, last_offsets, bytes: fs::metadata(file)?.len() })
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, last_offsets, bytes } = self;
        let records: u64 = last_offsets.iter().map(|last| last + 1).sum();
        let last_offsets: Vec<_> = last_offsets.iter().map(Offset::to_string).collect();
        let (count, bytes) = (HumanCount(records), HumanBytes(*bytes));
        write!(f, "the log {log}: {count} records, {bytes}, up to offsets {}", last_offsets.join(", "))
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{percent:>3}% {bar:24} {human_pos} of {human_len} records, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
    bar
}

fn show(bar: &ProgressBar, Progress { records, of }: Progress) {
    bar.set_length(of);
    bar.set_position(records);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_broker_keeps_its_own_backups() {
        ensure_embedded("embedded").unwrap();
        let error = ensure_embedded("kafka").unwrap_err().to_string();
        assert!(error.contains("the means of kafka"), "{error}");
    }

    #[test]
    fn people_read_what_is_in_it() {
        let contents = Contents { log: Uuid::nil(), last_offsets: vec![1_499, 0], bytes: 2_048 };
        assert_eq!(
            contents.to_string(),
            "the log 00000000-0000-0000-0000-000000000000: 1,501 records, 2.00 KiB, up to offsets 1499, 0"
        );
    }
}
