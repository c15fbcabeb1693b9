//! `refold backup`: copies the log into a file, also while it is served.

use super::Files;
use super::copying::{Contents, copied, ensure_embedded, whole};
use crate::settings::Settings;
use anyhow::{Context, Result, ensure};
use clap::Args;
use refold_adapters::embedded::FILE;
use refold_adapters::embedded::copy::{Copy, directory, ensure_alone};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What stands below its help.
pub const EXAMPLES: &str = "Examples:
  refold backup /backups/refold.sqlite
  refold backup --force /backups/refold.sqlite          in place of the one before
  refold --config /etc/refold.toml backup \"/backups/refold-$(date +%F).sqlite\" --json

Restore it with `refold restore FILE`.";

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// Write the copy to this file, which must not be there yet
    pub file: PathBuf,
    /// Replace the file if it is there; the new copy takes its place only when it is whole
    #[arg(long)]
    pub force: bool,
    /// Print what was copied as one JSON object
    #[arg(long)]
    pub json: bool,
    /// More settings files.
    #[command(flatten)]
    pub files: Files,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    file: &'a Path,
    #[serde(flatten)]
    contents: Contents,
}

/// Copies the log, and says what is in the copy.
///
/// # Errors
/// Why there is no copy.
pub fn run(settings: &Settings, options: &Options) -> Result<ExitCode> {
    ensure_embedded(&settings.log.broker)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let contents = runtime.block_on(backed_up(settings, options))?;
    let mut output = io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut output, &Summary { file: &options.file, contents })?;
        writeln!(output)?;
    } else {
        writeln!(output, "{} holds {contents}", options.file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn backed_up(settings: &Settings, options: &Options) -> Result<Contents> {
    let (data_dir, file) = (settings.data_dir.clone(), options.file.clone());
    ensure_free(&data_dir, &file, options.force)?;
    let place = file.clone();
    let copy = copied(move |progress| Copy::back_up(&data_dir, &place, progress)).await?;
    let log = copy.look(settings.log.partitions)?;
    let contents =
        whole(&log, copy.path(), settings).await.context("the copy is not whole, and was removed")?;
    drop(log);
    copy.put(options.force)?;
    Ok(contents)
}

/// Before anything is copied, for that may take long.
fn ensure_free(data_dir: &Path, file: &Path, force: bool) -> Result<()> {
    let log = data_dir.join(FILE);
    ensure!(log.exists(), "there is no log in {}: is it the right data_dir?", data_dir.display());
    ensure!(!file.is_dir(), "{} is a directory: name a file in it", file.display());
    let is_there = file.symlink_metadata().is_ok();
    ensure!(force || !is_there, "{} is there already: name another file, or add --force", file.display());
    // Of a directory that is not there the copy tells.
    let in_data = directory(file)
        .canonicalize()
        .is_ok_and(|found| data_dir.canonicalize().is_ok_and(|data| found == data));
    ensure!(
        !in_data,
        "{} is in the data directory, with which a backup would be lost: name a file elsewhere, best on another disk",
        file.display()
    );
    ensure_alone(file)
}
