//! `refold serve`: serves until it is stopped.

use crate::access::secrets;
use crate::app::App;
use crate::settings::{LogFormat, Settings};
use crate::{process, telemetry};
use anyhow::{Context, Result};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until it is stopped by SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or could not finish what it held.
pub fn run(settings: Settings) -> Result<ExitCode> {
    telemetry::write_log(&settings.telemetry)?;
    telemetry::count()?;
    process::keep_files_private();
    process::take_descriptors();
    if let Some(found) = process::too_few_descriptors(settings.http.connections_max) {
        tracing::warn!(remedy = process::MORE_DESCRIPTORS, "{found}");
    }
    for path in &settings.told_secrets {
        tracing::warn!(remedy = secrets::PRIVATE, "{}", secrets::told(path));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let format = settings.telemetry.format;
    match (runtime.block_on(serve(settings)), format) {
        (Ok(()), _) => Ok(ExitCode::SUCCESS),
        // Machines read to the last line.
        (Err(error), LogFormat::Json) if tracing::enabled!(tracing::Level::ERROR) => {
            tracing::error!("{error:#}");
            Ok(ExitCode::FAILURE)
        }
        (Err(error), _) => Err(error),
    }
}

async fn serve(settings: Settings) -> Result<()> {
    let upkeep = tokio::spawn(telemetry::keep_up());
    let stopped = stopped()?;
    let answers = settings.role.answers();
    let app = App::build(settings).await?;
    let address = app.address()?;
    if answers {
        tracing::info!("serving on http://{address}/ (API at http://{address}/docs)");
    } else {
        tracing::info!("serving on http://{address}/readyz and /metrics: it folds, and others answer");
    }
    let stopping = async {
        stopped.await;
        tracing::info!("stopping: no more requests are taken, those held are finished");
    };
    let outcome = app.run_until_stopped(stopping).await;
    upkeep.abort();
    outcome
}

/// Comes to its end when somebody asks the process to stop (SIGTERM, Ctrl-C).
pub(super) fn stopped() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
