//! Stands between a client and a server, and disturbs what they say to each other.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval_at};

/// How many bytes are passed on at once at most.
const PIECE_BYTES: usize = 64 << 10;
/// How long each piece is held back where the connection is slow.
const DELAY: Duration = Duration::from_millis(100);

/// What is done to the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// All is passed on.
    Fair,
    /// What the server answers is thrown away; it hears everything.
    Deaf,
    /// All is passed on, late.
    Slow,
    /// Connections are closed, and no new ones taken.
    Cut,
}

/// A proxy in front of one server.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Takes connections at `address` and passes them on to `server`.
    pub(crate) async fn start(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let weather = watch::Sender::new(Weather::Fair);
        let accepting = tokio::spawn(accept(listener, server, weather.subscribe())).abort_handle();
        Self { address, weather, accepting }
    }

    /// Where it takes connections.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is done to all connections.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if *weather.borrow() != Weather::Cut {
            connections.spawn(pass(client, server, weather.clone()));
        }
    }
}

/// Passes on what both say until one of them closes, or the connection is cut.
async fn pass(client: TcpStream, server: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (questions, answers) = (weather.clone(), weather.clone());
    tokio::select! {
        () = copy(from_client, to_server, questions, |_| true) => {}
        () = copy(from_server, to_client, answers, |weather| weather != Weather::Deaf) => {}
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    passes: fn(Weather) -> bool,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let now = *weather.borrow();
        if now == Weather::Slow {
            interval_at(Instant::now() + DELAY, DELAY).tick().await;
        }
        if passes(now) && to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
