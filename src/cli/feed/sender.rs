//! Sends one request until its outcome is known, always under the same key, so that it counts once.

use super::plan::Batch;
use super::signer::Signer;
use super::system::System;
use crate::cli::remote::{Remote, told};
use crate::plain::plain;
use anyhow::{Context, Error, Result, bail};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How long to wait for an answer; the service gives up sooner.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How long a request is repeated whose outcome is not known, or that the service had no room for.
const REPEAT_FOR: Duration = Duration::from_secs(60);
/// How long to wait before a request is repeated, at first.
const AGAIN_WAIT_MIN: Duration = Duration::from_millis(50);
/// The same at most.
const AGAIN_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long to wait at most if the service asks for it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// How many lines that were not taken are told of one request.
const LINES_TOLD_MAX: usize = 3;

/// What became of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How many of its commands the service recorded.
    pub(super) accepted: u64,
    /// How many were recorded before, by somebody else.
    pub(super) known: u64,
    /// How many the service does not take.
    pub(super) rejected: u64,
    /// How many nobody knows of, or that something kept from being recorded.
    pub(super) failed: u64,
    /// How often it was repeated.
    pub(super) repeats: u64,
    /// Where it is on the log: with commas, if it is in several places.
    pub(super) receipts: Option<String>,
    /// What was wrong, for people.
    pub(super) told: Vec<String>,
    /// Why it makes no sense to send more.
    pub(super) end: Option<String>,
}

/// What one attempt came to.
enum Attempt {
    Done(Outcome),
    /// It may be otherwise if it is repeated, after such a time at least.
    Again(String, Duration),
    /// It will never be otherwise, nor with other commands.
    Never(String),
}

/// Sends requests.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    urls: [Url; System::ALL.len()],
    /// Makes the keys of these commands others than those of anybody else.
    run: Uuid,
    repeating: RefCell<Repeating>,
    signer: Signer,
}

/// Requests that are repeated at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeating {
    /// How many.
    pub(super) requests: usize,
    /// Why the last of them was not taken.
    pub(super) why: String,
}

/// What a request of many lines is answered.
#[derive(Deserialize)]
struct Answers {
    accepted: u64,
    #[serde(default)]
    answers: Vec<LineAnswer>,
}

#[derive(Deserialize)]
struct LineAnswer {
    line: usize,
    status: u16,
    #[serde(default)]
    detail: String,
}

impl Sender {
    /// One that keeps so many connections, to a service that is there.
    ///
    /// # Errors
    /// Where it cannot be reached, or something else answers.
    pub(super) async fn connect(remote: &Remote, connections: usize, signer: Signer) -> Result<Self> {
        let client = remote.client()?.timeout(ANSWER_WAIT);
        let client = client.pool_max_idle_per_host(connections).build()?;
        let health = client.get(remote.at("/healthz")).send().await.with_context(|| remote.unreachable())?;
        if health.status() != StatusCode::OK {
            bail!("{} is no Refold: asked for its health, {}", remote.url(), told(health).await);
        }
        let urls = System::ALL.map(|system| remote.at(&format!("/{}", system.name())));
        Ok(Self { client, urls, run: Uuid::now_v7(), repeating: RefCell::default(), signer })
    }

    /// What is repeated at the moment.
    pub(super) fn repeating(&self) -> Repeating {
        self.repeating.borrow().clone()
    }

    /// Sends a request, and repeats it while that makes sense.
    pub(super) async fn send(&self, batch: &Batch) -> Outcome {
        let (began, mut wait, mut repeats) = (Instant::now(), AGAIN_WAIT_MIN, 0);
        let mut token = self.signer.last();
        let outcome = loop {
            let attempt = match self.attempt(batch, &mut token).await {
                Ok(attempt) => attempt,
                Err(error) => Attempt::Again(format!("{:#}", Error::new(error)), Duration::ZERO),
            };
            match attempt {
                Attempt::Done(outcome) => break outcome,
                Attempt::Never(why) => break lost(batch, &why),
                Attempt::Again(why, _) if began.elapsed() >= REPEAT_FOR => {
                    break lost(batch, &format!("repeated for {} s: {why}", REPEAT_FOR.as_secs()));
                }
                Attempt::Again(why, after) => {
                    repeats += 1;
                    self.note_repeat(repeats == 1, why);
                    sleep(wait.max(after)).await;
                    wait = (wait * 2).min(AGAIN_WAIT_MAX);
                }
            }
        };
        self.repeating.borrow_mut().requests -= usize::from(repeats > 0);
        Outcome { repeats, ..outcome }
    }

    fn note_repeat(&self, is_first: bool, why: String) {
        let mut repeating = self.repeating.borrow_mut();
        repeating.requests += usize::from(is_first);
        repeating.why = why;
    }

    /// Sends it, and once more where another token may be taken: of a request that was refused nothing is recorded.
    async fn attempt(&self, batch: &Batch, token: &mut Option<HeaderValue>) -> reqwest::Result<Attempt> {
        let mut response = self.post(batch, token.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            match self.signer.instead(token.as_ref()) {
                Ok(Some(another)) => response = self.post(batch, Some(token.insert(another))).await?,
                Ok(None) => {}
                Err(error) => return Ok(Attempt::Never(format!("{}; {error:#}", told(response).await))),
            }
        }
        Ok(match response.status().as_u16() {
            200 | 201 => taken(batch, response).await?,
            408 | 429 | 502..=504 => {
                let after = retry_after(&response);
                Attempt::Again(told(response).await, after)
            }
            401 | 403..=405 => Attempt::Never(told(response).await),
            400..=499 => {
                Attempt::Done(Outcome { rejected: batch.commands, ..wrong(batch, &told(response).await) })
            }
            _ => Attempt::Done(Outcome { failed: batch.commands, ..wrong(batch, &told(response).await) }),
        })
    }

    async fn post(&self, batch: &Batch, token: Option<&HeaderValue>) -> reqwest::Result<Response> {
        let content_type = if batch.is_lines { "application/x-ndjson" } else { "application/json" };
        let request = self.client.post(self.urls[batch.system as usize].clone());
        let request = request.header(CONTENT_TYPE, content_type);
        let request = request.header("Idempotency-Key", format!("feed-{}-{}", self.run, batch.number));
        let request = token.iter().fold(request, |request, token| request.header(AUTHORIZATION, *token));
        request.body(batch.body.clone()).send().await
    }
}

/// An answer that says what is recorded.
async fn taken(batch: &Batch, response: Response) -> reqwest::Result<Attempt> {
    let is_new = response.status() == StatusCode::CREATED;
    let receipts = response.headers().get("Refold-Receipt").and_then(|receipts| receipts.to_str().ok());
    let receipts = receipts.map(str::to_owned);
    let body = response.bytes().await?;
    let counted = if batch.is_lines {
        match serde_json::from_slice(&body) {
            Ok(answers) => of_lines(batch, &answers),
            Err(error) => {
                return Ok(Attempt::Never(format!("the service answers what is no answer: {error}")));
            }
        }
    } else {
        Attempt::Done(Outcome { accepted: is_new.into(), known: (!is_new).into(), ..Outcome::default() })
    };
    Ok(match counted {
        Attempt::Done(outcome) => Attempt::Done(Outcome { receipts, ..outcome }),
        again => again,
    })
}

/// What became of the lines: of facts all are recorded, of others each has an answer.
fn of_lines(batch: &Batch, Answers { accepted, answers }: &Answers) -> Attempt {
    let of = |statuses: fn(&u16) -> bool| answers.iter().filter(move |one| statuses(&one.status));
    if let Some(LineAnswer { detail, .. }) = of(|status| *status >= 500).next() {
        return Attempt::Again(plain(detail), Duration::ZERO);
    }
    let known = of(|status| *status == 200).count() as u64;
    let refused = of(|status| (400..500).contains(status));
    let told = refused.clone().take(LINES_TOLD_MAX).map(|one| one.told(batch)).collect();
    let rejected = refused.count() as u64;
    match accepted.checked_sub(known) {
        Some(accepted) if accepted + known + rejected == batch.commands => {
            Attempt::Done(Outcome { accepted, known, rejected, told, ..Outcome::default() })
        }
        _ => Attempt::Never(format!("the service answers {} lines with {accepted}", batch.commands)),
    }
}

impl LineAnswer {
    fn told(&self, batch: &Batch) -> String {
        format!("{}: {} {}", batch.name(self.line.saturating_sub(1)), self.status, plain(&self.detail))
    }
}

/// Nobody knows whether it counts, and there is no use in sending more.
fn lost(batch: &Batch, why: &str) -> Outcome {
    Outcome {
        failed: batch.commands,
        told: Vec::new(),
        end: Some(format!("{}: {why}", batch.name(0))),
        ..Outcome::default()
    }
}

fn wrong(batch: &Batch, why: &str) -> Outcome {
    Outcome { told: vec![format!("{}: {why}", batch.name(0))], ..Outcome::default() }
}

/// How long the service asks to wait.
fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(RETRY_AFTER_MAX)
}
