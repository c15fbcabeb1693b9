//! `refold check`: is everything in order to serve?

use super::report::{Check, Report};
use crate::settings::Settings;
use anyhow::Result;
use std::process::ExitCode;

/// Checks what can be checked with these settings, prints the report, and answers with its exit code.
///
/// # Errors
/// When the report cannot be printed.
pub fn run(settings: Result<Settings>, json: bool) -> Result<ExitCode> {
    let report = match settings {
        Ok(settings) => checked(&settings),
        Err(error) => Report { checks: vec![unusable(&error)] },
    };
    report.print(json)?;
    Ok(report.exit_code())
}

fn checked(settings: &Settings) -> Report {
    let found = format!("usable; data in {}", settings.data_dir.display());
    Report { checks: vec![Check::ok("settings", found)] }
}

fn unusable(error: &anyhow::Error) -> Check {
    Check::failed("settings", format!("{error:#}"), "correct them; config/default.toml explains every key")
}
