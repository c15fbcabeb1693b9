//! `refold restore`: puts a backup in place as the log of a data directory that has none.

use super::Files;
use super::copying::{Contents, copied, ensure_embedded, whole};
use crate::process;
use crate::service::{folded_log, store_place};
use crate::settings::Settings;
use anyhow::{Context, Result, ensure};
use clap::Args;
use refold_adapters::embedded::copy::{Copy, ensure_alone};
use refold_adapters::embedded::{EmbeddedLog, FILE};
use refold_adapters::lock::DataDir;
use refold_projections::projector::ahead;
use refold_projections::store::{Place, Store, Wanted};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use uuid::Uuid;

/// What stands below its help.
pub const EXAMPLES: &str = "Examples:
  refold restore /backups/refold.sqlite
  REFOLD__DATA_DIR=/var/lib/refold refold restore /backups/refold.sqlite --json

Then start the service. Where a log is in the way, move it away first, with all that its name begins:
  mkdir old && mv data/log.sqlite* old/";

/// Where from.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// The backup; it is only read
    pub file: PathBuf,
    /// Print what was restored as one JSON object
    #[arg(long)]
    pub json: bool,
    /// More settings files.
    #[command(flatten)]
    pub files: Files,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Summary {
    data_dir: PathBuf,
    #[serde(flatten)]
    contents: Contents,
    store: StoreState,
}

/// What became of the read models.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
enum StoreState {
    /// There were none.
    None,
    /// They were folded from the log as it is now.
    Kept,
    /// They were not.
    Removed { because: String },
    /// Nobody can say.
    Unreadable { because: String },
}

/// Restores a backup, and says what is in it.
///
/// # Errors
/// Why it was not restored.
pub fn run(settings: &Settings, options: &Options) -> Result<ExitCode> {
    process::keep_files_private();
    ensure_embedded(&settings.log.broker)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(restored(settings, &options.file))?;
    let mut output = io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut output, &summary)?;
        writeln!(output)?;
    } else {
        let Summary { data_dir, contents, store } = summary;
        writeln!(output, "{} holds {contents}\n{store}", data_dir.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn restored(settings: &Settings, file: &Path) -> Result<Summary> {
    let (partitions, data_dir) = (settings.log.partitions, settings.data_dir.clone());
    let unusable = || format!("cannot restore {}; nothing was changed", file.display());
    let place = store_place(settings).with_context(unusable)?;
    let backup = EmbeddedLog::look_at(file.to_owned(), partitions).with_context(unusable)?;
    whole(&backup, file, settings).await.with_context(unusable)?;
    drop(backup);
    let held = DataDir::lock(&data_dir)?;
    ensure_no_log(held.path())?;
    let (from, to) = (file.to_owned(), data_dir.clone());
    let copy = copied(move |progress| Copy::restore(&from, &to, progress)).await.with_context(unusable)?;
    let log = copy.look(partitions)?;
    let contents = whole(&log, copy.path(), settings).await.with_context(unusable)?;
    drop(log);
    // Before the store is touched: without both, the next start would not notice that a log is missing.
    copy.put(false)?;
    let log = EmbeddedLog::look(&data_dir, partitions)?;
    let store = tidied(&place, partitions, &log, contents.log).await?;
    Ok(Summary { data_dir, contents, store })
}

fn ensure_no_log(data_dir: &Path) -> Result<()> {
    let log = data_dir.join(FILE);
    ensure!(
        log.symlink_metadata().is_err(),
        "there is a log in {} already: move it away ({FILE} and whatever begins with that name), or restore into another \
         data_dir; nothing was changed",
        data_dir.display()
    );
    ensure_alone(&log).context("what is left of another log is in the way; nothing was changed")
}

/// Takes the store away unless it was folded from this very log.
async fn tidied(place: &Place, partitions: u32, log: &EmbeddedLog, id: Uuid) -> Result<StoreState> {
    let store = match place.look().await {
        Ok(Some(store)) => store,
        Ok(None) => return Ok(StoreState::None),
        Err(error) => return Ok(unreadable(place, &error)),
    };
    let because = match parted(store.as_ref(), partitions, log, id).await {
        Ok(Some(because)) => because,
        Ok(None) => return Ok(StoreState::Kept),
        Err(error) => return Ok(unreadable(place, &error)),
    };
    drop(store);
    let removed = place.remove().await;
    removed.context("the log is restored; run `refold store empty` before the next start")?;
    Ok(StoreState::Removed { because })
}

/// Why a store was not folded from this log, if it was not.
async fn parted(store: &dyn Store, partitions: u32, log: &EmbeddedLog, id: Uuid) -> Result<Option<String>> {
    if let Some(folded) = folded_log(store, partitions).await?.filter(|folded| *folded != id) {
        return Ok(Some(format!("they were folded from the log {folded}")));
    }
    for partition in 0..partitions {
        if let Some(head) = store.load(partition, Wanted::new()).await?.head
            && let Err(error) = ahead(log, partition, &head).await
        {
            return Ok(Some(format!("partition {partition}: {error:#}")));
        }
    }
    Ok(None)
}

fn unreadable(place: &Place, error: &anyhow::Error) -> StoreState {
    StoreState::Unreadable { because: format!("{error:#}: {}", place.remedy(error)) }
}

impl fmt::Display for StoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("There were no read models; the next start folds them."),
            Self::Kept => f.write_str("The read models were folded from this log and are kept."),
            Self::Removed { because } => {
                write!(f, "The read models were removed, the next start folds them again: {because}")
            }
            Self::Unreadable { because } => write!(f, "The read models cannot be read: {because}"),
        }
    }
}
