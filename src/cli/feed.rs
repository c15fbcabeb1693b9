//! `refold feed`: plays the five systems' traffic against a running service, and tells exactly what became of it.

mod file;
mod pace;
mod plan;
mod player;
mod progress;
mod samples;
mod sender;
mod signer;
pub mod system;
mod tally;

use super::remote::Remote;
use super::{Files, USAGE};
use crate::plain::lines;
use crate::settings::Settings;
use anyhow::{Context, Result};
use clap::Args;
use file::File;
use jiff::SignedDuration;
use pace::{Pace, Rate};
use plan::{Plan, Source};
use player::Player;
use samples::Samples;
use sender::Sender;
use signer::Signer;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use system::System;

/// How many connections there may be.
const CONNECTIONS_MAX: u16 = 1_000;
/// How many connections there are unless told otherwise, when each request has one command.
const CONNECTIONS: u16 = 128;
/// The same when it has many: half as many as the service takes at once unless it is told otherwise.
const CONNECTIONS_WITH_LINES: u16 = 8;
/// How many commands one request may have.
const LINES_MAX: u16 = 10_000;
/// How fast samples are sent unless told otherwise, in commands a second.
const SAMPLES_RATE: u32 = 100;
/// How long it may go on, if it is told how long.
const FOR_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What stands below the help.
pub const EXAMPLES: &str = "Examples:
  refold feed                                   100 commands a second of all systems, until Ctrl-C
  refold feed --rate max --for 1m               as much as the service takes in a minute
  refold feed --rate max --count 1000000 --lines 1000
                                                a million commands, up to 1,000 in one request
  refold feed --system foods,pictures --rate 5  only these two
  refold feed --system detections --file detections.ndjson
                                                what is in a file, once, as fast as the service takes it
  refold feed --system foods --file foods.csv   foods, each as often as its column count says";

/// What to send, how fast and how long.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// The service.
    #[command(flatten)]
    pub remote: Remote,
    /// Send only commands of this system; several with commas. Systems take turns [default: all]
    #[arg(long = "system", value_name = "SYSTEM", value_delimiter = ',', hide_default_value = true)]
    pub systems: Vec<System>,
    /// Send what is in this file instead of samples, once; needs one --system
    ///
    /// A file called .csv is a table: its first line names the fields, and a column `count` says how often a line is
    /// sent. Any other has a command as JSON on each line. All of it is checked before anything is sent.
    #[arg(long, requires = "systems")]
    pub file: Option<PathBuf>,
    /// How many commands a second, or max: as many as the service takes [default: 100, of a file max]
    ///
    /// Commands are due at fixed times. If the service is slower for a while, what was due meanwhile is sent as soon as
    /// a connection is free, and the time it waited counts as its latency.
    #[arg(long, value_name = "N")]
    pub rate: Option<Rate>,
    /// End after so many commands
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after such a time: 30s, 10m, 1h30m
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// How many requests are under way at the same time [default: 128, with --lines 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub connections: Option<u16>,
    /// Send up to so many commands of a system in one request (NDJSON); introductions always go alone
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(LINES_MAX))
    )]
    pub lines: u16,
    /// Make up other samples: the same number makes the same ones, but for ids and times of purchases
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
    /// More settings files.
    #[command(flatten)]
    pub files: Files,
}

/// Sends what was asked for, and prints what became of it.
///
/// # Errors
/// When the file is bad, or the service cannot be reached at first.
pub fn run(settings: impl FnOnce() -> Result<Settings>, options: &Options) -> Result<ExitCode> {
    let source = match (&options.file, &options.systems[..]) {
        (None, _) => Source::Samples(Samples::new(options.seed)),
        (Some(path), [system]) => Source::File(open(path, *system)?),
        (Some(path), systems) => {
            let path = path.display();
            anstream::eprintln!(
                "refold: {path} holds commands of one system; name it alone, not {}",
                systems.len()
            );
            return Ok(ExitCode::from(USAGE));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_given = options.remote.token.as_ref().is_some_and(|token| !token.is_empty());
    let signer = if is_given { Signer::idle() } else { Signer::new(settings()) };
    let summary = runtime.block_on(play(options, source, signer))?;
    let text = if options.json { serde_json::to_string(&summary)? + "\n" } else { summary.text() };
    io::stdout().write_all(text.as_bytes()).context("cannot print the summary")?;
    if let Some(why) = &summary.ended {
        anstream::eprintln!("refold: not everything was sent: {}", lines(why));
    }
    Ok(if summary.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(path: &Path, system: System) -> Result<File> {
    File::open(path, system).with_context(|| format!("cannot send {}", path.display()))
}

async fn play(options: &Options, source: Source, signer: Signer) -> Result<tally::Summary> {
    let is_file = matches!(source, Source::File(_));
    let systems = if options.systems.is_empty() { System::ALL.to_vec() } else { options.systems.clone() };
    let usual = if options.lines > 1 { CONNECTIONS_WITH_LINES } else { CONNECTIONS };
    let connections = usize::from(options.connections.unwrap_or(usual));
    let rate = options.rate.unwrap_or(if is_file { Rate::Max } else { Rate::PerSecond(SAMPLES_RATE) });
    let mut remote = options.remote.clone();
    remote.url = remote.url.or_else(|| signer.place());
    let sender = Sender::connect(&remote, connections, signer).await?;
    let plan = Plan::new(source, systems, usize::from(options.lines), options.count);
    Player::new(plan, Pace::start(rate, options.time), &sender, connections).run().await
}

/// Reads a time as people write it.
fn time(text: &str) -> Result<Duration, String> {
    let time: SignedDuration = text.parse().map_err(|_| "it must look like 30s, 10m or 1h30m".to_owned())?;
    let time = Duration::try_from(time).ok().filter(|time| !time.is_zero() && *time <= FOR_MAX);
    time.ok_or_else(|| "it must be more than nothing, and no more than 366 days".into())
}
