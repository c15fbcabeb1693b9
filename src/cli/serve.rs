//! `refold serve`: serves until it is stopped.

use crate::settings::Settings;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// Serves until it is stopped.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: &Settings) -> Result<ExitCode> {
    bail!("cannot serve on {}: there is no server yet", settings.http.listen)
}
