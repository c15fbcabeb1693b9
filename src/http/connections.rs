//! Serves connections: each request's head is bounded in time and size, the taking of each answer in time, and stopping
//! finishes what is held.
//!
//! So many connections and no more: one too many is told so and closed at once. Left waiting, it would look open to
//! whoever sent it, while nobody answers; closed, a load balancer takes another server before it has sent anything, and
//! an operator finds the reason in the answer and in the service's log.
//!
//! Only HTTP/1: what tells HTTP/2 apart would wait for a client's first bytes without a bound.

use super::patience::Patient;
use super::request_id::RequestId;
use super::seldom::Seldom;
use anyhow::ensure;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::http::{Method, Uri};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, EndpointExt, Request};
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::Instrument;

/// How long to wait after a connection could not be accepted: without descriptors left it would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection too many is answered, whatever it asks.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Connections that cannot be accepted, as when there are no more descriptors: many a second.
static REFUSED: Seldom = Seldom::new();

/// How long a client may take next to nothing of its answer when the service stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// How many connections there may be, and how long clients may take, and the service when it stops.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at the same time.
    pub connections_max: usize,
    /// From a connection's start, or its last answer, to the end of the next request's head.
    pub head: Duration,
    /// Without enough of an answer being taken; see [`PACE_BYTES`](super::patience::PACE_BYTES).
    pub answer: Duration,
    /// From the signal to stop to the last answer.
    pub stop: Duration,
}

/// Tells a request that the service is stopping.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// What a request was told.
    ///
    /// # Panics
    /// Where it came in through no connection.
    pub fn told(request: &Request) -> &Self {
        request.data().expect("every connection tells its requests")
    }

    /// Returns when the service begins to stop.
    pub async fn begun(&self) {
        // No sender any more is a service that has stopped.
        drop(self.0.clone().changed().await);
    }
}

/// Cuts the connection of a request off, whatever is still to be sent.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<Notify>);

impl Cut {
    /// Cuts it off.
    pub fn off(&self) {
        self.0.notify_one();
    }
}

/// Answers what comes in on `listener` until `signal` resolves; then takes no more and finishes what is held.
///
/// # Errors
/// Where some request was not answered when the time to stop was over; the log names them.
pub async fn serve(
    listener: TcpListener,
    endpoint: impl Endpoint + 'static,
    limits: Limits,
    signal: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let local = listener.local_addr()?;
    // In a box: the future of all layers together has many thousand bytes, which hyper would move several times a request.
    let endpoint = Arc::new(endpoint.map_to_response().boxed());
    let (stop, stopping) = watch::channel(());
    let stopping = Stopping(stopping);
    let mut places = Places::new(limits.connections_max);
    let unanswered = Arc::new(AtomicUsize::new(0));
    let mut signal = pin!(signal);
    loop {
        tokio::select! {
            () = &mut signal => break,
            (stream, remote) = accept(&listener) => {
                let Some(place) = places.take() else {
                    refuse(stream);
                    continue;
                };
                let (endpoint, unanswered) = (Arc::clone(&endpoint), Arc::clone(&unanswered));
                let connection = Connection { stream, local, remote, endpoint, limits, unanswered, _place: place };
                tokio::spawn(connection.run(stopping.clone()));
            }
        }
    }
    drop((listener, stopping));
    stop.send_replace(());
    // Each connection ends by then; what a request has left behind may have to be told that it is over.
    let ended = timeout(limits.stop + STOP_PATIENCE, stop.closed()).await;
    let unanswered = unanswered.load(Ordering::Relaxed);
    ensure!(unanswered == 0, "requests still not answered after {:?}: {unanswered}", limits.stop);
    ensure!(ended.is_ok(), "something still used a connection that was closed {STOP_PATIENCE:?} ago");
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // Nagle's algorithm makes answers later. Where it cannot be switched off, they are as right as ever.
                drop(stream.set_nodelay(true));
                return (stream, remote);
            }
            Err(error) => {
                if let Some(untold) = REFUSED.tell() {
                    tracing::warn!(%error, untold, "cannot accept a connection");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers without waiting: who does not take these few bytes is not waited for either.
fn refuse(stream: TcpStream) {
    drop(stream.into_std().and_then(|mut stream| stream.write(TOO_MANY)));
}

/// The places for connections.
struct Places {
    free: Arc<Semaphore>,
    max: usize,
    was_full: bool,
}

impl Places {
    fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, was_full: false }
    }

    fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok();
        // Once a time that there is none, not for each that is refused.
        if place.is_none() && !self.was_full {
            tracing::warn!(
                connections_max = self.max,
                "all connections are taken: more are refused; see http.connections_max"
            );
        }
        self.was_full = place.is_none();
        place
    }
}

struct Connection {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    endpoint: Arc<BoxEndpoint<'static>>,
    limits: Limits,
    /// Counts those that are cut off when the time to stop is over.
    unanswered: Arc<AtomicUsize>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Answers its requests; once `stopping` changes only those that it has begun to read.
    async fn run(self, stopping: Stopping) {
        let Self { stream, local, remote: address, endpoint, limits, unanswered, _place } = self;
        let (local, remote) = (LocalAddr(local.into()), RemoteAddr(address.into()));
        let asked = Asked::default();
        let cut = Cut::default();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let id = RequestId::of(request.headers());
            asked.note(request.method(), request.uri(), &id);
            let endpoint = Arc::clone(&endpoint);
            let mut request = Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
            request.set_data(stopping.clone());
            request.set_data(cut.clone());
            request.set_data(id.clone());
            async move {
                let mut answer = endpoint.get_response(request).instrument(id.span()).await;
                id.stamp(&mut answer);
                Ok::<hyper::Response<_>, Infallible>(answer.into())
            }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(limits.head);
        let hurry = async { stopping.begun().await };
        let stream = Patient::new(stream, limits.answer, (hurry, STOP_PATIENCE));
        let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
        // A connection that breaks is the client's business.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = cut.0.notified() => return,
            () = stopping.begun() => {}
        }
        connection.as_mut().graceful_shutdown();
        // Before its first request hyper does not count a connection as idle, and would wait for one.
        let Some((last, id)) = asked.last() else {
            return;
        };
        tokio::select! {
            ended = connection => if let Err(error) = ended.map_err(anyhow::Error::from) {
                tracing::info!(remote = %address, request = id.as_str(), "{last} was not finished: {error:#}");
            },
            () = cut.0.notified() => {}
            () = sleep(limits.stop) => {
                unanswered.fetch_add(1, Ordering::Relaxed);
                let id = id.as_str();
                tracing::warn!(remote = %address, request = id, "{last} was not answered in time: its connection is cut off");
            }
        }
    }
}

/// The request that came last on a connection: the only one that may be under way.
#[derive(Default)]
struct Asked(Mutex<Option<(Method, Uri, RequestId)>>);

impl Asked {
    fn note(&self, method: &Method, uri: &Uri, id: &RequestId) {
        let asked = (method.clone(), uri.clone(), id.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
    }

    /// As it is told: without its query, in which there may be what is nobody's business.
    fn last(&self) -> Option<(String, RequestId)> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(method, uri, id)| (format!("{method} {}", uri.path()), id.clone()))
    }
}
