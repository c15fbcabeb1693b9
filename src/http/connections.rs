//! Serves connections: each request's head is bounded in time and size, and stopping finishes what is held.
//!
//! Only HTTP/1: what tells HTTP/2 apart would wait for a client's first bytes without a bound.

use anyhow::ensure;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, EndpointExt, Request};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long to wait after a connection could not be accepted: without descriptors left it would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long clients may take, and the service when it stops.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From a connection's start, or its last answer, to the end of the next request's head.
    pub head: Duration,
    /// From the signal to stop to the last answer.
    pub stop: Duration,
}

/// Answers what comes in on `listener` until `signal` resolves; then takes no more and finishes what is held.
///
/// # Errors
/// Where some request was not answered when the time to stop was over.
pub async fn serve(
    listener: TcpListener,
    endpoint: impl Endpoint + 'static,
    times: Times,
    signal: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let local = listener.local_addr()?;
    let endpoint = Arc::new(endpoint.map_to_response());
    let (stop, stopping) = watch::channel(());
    let mut signal = pin!(signal);
    loop {
        tokio::select! {
            () = &mut signal => break,
            (stream, remote) = accept(&listener) => {
                let connection = Connection { stream, local, remote, endpoint: Arc::clone(&endpoint), head: times.head };
                tokio::spawn(connection.run(stopping.clone()));
            }
        }
    }
    drop((listener, stopping));
    stop.send_replace(());
    let finished = timeout(times.stop, stop.closed()).await;
    ensure!(finished.is_ok(), "some requests were still not answered after {:?}", times.stop);
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
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection<E> {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    endpoint: Arc<E>,
    head: Duration,
}

impl<E: Endpoint<Output = poem::Response> + 'static> Connection<E> {
    /// Answers its requests; once `stopping` changes only those that it has begun to read.
    async fn run(self, mut stopping: watch::Receiver<()>) {
        let Self { stream, local, remote, endpoint, head } = self;
        let (local, remote) = (LocalAddr(local.into()), RemoteAddr(remote.into()));
        let had_request = AtomicBool::new(false);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            had_request.store(true, Ordering::Relaxed);
            let endpoint = Arc::clone(&endpoint);
            let request = Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
            async move { Ok::<hyper::Response<_>, Infallible>(endpoint.get_response(request).await.into()) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(head);
        let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
        // A connection that breaks is the client's business.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopping.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        // Before its first request hyper does not count a connection as idle, and would wait for one.
        if had_request.load(Ordering::Relaxed) {
            drop(connection.await);
        }
    }
}
