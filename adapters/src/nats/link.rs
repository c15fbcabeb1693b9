//! A connection to NATS. Once it was made it comes back by itself, however long that takes.

use super::options::Options;
use async_nats::connection::State;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::rustls;
use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use refold_domain::log::LogError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long the first connection may take, with all servers together, in milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// How long connecting to one server may take, in milliseconds.
const ATTEMPT_TIMEOUT_MS: u64 = 2_000;

/// The longest pause between two attempts to connect again, in milliseconds.
const ATTEMPT_WAIT_MAX_MS: u64 = 1_000;

/// How long a server may be silent before it is asked whether it is there, in milliseconds; the connection is given up
/// when it has not answered two such questions.
const PING_EVERY_MS: u64 = 2_000;

/// How long an answer of JetStream may take, in milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 4_000;

/// How often somebody who waits for the connection looks for it, in milliseconds; the client does not tell.
const LOOK_EVERY_MS: u64 = 10;

/// How often somebody who waits for an answer looks whether the connection is still the same, in milliseconds.
const LOOK_FOR_ANOTHER_MS: u64 = 100;

/// What a server calls a lack of rights.
const NO_RIGHTS: &str = "permissions violation";

/// A connection, and what JetStream is asked through it.
pub(super) struct Link {
    pub(super) context: Context,
    servers: String,
    /// The newest refusal for want of rights. It comes beside the answers, so that what was asked stays unanswered.
    refusal: Arc<Mutex<Option<String>>>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// No server answers in time, or one does and does not take the credentials, or is not the one of the certificate.
    pub(super) async fn open(options: &Options) -> Result<Self, LogError> {
        // Other crates bring along another provider, and rustls does not choose. Where one is chosen, it stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let refusal = Arc::new(Mutex::new(None));
        let connect = tuned(options.connect_options()?, Arc::clone(&refusal)).connect(options.addresses()?);
        let servers = options.servers();
        let silent = || LogError::Away(format!("{servers}: no connection within {CONNECT_TIMEOUT_MS} ms"));
        let connected = timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), connect).await;
        let client = connected.map_err(|_| silent())?.map_err(|error| connect_error(&servers, &error))?;
        let context = jetstream::context::ContextBuilder::new()
            .timeout(Duration::from_millis(ANSWER_TIMEOUT_MS))
            .ack_timeout(Duration::from_millis(super::CONFIRM_TIMEOUT_MS))
            .build(client);
        Ok(Self { context, servers, refusal })
    }

    /// Asks JetStream.
    ///
    /// # Errors
    /// There is no answer; that it says no is one.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: &str,
        question: &(impl Serialize + Sync),
    ) -> Result<Result<T, jetstream::Error>, LogError> {
        self.ensure_connected()?;
        match self.context.request(subject.to_owned(), question).await {
            Ok(Response::Ok(answer)) => Ok(Ok(answer)),
            Ok(Response::Err { error }) => Ok(Err(error)),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => self.no_jetstream(),
                RequestErrorKind::TimedOut => self.silent(subject),
                _ => LogError::Away(format!("{}: {subject}: {}", self.servers, with_causes(&error))),
            }),
        }
    }

    /// Why JetStream does not answer, although its server does.
    pub(super) fn no_jetstream(&self) -> LogError {
        let servers = &self.servers;
        if self.context.client().server_info().jetstream {
            return LogError::Away(format!("{servers}: JetStream does not answer yet"));
        }
        LogError::Broken(format!(
            "{servers}: the server keeps no streams: give it a section jetstream {{ store_dir: \"...\" }} in its settings"
        ))
    }

    /// That there was no answer: for want of rights, or because nobody was there.
    pub(super) fn silent(&self, subject: &str) -> LogError {
        let why = self.why_silent(subject);
        if why.to_lowercase().contains(NO_RIGHTS) { LogError::Broken(why) } else { LogError::Away(why) }
    }

    /// Why there was no answer to what was sent to a subject, as far as the server said.
    pub(super) fn why_silent(&self, subject: &str) -> String {
        let servers = &self.servers;
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refusal {
            Some(refusal) if refusal.contains(subject) || refusal.contains("Subscription") => {
                format!("{servers}: {refusal}: grant it to the user of nats.user, or of its credentials")
            }
            _ if !self.is_connected() => self.lost(),
            _ => format!("{servers}: no answer in time to {subject}"),
        }
    }

    /// That there is no connection.
    pub(super) fn lost(&self) -> String {
        format!("{}: the connection is lost, and not back yet", self.servers)
    }

    /// That the connection was lost while an answer was waited for; there may be another.
    pub(super) fn broke_off(&self) -> String {
        format!("{}: the connection was lost before the answer came", self.servers)
    }

    fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    /// # Errors
    /// There is no connection just now.
    pub(super) fn ensure_connected(&self) -> Result<(), LogError> {
        if self.is_connected() { Ok(()) } else { Err(LogError::Away(self.lost())) }
    }

    /// Waits for the connection, so long at most.
    pub(super) async fn is_back_within(&self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        while !self.is_connected() && Instant::now() < end {
            sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
        }
        self.is_connected()
    }

    /// How many times the connection was made; another number is another connection.
    pub(super) fn connections(&self) -> u64 {
        self.context.client().statistics().connects.load(Ordering::Relaxed)
    }

    /// Waits until it is another connection than the one of this number: what was asked through that one may never be answered.
    pub(super) async fn is_replaced(&self, connections: u64) {
        while self.connections() == connections {
            sleep(Duration::from_millis(LOOK_FOR_ANOTHER_MS)).await;
        }
    }

    /// The version of the server.
    pub(super) fn version(&self) -> String {
        self.context.client().server_info().version
    }
}

fn tuned(options: ConnectOptions, refusal: Arc<Mutex<Option<String>>>) -> ConnectOptions {
    options
        .name("refold")
        .connection_timeout(Duration::from_millis(ATTEMPT_TIMEOUT_MS))
        .ping_interval(Duration::from_millis(PING_EVERY_MS))
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
            let pause = if attempts <= 1 { 0 } else { 2_u64.saturating_pow(doublings) };
            Duration::from_millis(pause.min(ATTEMPT_WAIT_MAX_MS))
        })
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(text)) = event
                && text.to_lowercase().contains(NO_RIGHTS)
            {
                *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            }
            std::future::ready(())
        })
}

fn connect_error(servers: &str, error: &ConnectError) -> LogError {
    let why = format!("{servers}: {}", with_causes(error));
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => LogError::Broken(
            format!("{why}: set nats.user and nats.password, nats.token or nats.credentials_file"),
        ),
        ConnectErrorKind::Tls => LogError::Broken(why),
        _ if is_of_tls(error) => {
            LogError::Broken(format!("{why}: see nats.tls, nats.ca_file and nats.certificate_file"))
        }
        _ if why.to_lowercase().contains("authentication") => LogError::Broken(why),
        _ => LogError::Away(why),
    }
}

/// Whether it is the handshake that failed, and not the network; an I/O error hides what it holds from `source`.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.is_some_and(|held| held.is::<rustls::Error>()) || error.source().is_some_and(is_of_tls)
}

/// What an answer that says no means for who asked.
pub(super) fn refused(subject: &str, error: &jetstream::Error) -> LogError {
    const NEEDS_SETTINGS: [ErrorCode; 2] =
        [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
    const NOT_READY: usize = 503;
    let why = format!("{subject}: {error}");
    if error.code() == NOT_READY && !NEEDS_SETTINGS.contains(&error.error_code()) {
        LogError::Away(why)
    } else {
        LogError::Broken(why)
    }
}

/// An error with all of its causes; the client's own errors mostly say but what kind they are.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
