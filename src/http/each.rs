//! Many commands in one body that are decided one by one: each line is answered as it would be alone.
//!
//! Lines about the same thing are executed in their order, all others side by side.

use super::ndjson::{LINES_AT_ONCE, Many};
use super::problem::Problem;
use super::recording::Call;
use crate::commands::latest::Latest;
use crate::commands::{CommandError, Commands, Origin, Recorded, Streams};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use poem::http::StatusCode;
use poem_openapi::types::{ParseFromJSON, ToJSON};
use poem_openapi::{Object, Union};
use refold_domain::decision::{Decision, Rejection};
use refold_domain::hash::Hash;
use refold_domain::lines::Lines;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A command that is sent alone or on a line.
pub trait Single: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The key of what it is about, and of its partition: lines about the same are executed in their order.
    fn key(&self) -> String;

    /// The stream that it decides from, and that it alone moves if it counts.
    fn stream(&self) -> String;

    /// Decides, given the hash of the command that moved the stream, if there is one.
    ///
    /// # Errors
    /// A rejection.
    fn decide(&self, recorded: Option<Hash>) -> Result<Decision, Rejection>;
}

/// What a request is answered with that records nothing new, or holds many commands.
#[derive(Debug, Union)]
#[oai(one_of = true)]
pub enum Answered<T: ParseFromJSON + ToJSON> {
    /// One.
    One(T),
    /// Many.
    Many(Answers),
}

/// What became of many commands.
#[derive(Debug, Object)]
pub struct Answers {
    /// How many lines count: those answered 200 or 201
    accepted: usize,
    /// The receipt of the last of these in each partition, as in `Refold-Receipt`
    receipts: Vec<String>,
    /// What each line is answered, in their order
    answers: Vec<LineAnswer>,
}

/// What a line is answered.
#[derive(Debug, Object)]
struct LineAnswer {
    /// Which line of the body it is, from 1
    line: u32,
    /// The status that it would be answered with alone
    status: u16,
    /// Where it does not count: the `type` of the problem that it would be answered with alone
    #[oai(rename = "type", skip_serializing_if_is_none)]
    kind: Option<String>,
    /// Where it does not count: what went wrong
    #[oai(skip_serializing_if_is_none)]
    detail: Option<String>,
}

/// What became of a line.
struct Outcome {
    line: u32,
    stream: String,
    outcome: Result<Recorded, CommandError>,
}

/// Executes a command that was sent alone, or that stands on a line.
///
/// # Errors
/// [`CommandError`]
pub async fn execute(
    commands: &Commands,
    call: &Call,
    line: Option<u32>,
    command: &impl Single,
) -> Result<Recorded, CommandError> {
    let stream = command.stream();
    let streams = vec![stream.clone()];
    let request = match line {
        Some(line) => call.line(line, command.key(), command, streams),
        None => call.request(command.key(), command, streams),
    };
    let decide = |streams: &Streams| command.decide(streams.get(&stream).and_then(|entry| entry.hash));
    commands.execute(&request, decide).await
}

/// Executes each line; also answers the receipts as one text, if there are any.
///
/// # Errors
/// Where it is not known which of the commands that count is the last one.
pub async fn each<T: Single>(
    commands: &Commands,
    call: &Call,
    Many { lines, turns, .. }: &Many<T>,
) -> Result<(Answers, Option<String>), Problem> {
    let order = {
        let lines = Arc::clone(lines);
        tokio::task::spawn_blocking(move || order::<T>(&lines)).await
    };
    let order = order.map_err(|error| Problem::internal(format!("ordering the lines failed: {error}")))?;
    let mut waiting = order.chunk_by(|(one, _), (other, _)| one == other);
    let mut under_way = FuturesUnordered::new();
    let (mut latest, mut answers) = (Latest::default(), Vec::with_capacity(lines.len()));
    loop {
        while under_way.len() < LINES_AT_ONCE
            && let Some(group) = waiting.next()
        {
            under_way.push(in_order::<T>(commands, call, lines, group, turns));
        }
        let Some(outcomes) = under_way.next().await else { break };
        for Outcome { line, stream, outcome } in outcomes {
            if let Ok(recorded) = &outcome {
                latest.note(recorded, Some(&stream));
            }
            answers.push(LineAnswer::of(lines.number(line as usize), outcome));
        }
    }
    answers.sort_unstable_by_key(|answer| answer.line);
    let accepted = answers.iter().filter(|answer| answer.kind.is_none()).count();
    let receipts = commands.receipts(&latest).await?;
    let receipts: Vec<_> = receipts.iter().map(ToString::to_string).collect();
    let all = (!receipts.is_empty()).then(|| receipts.join(","));
    Ok((Answers { accepted, receipts, answers }, all))
}

/// The lines, those about the same next to each other.
fn order<T: Single>(lines: &Lines) -> Vec<(Hash, u32)> {
    let about = |line| (Hash::of(read::<T>(lines, line).key().as_bytes()), line);
    let mut order: Vec<_> = (0..).take(lines.len()).map(about).collect();
    order.sort_unstable_by_key(|(Hash(hash), line)| (*hash, *line));
    order
}

async fn in_order<T: Single>(
    commands: &Commands,
    call: &Call,
    lines: &Lines,
    group: &[(Hash, u32)],
    turns: &Semaphore,
) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(group.len());
    for &(_, line) in group {
        let command: T = read(lines, line);
        // Bodies take turns, and what a line may wait for begins with its own.
        let _turn = turns.acquire().await.expect("nobody closes it");
        let outcome = execute(commands, call, Some(line), &command).await;
        outcomes.push(Outcome { line, stream: command.stream(), outcome });
    }
    outcomes
}

fn read<T: DeserializeOwned>(lines: &Lines, line: u32) -> T {
    serde_json::from_slice(lines.get(line as usize)).expect("a line is what was found good")
}

impl LineAnswer {
    fn of(line: u32, outcome: Result<Recorded, CommandError>) -> Self {
        match outcome.map_err(Problem::from) {
            Ok(recorded) => {
                let is_known = recorded.origin == Origin::RepeatedContent;
                let status = if is_known { StatusCode::OK } else { StatusCode::CREATED };
                Self { line, status: status.as_u16(), kind: None, detail: None }
            }
            Err(problem) => {
                let (status, kind, detail) = problem.told();
                Self { line, status: status.as_u16(), kind: Some(kind), detail: Some(detail) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
