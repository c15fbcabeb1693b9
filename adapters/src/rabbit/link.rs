//! A connection to whichever server answers, made anew when it is gone.
//!
//! The client library's own recovery restarts a stream's reader where it began, without a word, so it stays off.

use super::failure::{Failure, answer};
use super::options::{Server, Settings};
use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, runtime};
use refold_domain::log::LogError;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long making a connection to one server may take, in milliseconds.
const CONNECT_WAIT_MS: u64 = 2_500;

/// What publishes or what reads: a connection that the server has blocked takes no acknowledgements either, so they are two.
pub(super) struct Link {
    settings: Arc<Settings>,
    role: &'static str,
    held: Mutex<Option<Arc<Live>>>,
    /// The server that is tried first.
    server: AtomicUsize,
}

/// A connection that stands, or did.
pub(super) struct Live {
    connection: Connection,
    socket: Socket,
}

/// A second handle on a connection's socket: the only way to end one that does not answer.
type Socket = Arc<OnceLock<TcpStream>>;

impl Link {
    pub(super) fn new(settings: Arc<Settings>, role: &'static str) -> Self {
        Self { settings, role, held: Mutex::default(), server: AtomicUsize::new(0) }
    }

    /// A new channel, on a new connection where the last one is gone.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.live().await?.channel().await
    }

    pub(super) async fn live(&self) -> Result<Arc<Live>, LogError> {
        let mut held = self.held.lock().await;
        if let Some(live) = held.as_ref().filter(|live| live.connection.status().connected()) {
            return Ok(Arc::clone(live));
        }
        *held = None;
        let live = Arc::new(self.connect().await?);
        *held = Some(Arc::clone(&live));
        Ok(live)
    }

    async fn connect(&self) -> Result<Live, LogError> {
        let servers = &self.settings.servers;
        let mut reasons = Vec::new();
        for _ in servers {
            let index = self.server.load(Ordering::Relaxed) % servers.len();
            let server = &servers[index];
            match self.connect_to(server).await {
                Ok(live) => {
                    tracing::debug!(role = self.role, %server, "connected to RabbitMQ");
                    return Ok(live);
                }
                Err(LogError::Broken(reason) | LogError::Missing(reason)) => {
                    return Err(LogError::Broken(format!("{server}: {reason}")));
                }
                Err(LogError::Away(reason)) => reasons.push(format!("{server}: {reason}")),
            }
            // Also for whoever asks next, if this one is cancelled while it waits for a server that is silent.
            self.server.store(index + 1, Ordering::Relaxed);
        }
        Err(LogError::Away(format!("RabbitMQ cannot be reached: {}", reasons.join("; "))))
    }

    async fn connect_to(&self, server: &Server) -> Result<Live, LogError> {
        let named = format!("refold {}", self.role);
        let properties = ConnectionProperties::default().with_connection_name(named.into());
        let socket = Socket::default();
        let (settings, keep) = (Arc::clone(&self.settings), Arc::clone(&socket));
        let runtime = runtime::default_runtime().map_err(|error| LogError::Broken(error.to_string()))?;
        let connecting = Connection::connector(
            self.settings.uri(server),
            runtime,
            async move |uri: AMQPUri, runtime| {
                let dialing =
                    AMQPUriTcpExt::connect_with_config_async(&uri, settings.certificates.as_ref(), &runtime);
                // The library's thread would wait for it even when nobody else does any more.
                let stream = timeout(Duration::from_millis(CONNECT_WAIT_MS), dialing)
                    .await
                    .map_err(io::Error::from)??;
                let handle = match &stream {
                    AsyncTcpStream::Plain(stream) => second_handle(stream.get_ref())?,
                    AsyncTcpStream::Rustls(stream) => second_handle(stream.get_ref().0.get_ref())?,
                    _ => return Ok(stream),
                };
                keep.set(handle).ok();
                Ok(stream)
            },
            properties,
        );
        match timeout(Duration::from_millis(CONNECT_WAIT_MS), connecting).await {
            Ok(Ok(connection)) => Ok(Live { connection, socket }),
            Ok(Err(error)) => Err(Failure::from(error).of("")),
            Err(_) => {
                cut(&socket);
                Err(LogError::Away(format!("no connection within {CONNECT_WAIT_MS} ms")))
            }
        }
    }
}

impl Live {
    /// A new channel. A connection that does not even give that away is ended, unless it is only blocked: another one would
    /// be blocked as well, and each holds a thread and a socket.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        let channel = answer(self.connection.create_channel()).await;
        if matches!(channel, Err(Failure::Silent)) && !self.is_blocked() {
            cut(&self.socket);
        }
        channel
    }

    /// Whether the server takes nothing from it for now, because it lacks memory or disk.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn second_handle(socket: &impl AsFd) -> io::Result<TcpStream> {
    let handle: OwnedFd = socket.as_fd().try_clone_to_owned()?;
    Ok(handle.into())
}

fn cut(socket: &Socket) {
    // One that is not connected any more has ended already.
    socket.get().map(|socket| socket.shutdown(Shutdown::Both).ok());
}
