//! Places in the log, as clients name them: where to begin to read, or where an earlier stream ended.

use super::problem::Problem;
use crate::service::Service;
use refold_domain::reading::{Passed, Reading};
use refold_domain::receipt::log_digits;
use refold_projections::query;

/// Before everything that happened.
pub const START: &str = "start";
/// After everything that happened.
pub const NOW: &str = "now";

/// Where to begin to read: `start`, `now`, or a place in this log. `name` is the parameter that says so.
///
/// # Errors
/// Where it is none, or not to be known yet.
pub async fn begin(service: &Service, name: &str, from: &str) -> Result<Reading, Problem> {
    let progress = &service.progress;
    match from {
        START => Ok(Reading::start(log_digits(progress.log()), progress.partitions())),
        NOW => Ok(query::passed(progress, &query::Reached::default())?.into()),
        _ if from.parse::<Reading>().is_err() => {
            let expected = format!("must be {START}, {NOW} or a place such as 1a2b3c4d:12,-,7");
            Err(Problem::parameter(name, expected))
        }
        _ => place(service, name, from).await,
    }
}

/// The place that a client names, which must be one in this log.
///
/// # Errors
/// 400 where it is none, 410 where it is one in another log, or in a part of this one that is lost.
pub async fn place(service: &Service, name: &str, text: &str) -> Result<Reading, Problem> {
    let reading: Reading = text.parse().map_err(|wrong: String| Problem::parameter(name, wrong))?;
    refuse_other_logs(service, name, &reading)?;
    let partitions = service.progress.partitions() as usize;
    if reading.passed.len() != partitions {
        return Err(Problem::parameter(name, format!("must have {partitions} partitions")));
    }
    for (partition, passed) in (0..).zip(&reading.passed) {
        exists(service, name, partition, *passed).await?;
    }
    Ok(reading)
}

/// Refuses a place in another log.
fn refuse_other_logs(service: &Service, name: &str, reading: &Reading) -> Result<(), Problem> {
    let log = log_digits(service.progress.log());
    if reading.log == log {
        return Ok(());
    }
    let detail = format!("{name}: it is a place in the log …{}, and this one is …{log}", reading.log);
    Err(Problem::other_log(detail))
}

/// Refuses a place that the log does not reach: it has lost what was there.
async fn exists(service: &Service, name: &str, partition: u32, passed: Passed) -> Result<(), Problem> {
    let stands = service.progress.state(partition).head.map(|head| head.position.offset);
    // The store may have been put back; then the log knows.
    if passed.offset <= stands {
        return Ok(());
    }
    let Some(offset) = passed.offset else { return Ok(()) };
    if service.reaches(partition, offset).await.unwrap_or(true) {
        return Ok(());
    }
    Err(Problem::other_log(format!("{name}: {passed} lies beyond the end of partition {partition}")))
}
