//! `refold check`: is everything in order to serve?

use super::report::{Check, Report};
use crate::access::exposure;
use crate::access::secrets::{self, Place};
use crate::access::table::Table;
use crate::genesis;
use crate::health::harm;
use crate::http::known_routes;
use crate::process;
use crate::service::{folded_log, log_config, refuse_other_logs, store_place};
use crate::settings::access::Need;
use crate::settings::{Settings, role};
use anyhow::{Context, Result};
use refold_adapters::lock::{DataDir, ensure_no_file};
use refold_adapters::{Access, Config, embedded};
use refold_domain::log::{EventLog, LogError, Risk};
use refold_projections::definition;
use refold_projections::projector::{Ahead, ahead};
use refold_projections::state::{Head, Skipped};
use refold_projections::store::{Limit, Range, Space, Store, Wanted};
use std::fs::OpenOptions;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use uuid::Uuid;

const RESTORE: &str = "restore the data directory from a backup, or start a new log in another directory";
const GONE: &str = "put the log back: its files (log.sqlite*), what its server had on disk, or a backup; if it is lost for good, \
                    the store has all that is left of it: keep a copy before you run `refold store empty` to start with nothing";
const MADE_BY_START: &str =
    "the first start makes it, too; if there was one, put back what its server had on disk";
const PUT_BACK: &str = "do as it says; nothing was changed";
const REACHABLE: &str = "see that it runs and can be reached from here; a start waits for it";
const NEWER: &str = "start a newer refold; this one leaves the partition alone";
const WRITABLE: &str = "see that the disk is not mounted read-only, and that refold's user may write there";
const HARM: &str = "look for the cause at the disk and at whatever else touches the log";
const UNREADABLE: &str = "ask the makers of refold for a version that reads it; the event stays on the log";

/// A store, and the log that it was folded from.
type Found = (Arc<dyn Store>, Option<Uuid>);

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
    let mut checks = vec![usable(settings), secret(settings)];
    let told = |path: &PathBuf| Check::risk("secret", secrets::told(path), secrets::PRIVATE);
    checks.extend(settings.told_secrets.iter().map(told));
    let too_few = process::too_few_descriptors(settings.http.connections_max);
    checks.extend(too_few.map(|found| Check::risk("descriptors", found, process::MORE_DESCRIPTORS)));
    checks.extend(definitions(settings));
    checks.extend(log_and_store(settings).await);
    Report { checks }
}

async fn log_and_store(settings: &Settings) -> Vec<Check> {
    let log_file = (settings.log.broker == embedded::NAME).then(|| settings.data_dir.join(embedded::FILE));
    match &log_file {
        Some(file) if !file.exists() => return vec![no_log(settings).await],
        None if !settings.data_dir.exists() => return data(settings).await,
        _ => {}
    }
    match DataDir::look(&settings.data_dir) {
        Ok(_looking) => match log_file.and_then(|file| writable(&file)) {
            None => data(settings).await,
            Some(problem) => vec![problem],
        },
        Err(error) => {
            let remedy = "ask the process that holds it, at /readyz, or stop it first";
            vec![Check::risk("data", format!("log and store were not looked at: {error:#}"), remedy)]
        }
    }
}

async fn no_log(settings: &Settings) -> Check {
    if let Err(error) = ensure_no_file(&settings.data_dir) {
        return Check::failed("data", error.to_string(), "until then a start is refused");
    }
    match store(settings).await {
        Ok(None) => return Check::ok("log", "there is none yet; the first start makes it"),
        Ok(Some(_)) => {}
        Err(error) => return unusable_store(settings, &error),
    }
    let found = "there is none, but there is a store that was folded from one";
    Check::failed("log", found, GONE)
}

/// Whether it cannot be written. Opening a file to write to it changes nothing.
fn writable(file: &Path) -> Option<Check> {
    let error = OpenOptions::new().write(true).open(file).err()?;
    Some(Check::failed("data", format!("cannot write {}: {error}", file.display()), WRITABLE))
}

fn usable(settings: &Settings) -> Check {
    match role::refuse_alone(settings) {
        Ok(()) => Check::ok("settings", format!("usable; data in {}", settings.data_dir.display())),
        Err(error) => Check::failed("settings", format!("{error:#}"), "until then a start is refused"),
    }
}

fn unusable(error: &anyhow::Error) -> Check {
    Check::failed("settings", format!("{error:#}"), "correct them; config/default.toml explains every key")
}

/// Where the secret of tokens is; it is not shown, nor made.
fn secret(settings: &Settings) -> Check {
    let previous =
        if settings.auth.previous_secret.is_empty() { "" } else { "; the previous one is taken, too" };
    let found = secrets::place(settings).and_then(|place| match place {
        Place::Settings => secrets::find(settings).map(|_| "that of tokens is in the settings".to_owned()),
        Place::File(path) if path.exists() => {
            secrets::find(settings).map(|_| format!("that of tokens is in {}", path.display()))
        }
        Place::File(path) => {
            Ok(format!("there is none for tokens yet; the first start makes {}", path.display()))
        }
    });
    match found {
        Ok(found) => Check::ok("secret", format!("{found}{previous}")),
        Err(error) => Check::failed("secret", format!("{error:#}"), "until then a start is refused"),
    }
}

/// The definitions, what each route needs, and where the one tells what the other protects.
fn definitions(settings: &Settings) -> Vec<Check> {
    let (mut checks, mut loaded) = (Vec::new(), Vec::new());
    match definition::load(settings.projections.dir.as_deref(), &settings.vehicles.suspicious) {
        Ok(definitions) => {
            let names: Vec<_> = definitions.iter().map(|definition| definition.name.as_str()).collect();
            checks.push(Check::ok("definitions", names.join(", ")));
            loaded = definitions;
        }
        Err(errors) => checks.push(Check::failed("definitions", errors.to_string(), "correct the files")),
    }
    match exposure::closed(&settings.access, &known_routes(), loaded.iter()) {
        Ok(table) => {
            checks.push(Check::ok("access", shown(&table)));
            let risks = exposure::risks(&table, loaded.iter());
            checks.extend(risks.into_iter().map(|risk| Check::risk("access", risk.found, risk.remedy)));
        }
        Err(error) => checks.push(Check::failed("access", error.to_string(), "correct [access]")),
    }
    checks
}

/// The table: a line for each of the needs, with its routes.
fn shown(table: &Table) -> String {
    let line = |need: Need| {
        let of_need = table.entries().iter().filter(|entry| entry.need == need);
        let mut routes: Vec<_> = of_need.map(|entry| (&entry.path, entry.to_string())).collect();
        routes.sort();
        let routes: Vec<_> = routes.into_iter().map(|(_, route)| route).collect();
        format!("{need}: {}", if routes.is_empty() { "none".to_owned() } else { routes.join(", ") })
    };
    Need::ALL.map(line).join("\n")
}

async fn data(settings: &Settings) -> Vec<Check> {
    let log = match refold_adapters::open(&Config { access: Access::Look, ..log_config(settings) }).await {
        Ok(log) => log,
        Err(error) => {
            let store = store(settings).await;
            let was_there = matches!(&store, Ok(Some((_, Some(_)))));
            let log = unusable_log(settings, &error, was_there);
            return [vec![log], unread_store(settings, store).await].concat();
        }
    };
    let mut checks = match log.check().await {
        Ok(risks) => of_risks("log", risks),
        Err(error) => vec![Check::failed("log", error.to_string(), RESTORE)],
    };
    let partitions =
        NonZeroU32::new(settings.log.partitions).expect("the settings allow no log without partitions");
    let store = store(settings).await;
    let folded = store.as_ref().ok().and_then(|store| store.as_ref()?.1);
    let found = genesis::find(log.as_ref(), partitions).await;
    let belongs = found.and_then(|found| refuse_other_logs(&settings.log, folded, found).map(|()| found));
    match belongs {
        Ok(None) => {
            checks.push(Check::ok("log", "it is new or half made; the next start finishes it"));
            checks.extend(unread_store(settings, store).await);
        }
        Ok(Some(id)) => {
            checks.push(Check::ok("log", format!("{id} with {partitions} partitions")));
            checks.extend(read_models(settings, log.as_ref(), store).await);
        }
        Err(error) => checks.push(Check::failed("log", format!("{error:#}"), PUT_BACK)),
    }
    checks
}

/// `was_there`: there is a store that was folded from it.
fn unusable_log(settings: &Settings, error: &anyhow::Error, was_there: bool) -> Check {
    let found = format!("{error:#}");
    match error.downcast_ref() {
        _ if settings.log.broker == embedded::NAME => Check::failed("log", found, RESTORE),
        Some(LogError::Away(_)) => Check::failed("log", found, REACHABLE),
        Some(LogError::Missing(_)) if was_there => Check::failed("log", found, GONE),
        Some(LogError::Missing(_)) if settings.log.create => Check::risk("log", found, MADE_BY_START),
        _ => Check::failed("log", found, PUT_BACK),
    }
}

/// Whether the store can be used, where there is no log to compare it with.
async fn unread_store(settings: &Settings, store: Result<Option<Found>>) -> Vec<Check> {
    let found = match store {
        Ok(None) => "there is none yet; the next start makes it",
        Ok(Some(_)) => "it can be used; it is compared with the log when there is one",
        Err(error) => return vec![unusable_store(settings, &error)],
    };
    [store_risks(settings).await, vec![Check::ok("store", found)]].concat()
}

async fn store_risks(settings: &Settings) -> Vec<Check> {
    let risks = async { store_place(settings)?.risks().await };
    match risks.await {
        Ok(risks) => of_risks("store", risks),
        Err(error) => vec![unusable_store(settings, &error)],
    }
}

/// The store, if there is one, and the log that it was folded from.
async fn store(settings: &Settings) -> Result<Option<Found>> {
    let Some(store) = store_place(settings)?.look().await? else {
        return Ok(None);
    };
    let folded = folded_log(store.as_ref(), settings.log.partitions).await?;
    Ok(Some((store, folded)))
}

fn of_risks(name: &str, risks: Vec<Risk>) -> Vec<Check> {
    let check = |Risk { fatal, found, remedy }| {
        let made = if fatal { Check::failed } else { Check::risk };
        made(name.to_owned(), found, remedy)
    };
    risks.into_iter().map(check).collect()
}

async fn read_models(settings: &Settings, log: &dyn EventLog, store: Result<Option<Found>>) -> Vec<Check> {
    let found = match store {
        Ok(Some((store, _))) => folded(settings.log.partitions, store.as_ref(), log).await,
        Ok(None) => Ok(vec![Check::ok("store", "there is none yet; the next start folds it from the log")]),
        Err(error) => return vec![unusable_store(settings, &error)],
    };
    let found = found.unwrap_or_else(|error| vec![unusable_store(settings, &error)]);
    [store_risks(settings).await, found].concat()
}

fn unusable_store(settings: &Settings, error: &anyhow::Error) -> Check {
    let remedy = store_place(settings).map_or(PUT_BACK, |place| place.remedy(error));
    Check::failed("store", format!("{error:#}"), remedy)
}

async fn folded(partitions: u32, store: &dyn Store, log: &dyn EventLog) -> Result<Vec<Check>> {
    store.check().await?;
    let (mut passed, mut others) = (Vec::new(), Vec::new());
    for partition in 0..partitions {
        let Some(head) = store.load(partition, Wanted::new()).await?.head else {
            passed.push("-".to_owned());
            continue;
        };
        let Ahead { end, too_new } =
            ahead(log, partition, &head).await.with_context(|| format!("partition {partition}"))?;
        passed.push(reached(&head, end));
        let stops = |reason| Check::failed("log", format!("partition {partition} stops {reason}"), NEWER);
        others.extend(too_new.map(stops));
        let did = |harm| Check::risk("log", format!("partition {partition}: {harm}"), HARM);
        others.extend(harm(&head.seen).map(did));
        others.extend(skipped(store, partition).await?);
    }
    let mut checks = vec![Check::ok("store", format!("folded up to offsets {}", passed.join(", ")))];
    checks.append(&mut others);
    Ok(checks)
}

/// How far a partition was folded, and how far its log goes on.
fn reached(head: &Head, end: Option<u64>) -> String {
    let offset = head.position.offset;
    match end {
        Some(end) if end > offset => format!("{offset} of {end}"),
        _ => offset.to_string(),
    }
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
