//! `refold tail`: prints the events of a running service as they happen, without a gap and none twice.

mod messages;

use super::remote::{Remote, told};
use crate::plain::{lines, plain};
use anyhow::{Context, Result, bail};
use clap::Args;
use futures::StreamExt;
use messages::{Message, Messages};
use reqwest::header::ACCEPT;
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How long a stream may say nothing before it counts as dead; the service says something sooner.
const SILENCE_MAX: Duration = Duration::from_secs(320);
/// How long to wait before a connection is made again, at first.
const AGAIN_WAIT_MIN: Duration = Duration::from_millis(250);
/// The same at most.
const AGAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// What stands below the help.
pub const EXAMPLES: &str = "Examples:
  refold tail                                   what happens from now on, for people
  refold tail --from start --json | jq .data    everything that ever happened, for programs
  refold tail --type food.observed,purchase.recorded
                                                only events of these types
  refold tail --from 1a2b3c4d:12,-,7            what came after a Refold-Position";

/// What to print, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// The service.
    #[command(flatten)]
    pub remote: Remote,
    /// Print each event as one JSON object (CloudEvents 1.0) on a line
    #[arg(long)]
    pub json: bool,
    /// Print only events of this type; several with commas
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Begin here: start, now, or a Refold-Position as every answer of the service carries it
    #[arg(long, default_value = "now", value_name = "PLACE")]
    pub from: String,
}

/// How following ended.
enum End {
    /// Whoever reads the output has had enough.
    Enough,
    /// The connection broke, or the service said so.
    Broken(String),
}

/// Prints until nobody reads any more.
///
/// # Errors
/// When the service cannot be reached at first, or refuses what is asked of it.
pub fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Following::new(options)?.run())
}

struct Following<'o> {
    options: &'o Options,
    client: Client,
    url: Url,
    /// Where the last message said to go on from.
    last: Option<String>,
    wait: Duration,
}

impl<'o> Following<'o> {
    fn new(options: &'o Options) -> Result<Self> {
        let mut url = options.remote.at("/events/live");
        url.query_pairs_mut().append_pair("from", &options.from);
        if !options.types.is_empty() {
            url.query_pairs_mut().append_pair("type", &options.types.join(","));
        }
        let client = options.remote.client()?.read_timeout(SILENCE_MAX).build()?;
        Ok(Self { options, client, url, last: None, wait: AGAIN_WAIT_MIN })
    }

    async fn run(mut self) -> Result<ExitCode> {
        loop {
            let end = match self.connect().await {
                Ok(response) => self.print(response).await?,
                Err(error) if self.last.is_none() || error.is::<Refusal>() => return Err(error),
                Err(error) => End::Broken(format!("{error:#}")),
            };
            let End::Broken(why) = end else {
                return Ok(ExitCode::SUCCESS);
            };
            anstream::eprintln!("refold: {}; connecting again", lines(&why));
            tokio::time::sleep(self.wait).await;
            self.wait = (self.wait * 2).min(AGAIN_WAIT_MAX);
        }
    }

    async fn connect(&self) -> Result<Response> {
        let mut request = self.client.get(self.url.clone()).header(ACCEPT, "text/event-stream");
        if let Some(last) = &self.last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await;
        let response = response.with_context(|| self.options.remote.unreachable())?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::SERVICE_UNAVAILABLE => bail!(told(response).await),
            _ => Err(Refusal(told(response).await).into()),
        }
    }

    /// Prints what comes until nothing more does.
    async fn print(&mut self, response: Response) -> Result<End> {
        let (mut chunks, mut messages) = (response.bytes_stream(), Messages::default());
        while let Some(chunk) = chunks.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Ok(End::Broken(format!("{:#}", anyhow::Error::new(error)))),
            };
            let mut text = String::new();
            for Message { id, event, data } in messages.take(&chunk) {
                self.wait = AGAIN_WAIT_MIN;
                self.last = id.or_else(|| self.last.take());
                match (event.as_deref(), data) {
                    (_, None) => {}
                    (None, Some(data)) => writeln!(text, "{}", plain(&self.line(data)?))?,
                    (Some(event), Some(data)) => {
                        anstream::eprintln!("refold: {}: {}", plain(event), plain(&data));
                    }
                }
            }
            if !written(&text)? {
                return Ok(End::Enough);
            }
        }
        Ok(End::Broken("the service ended the stream".into()))
    }

    fn line(&self, data: String) -> Result<String> {
        if self.options.json {
            return Ok(data);
        }
        let event: Value = serde_json::from_str(&data).context("the service sent what is no event")?;
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let line = [text("time"), text("type"), text("subject"), &event["data"].to_string()];
        let line: Vec<&str> = line.into_iter().filter(|part| !part.is_empty()).collect();
        Ok(line.join("  "))
    }
}

/// The service will not answer this, however often it is asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// Whether somebody still reads the output.
fn written(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write the events"),
    }
}
