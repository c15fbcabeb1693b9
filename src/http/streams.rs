//! Streams (SSE): so many and no more, kept alive by heartbeats, ended at once when the service stops or nobody reads.
//!
//! A stream holds little that was not sent yet. Who takes nothing for too long is dropped: the reason is the last that
//! the stream says, and the connection is cut where not even that is taken.

use super::connections::{Cut, Stopping};
use super::problem::Problem;
use super::seldom::Seldom;
use crate::access::pass::{Pass, Refused};
use crate::settings;
use bytes::Bytes;
use futures::{FutureExt, stream};
use metrics::{Counter, Gauge, counter, gauge};
use poem::http::header;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use refold_domain::metric;
use serde_json::json;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How many pieces of a stream may wait to be sent.
const PIECES_MAX: usize = 4;
/// How long a client may take for the last words of a stream before its connection is cut.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(500);
/// How often is looked whether the client of a stream may stay.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After how many milliseconds a client should come back.
const RETRY_MS: u32 = 1_000;

/// The places for streams.
#[derive(Clone)]
pub struct Streams {
    places: Arc<Semaphore>,
    max: usize,
    patience: Duration,
    open: Gauge,
    dropped: Counter,
}

/// A stream, to be written to.
pub struct Stream {
    pieces: mpsc::Sender<Bytes>,
    last_words: oneshot::Sender<Bytes>,
    /// Resolves when the body is not needed any more.
    sent: oneshot::Receiver<Infallible>,
    stopping: Stopping,
    cut: Cut,
    patience: Duration,
    /// When something was sent last.
    spoke: Mutex<Instant>,
    /// What its client was let in with, where anything is needed or was brought.
    pass: Option<Pass>,
    /// When it was looked last whether they may stay.
    looked: Mutex<Instant>,
    _place: OwnedSemaphorePermit,
    _open: Open,
    dropped: Counter,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its client went away.
    Gone,
    /// The service stops.
    Stopping,
    /// Its client was too slow: how.
    Slow(&'static str),
    /// Its client may not stay: why.
    Denied(String),
}

/// A stream as an answer.
pub struct Sse(Body);

struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl Streams {
    /// As many places as the settings say.
    pub fn new(settings: &settings::Http) -> Self {
        Self {
            places: Arc::new(Semaphore::new(settings.streams_max)),
            max: settings.streams_max,
            patience: settings.stream_timeout,
            open: gauge!(metric::HTTP_STREAMS),
            dropped: counter!(metric::HTTP_STREAMS_DROPPED),
        }
    }

    /// Opens a stream: what it is written to, and what is answered.
    ///
    /// # Errors
    /// Where all places are taken.
    pub fn open(&self, request: &Request) -> Result<(Stream, Sse), Problem> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let detail = format!("{} are open, as many as http.streams_max allows; try again soon", self.max);
            return Err(Problem::unavailable("overloaded", "Too many streams at the same time", detail));
        };
        let (stopping, cut) = (request.data::<Stopping>().cloned(), request.data::<Cut>().cloned());
        let (stopping, cut) = stopping.zip(cut).ok_or_else(|| Problem::internal("no connection"))?;
        let (pieces, body) = mpsc::channel(PIECES_MAX);
        let (last_words, last) = oneshot::channel();
        let (needed, sent) = oneshot::channel();
        self.open.increment(1);
        let (patience, dropped) = (self.patience, self.dropped.clone());
        let _open = Open(self.open.clone());
        let pass = request.data::<Pass>().cloned();
        let [spoke, looked] = [Instant::now(); 2].map(Mutex::new);
        let stream = Stream {
            pieces,
            last_words,
            sent,
            stopping,
            cut,
            patience,
            spoke,
            pass,
            looked,
            _place: place,
            _open,
            dropped,
        };
        Ok((stream, Sse(body_of(body, last, needed))))
    }
}

impl Stream {
    /// Sends a piece once there is room for it.
    ///
    /// # Errors
    /// Why the stream ends.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Ended> {
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(());
        }
        self.stay().await?;
        *self.spoke() = Instant::now();
        tokio::select! {
            biased;
            () = self.stopping.begun() => Err(Ended::Stopping),
            sent = timeout(self.patience, self.pieces.send(piece)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Ended::Gone),
                Err(_) => Err(Ended::Slow("nothing was taken for longer than http.stream_timeout_ms")),
            },
        }
    }

    /// The first that a stream says: when to come back, and from where.
    ///
    /// # Errors
    /// Why the stream ends.
    pub async fn greet(&self, id: Option<&str>) -> Result<(), Ended> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        self.send(format!("retry: {RETRY_MS}\n{id}\n")).await
    }

    /// Waits, and says what `beat` has to say where there is nothing else for a while.
    ///
    /// # Errors
    /// Why the stream ends.
    pub async fn wait<T>(
        &self,
        until: impl Future<Output = T>,
        mut beat: impl FnMut() -> String,
    ) -> Result<T, Ended> {
        let mut until = std::pin::pin!(until);
        loop {
            self.go_on(&mut beat).await?;
            tokio::select! {
                biased;
                done = &mut until => return Ok(done),
                () = self.pieces.closed() => return Err(Ended::Gone),
                () = self.stopping.begun() => return Err(Ended::Stopping),
                () = sleep_until(self.next_beat()) => {}
                () = self.next_look() => {}
            }
        }
    }

    /// Looks whether the stream goes on, for whoever has had nothing to send, and says what `beat` has to say where
    /// that was so for a while.
    ///
    /// # Errors
    /// Why the stream ends.
    pub async fn go_on(&self, mut beat: impl FnMut() -> String) -> Result<(), Ended> {
        if self.pieces.is_closed() {
            return Err(Ended::Gone);
        }
        if self.stopping.begun().now_or_never().is_some() {
            return Err(Ended::Stopping);
        }
        self.stay().await?;
        if self.next_beat() <= Instant::now() {
            self.send(format!(":\n{}\n", beat())).await?;
        }
        Ok(())
    }

    /// Twice, before a client gives it up that waits as long as it is waited for.
    fn next_beat(&self) -> Instant {
        *self.spoke() + self.patience / 2
    }

    fn spoke(&self) -> MutexGuard<'_, Instant> {
        self.spoke.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked(&self) -> MutexGuard<'_, Instant> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks from time to time whether the client may stay: the token may expire, and its user be disabled.
    async fn stay(&self) -> Result<(), Ended> {
        let Some(pass) = &self.pass else { return Ok(()) };
        if self.looked().elapsed() < LOOK_EVERY && !pass.left().is_zero() {
            return Ok(());
        }
        *self.looked() = Instant::now();
        match pass.renew().await {
            Ok(()) => Ok(()),
            Err(Refused::Unknown(error)) => {
                static FAILED: Seldom = Seldom::new();
                if let Some(untold) = FAILED.tell() {
                    tracing::warn!(
                        untold,
                        "whether clients of streams may stay will be looked at again: {error:#}"
                    );
                }
                Ok(())
            }
            Err(refused) => Err(Ended::Denied(refused.to_string())),
        }
    }

    /// Returns when it is to be looked again; never, where anybody may stay.
    async fn next_look(&self) {
        match &self.pass {
            Some(pass) => {
                let until_next = LOOK_EVERY.saturating_sub(self.looked().elapsed());
                sleep(until_next.min(pass.left())).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Ends it, and tells the client why.
    pub async fn end(self, ended: Ended) {
        let words = match ended {
            Ended::Gone => return,
            Ended::Stopping => ": the service stops\n\n".to_owned(),
            Ended::Slow(how) => {
                self.dropped.increment(1);
                tracing::info!("a stream was dropped: {how}");
                dropped(how, "read faster, and go on from the last id")
            }
            Ended::Denied(why) => dropped(&why, "log in again, and go on from the last id"),
        };
        let Self { pieces, last_words, sent, cut, _place, _open, .. } = self;
        // Who has gone meanwhile does not hear it.
        drop(last_words.send(words.into()));
        drop(pieces);
        if timeout(LAST_WORDS_WAIT, sent).await.is_err() {
            cut.off();
        }
    }
}

/// The message that ends a stream whose client could have had more.
fn dropped(reason: &str, remedy: &str) -> String {
    format!("event: dropped\ndata: {}\n\n", json!({"reason": reason, "remedy": remedy}))
}

/// What was sent, then the last words, if there are any.
fn body_of(
    pieces: mpsc::Receiver<Bytes>,
    last: oneshot::Receiver<Bytes>,
    needed: oneshot::Sender<Infallible>,
) -> Body {
    let state = (pieces, Some(last), needed);
    Body::from_bytes_stream(stream::unfold(state, |(mut pieces, mut last, needed)| async move {
        let piece = match pieces.recv().await {
            Some(piece) => piece,
            None => last.take()?.await.ok()?,
        };
        Some((Ok::<_, std::io::Error>(piece), (pieces, last, needed)))
    }))
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, Self::CONTENT_TYPE)
            .header(header::CACHE_CONTROL, "no-store")
            // A proxy that collects what it forwards would hold it back.
            .header("X-Accel-Buffering", "no")
            .body(self.0)
    }
}

impl Payload for Sse {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")))
    }
}

impl ApiResponse for Sse {
    fn meta() -> MetaResponses {
        let content = MetaMediaType { content_type: Self::CONTENT_TYPE, schema: Self::schema_ref() };
        let response = MetaResponse {
            description: "",
            status: Some(200),
            status_range: None,
            content: vec![content],
            headers: vec![],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(_registry: &mut Registry) {}
}
