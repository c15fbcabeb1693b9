//! Follows what happens for one client: first what it has missed, from the log, then what comes, from the tail.
//!
//! Which events a stream shows, and how, is its [`Lens`]; all else is the same for all of them: the ids, what is missed
//! by nobody and sent to nobody twice, and when a client is given up.

use super::problem::Problem;
use super::streams::{Ended, Sse, Stream, Streams};
use crate::tail::{BATCH, Batch, Lagged, Tail};
use bytes::Bytes;
use poem::Request;
use refold_domain::reading::{Passed, Reading};
use refold_domain::schema::EventType;
use refold_projections::query;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// How long to wait before reading is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// What a stream shows of what happens.
pub trait Lens: Send + Sync + 'static {
    /// Whether anything of this partition may be shown.
    fn has_partition(&self, _partition: u32) -> bool {
        true
    }

    /// Whether events of this type may be shown.
    fn has_type(&self, kind: &EventType) -> bool;

    /// What is shown of a batch, each event with its id, as the stream sends it.
    fn show(&self, batch: &Batch) -> Bytes;
}

/// Opens a stream of what `lens` shows from `reading` on, or from now on.
///
/// # Errors
/// Where all places for streams are taken.
pub fn open(
    tail: &Arc<Tail>,
    streams: &Streams,
    request: &Request,
    lens: impl Lens,
    reading: Option<Reading>,
) -> Result<Sse, Problem> {
    let (stream, sse) = streams.open(request)?;
    let tail = Arc::clone(tail);
    let telling = async move {
        let Err(ended) = run(&tail, &stream, &lens, reading).await;
        stream.end(ended).await;
    };
    tokio::spawn(telling.in_current_span());
    Ok(sse)
}

async fn run(
    tail: &Arc<Tail>,
    stream: &Stream,
    lens: &dyn Lens,
    reading: Option<Reading>,
) -> Result<Infallible, Ended> {
    let told = reading.as_ref().map(Reading::to_string);
    stream.greet(told.as_deref()).await?;
    let (reading, told) = match reading.zip(told) {
        Some(known) => known,
        None => {
            let now = now(tail, stream).await?;
            stream.send(format!("id: {now}\n\n")).await?;
            let told = now.to_string();
            (now, told)
        }
    };
    Following { tail, stream, lens, told, reading }.run().await
}

/// Where the store stands, once it has folded what it has to.
async fn now(tail: &Tail, stream: &Stream) -> Result<Reading, Ended> {
    let progress = &tail.sources().progress;
    let mut changes = progress.changes();
    loop {
        changes.borrow_and_update();
        let why = match query::passed(progress, &query::Reached::default()) {
            Ok(position) => return Ok(position.into()),
            Err(why) => why.to_string().replace('\n', " "),
        };
        let beat = || format!(": {why}\n");
        stream.wait(async { drop(changes.changed().await) }, beat).await?;
    }
}

struct Following<'f> {
    tail: &'f Arc<Tail>,
    stream: &'f Stream,
    lens: &'f dyn Lens,
    /// How far it has come.
    reading: Reading,
    /// How far the client knows that it has come.
    told: String,
}

impl Following<'_> {
    async fn run(&mut self) -> Result<Infallible, Ended> {
        let mut moves = self.tail.moves();
        loop {
            moves.borrow_and_update();
            let (mut follower, begins) = self.tail.follow();
            if !begins.has(&self.reading) {
                // Whoever was here before saw more than the tail has; it will get there.
                drop(follower);
                self.wait(async { drop(moves.changed().await) }).await?;
                continue;
            }
            self.catch_up(&begins).await?;
            let mut has_begun = false;
            loop {
                self.go_on().await?;
                match follower.take() {
                    Ok(Some(batch)) => {
                        has_begun = true;
                        self.send(&batch).await?;
                    }
                    Ok(None) => {
                        has_begun = true;
                        self.wait(follower.more()).await?;
                    }
                    Err(Lagged) if has_begun => {
                        return Err(Ended::Slow("more happened than is kept for who has not read it yet"));
                    }
                    // It has caught up with where the tail was: by now that is history, too.
                    Err(Lagged) => break,
                }
            }
        }
    }

    /// Sends what lies before the place where the tail begins.
    async fn catch_up(&mut self, begins: &Reading) -> Result<(), Ended> {
        for (partition, to) in (0..).zip(begins.passed.clone()) {
            let at = partition as usize;
            let Some(offset) = to.offset.filter(|_| self.lens.has_partition(partition)) else {
                self.reading.passed[at] = to;
                continue;
            };
            let mut reader = self.tail.sources().reader(partition, self.reading.passed[at]);
            while self.reading.passed[at] < Passed::record(offset) {
                self.go_on().await?;
                match reader.next(offset, BATCH).await {
                    Ok(mut piece) => {
                        piece.events.retain(|event| self.lens.has_type(event.kind));
                        let batch = Batch::write(&mut self.reading, partition, &piece.events, piece.passed);
                        self.stream.send(self.lens.show(&batch)).await?;
                    }
                    Err(error) => {
                        self.tail.sources().progress.note(&error);
                        tracing::warn!(partition, "cannot read events: {error:#}");
                        self.wait(tokio::time::sleep(RETRY_WAIT)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), Ended> {
        self.reading.clone_from(&batch.reading);
        if self.lens.has_partition(batch.partition) {
            self.stream.send(self.lens.show(batch)).await?;
        }
        Ok(())
    }

    /// Waits, and tells the client from time to time how far it has come without an event for it.
    async fn wait(&mut self, until: impl Future<Output = ()>) -> Result<(), Ended> {
        let Self { tail, stream, reading, told, .. } = self;
        stream.wait(until, || beat(tail, reading, told)).await
    }

    /// The same where there is no need to wait.
    async fn go_on(&mut self) -> Result<(), Ended> {
        let Self { tail, stream, reading, told, .. } = self;
        stream.go_on(|| beat(tail, reading, told)).await
    }
}

/// How far the client has come, unless it was `told`, and what keeps it from coming on.
fn beat(tail: &Tail, reading: &Reading, told: &mut String) -> String {
    let trouble = query::verified(&tail.sources().progress).err();
    let trouble = trouble.map(|trouble| format!(": {}\n", trouble.to_string().replace('\n', " ")));
    let now = reading.to_string();
    let moved = if now == *told { String::new() } else { format!("id: {now}\n") };
    *told = now;
    trouble.unwrap_or_default() + &moved
}
