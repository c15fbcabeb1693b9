//! `refold topics`: looks after what the log needs on its broker's server.

use crate::service::log_config;
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use refold_adapters::embedded;
use refold_adapters::{Access, Config};
use std::process::ExitCode;

/// Makes what is missing on the server, and looks whether what is there may be used.
///
/// # Errors
/// Where the server cannot be reached, or what is there may lose history: what, and what mends it.
pub fn create(settings: &Settings) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(made(settings))?;
    Ok(ExitCode::SUCCESS)
}

async fn made(settings: &Settings) -> Result<()> {
    let broker = &settings.log.broker;
    if broker == embedded::NAME {
        println!("The embedded log needs nothing to be made: the first start makes its file.");
        return Ok(());
    }
    let config = Config { access: Access::Create, ..log_config(settings) };
    let log = refold_adapters::open(&config).await?;
    for risk in log.check().await.context("cannot check the log")? {
        if risk.fatal {
            bail!("{}: {}", risk.found, risk.remedy);
        }
        eprintln!("refold: at risk: {}; {}", risk.found, risk.remedy);
    }
    println!("The log {} is there, on {broker}, with {} partitions.", config.name, config.partitions);
    Ok(())
}
