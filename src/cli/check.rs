//! `refold check`: is everything in order to serve?

use super::report::{Check, Report};
use crate::genesis;
use crate::service::log_config;
use crate::settings::Settings;
use anyhow::{Context, Result};
use refold_adapters::lock::DataDir;
use refold_domain::log::EventLog;
use refold_projections::definition;
use refold_projections::projector::check_position;
use refold_projections::state::Skipped;
use refold_projections::store::{Limit, Range, Space, SqliteStore, Store, Wanted};
use std::num::NonZeroU32;
use std::ops::Bound;
use std::process::ExitCode;
use uuid::Uuid;

const RESTORE: &str = "restore the data directory from a backup, or start a new log in another directory";
const EMPTY: &str = "run `refold store empty`: the next start folds the store anew from the log";
const UNREADABLE: &str = "ask the makers of refold for a version that reads it; the event stays on the log";

/// How many events of a partition that cannot be read are listed, the oldest first.
const SKIPPED_SHOWN_MAX: usize = 20;

/// Checks what can be checked with these settings, prints the report, and answers with its exit code.
///
/// # Errors
/// When the report cannot be printed.
pub fn run(settings: Result<Settings>, json: bool) -> Result<ExitCode> {
    let report = match settings {
        Ok(settings) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(checked(&settings))
        }
        Err(error) => Report { checks: vec![unusable(&error)] },
    };
    report.print(json)?;
    Ok(report.exit_code())
}

async fn checked(settings: &Settings) -> Report {
    let mut checks = vec![usable(settings), definitions(settings)];
    let log_file = settings.data_dir.join(refold_adapters::embedded::FILE);
    if !log_file.exists() {
        checks.push(no_log(settings));
        return Report { checks };
    }
    match DataDir::lock(&settings.data_dir) {
        Ok(_held) => checks.extend(data(settings).await),
        Err(error) => {
            let remedy = "ask the process that holds it, at /readyz, or stop it first";
            checks.push(Check::risk("data", format!("log and store were not looked at: {error:#}"), remedy));
        }
    }
    Report { checks }
}

fn no_log(settings: &Settings) -> Check {
    if !SqliteStore::exists(&settings.data_dir) {
        return Check::ok("log", "there is none yet; the first start makes it");
    }
    let found = "there is none, but there is a store that was folded from one";
    Check::failed("log", found, "put the log back, or run `refold store empty` to start a new one")
}

fn usable(settings: &Settings) -> Check {
    Check::ok("settings", format!("usable; data in {}", settings.data_dir.display()))
}

fn unusable(error: &anyhow::Error) -> Check {
    Check::failed("settings", format!("{error:#}"), "correct them; config/default.toml explains every key")
}

fn definitions(settings: &Settings) -> Check {
    match definition::load(settings.projections.dir.as_deref()) {
        Ok(definitions) => {
            let names: Vec<_> = definitions.iter().map(|definition| definition.name.as_str()).collect();
            Check::ok("definitions", names.join(", "))
        }
        Err(errors) => Check::failed("definitions", errors.to_string(), "correct the files"),
    }
}

async fn data(settings: &Settings) -> Vec<Check> {
    let log = match refold_adapters::open(&log_config(settings)).await {
        Ok(log) => log,
        Err(error) => return vec![Check::failed("log", format!("{error:#}"), RESTORE)],
    };
    let mut checks = risks(log.as_ref()).await;
    let partitions =
        NonZeroU32::new(settings.log.partitions).expect("the settings allow no log without partitions");
    match genesis::find(log.as_ref(), partitions).await {
        Ok(None) => checks.push(Check::ok("log", "it is half made; the next start finishes it")),
        Ok(Some(id)) => {
            checks.push(Check::ok("log", format!("{id} with {partitions} partitions")));
            checks.extend(read_models(settings, log.as_ref(), id).await);
        }
        Err(error) => {
            checks.push(Check::failed("log", format!("{error:#}"), "do as it says; nothing was changed"));
        }
    }
    checks
}

async fn risks(log: &dyn EventLog) -> Vec<Check> {
    match log.check().await {
        Ok(risks) => risks
            .into_iter()
            .map(|risk| {
                let made = if risk.fatal { Check::failed } else { Check::risk };
                made("log".to_owned(), risk.found, risk.remedy)
            })
            .collect(),
        Err(error) => vec![Check::failed("log", error.to_string(), RESTORE)],
    }
}

async fn read_models(settings: &Settings, log: &dyn EventLog, id: Uuid) -> Vec<Check> {
    if !SqliteStore::exists(&settings.data_dir) {
        return vec![Check::ok("store", "there is none yet; the next start folds it from the log")];
    }
    folded(settings, log, id)
        .await
        .unwrap_or_else(|error| vec![Check::failed("store", format!("{error:#}"), EMPTY)])
}

async fn folded(settings: &Settings, log: &dyn EventLog, id: Uuid) -> Result<Vec<Check>> {
    let store = SqliteStore::open(&settings.data_dir)?;
    let mut checks = vec![Check::ok("store", positions(settings, &store, log, id).await?)];
    for partition in 0..settings.log.partitions {
        checks.extend(skipped(&store, partition).await?);
    }
    Ok(checks)
}

/// The first events of a partition that could not be read.
async fn skipped(store: &dyn Store, partition: u32) -> Result<Vec<Check>> {
    let all = Range {
        space: Space::Unreadable,
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        reverse: false,
        limit: Limit::entries(SKIPPED_SHOWN_MAX),
    };
    let scanned = store.scan(partition, all).await?;
    let check = |(_, entry): &(Vec<u8>, Vec<u8>)| {
        let Skipped { event, reason } = serde_json::from_slice(entry)?;
        Ok(Check::risk("events", format!("{event} cannot be read and was skipped: {reason}"), UNREADABLE))
    };
    scanned.entries.iter().map(check).collect()
}

async fn positions(settings: &Settings, store: &dyn Store, log: &dyn EventLog, id: Uuid) -> Result<String> {
    let mut passed = Vec::new();
    for partition in 0..settings.log.partitions {
        let loaded = store.load(partition, Wanted::new()).await?;
        let Some(head) = loaded.head else {
            passed.push("-".to_owned());
            continue;
        };
        anyhow::ensure!(head.log == id, "the store belongs to the log {}, not to {id}", head.log);
        check_position(log, partition, &head).await.with_context(|| format!("partition {partition}"))?;
        passed.push(head.position.offset.to_string());
    }
    Ok(format!("folded up to offsets {}", passed.join(", ")))
}
