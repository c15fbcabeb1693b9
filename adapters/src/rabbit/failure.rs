//! Why RabbitMQ did not do something, as this project has to know it.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};
use refold_domain::log::LogError;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// How long RabbitMQ may take for one answer, in milliseconds.
const ANSWER_WAIT_MS: u64 = 4_000;

/// What it says of a stream without a replica that runs on its machine: where it starts, of one that it does not know yet.
const STARTING: [&str; 2] = ["does not have a running replica", "does not have a replica"];

/// Why something failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such stream, or not yet: for some tenths of a second after its start a server says so of all.
    Missing,
    /// It is there, but no replica of it runs on the server that was asked, or not yet.
    Starting(String),
    /// What there is has other properties than what was asked for; RabbitMQ says which.
    Mismatch(String),
    /// No answer came in time.
    Silent,
    /// Anything else.
    Log(LogError),
}

impl Failure {
    /// The same for who asked about a stream.
    pub(super) fn of(self, stream: &str) -> LogError {
        match self {
            Self::Missing => LogError::Broken(format!(
                "RabbitMQ has no stream {stream:?}: it was deleted, or never made; restore it from a backup, or make a new \
                 log with `refold topics create`"
            )),
            Self::Mismatch(reason) => {
                LogError::Broken(format!("the stream {stream:?} is not as it must be: {reason}"))
            }
            Self::Starting(reason) => LogError::Away(reason),
            Self::Silent => LogError::Away(format!("RabbitMQ did not answer within {ANSWER_WAIT_MS} ms")),
            Self::Log(error) => error,
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return Self::Log(of_connection(&error));
        };
        let said = protocol.get_message().to_string();
        match protocol.kind() {
            _ if STARTING.iter().any(|starting| said.contains(starting)) => Self::Starting(said),
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Self::Missing,
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Self::Mismatch(said),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Self::Log(LogError::Broken(format!(
                "RabbitMQ refuses: {said}: see that rabbit.username and rabbit.password are right and that the user has the \
                 permissions that config/rabbit.toml names"
            ))),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Self::Log(LogError::Broken(format!(
                "RabbitMQ refuses: {said}: see that rabbit.virtual_host is right and that the user may use it \
                 (`rabbitmqctl list_permissions -p VIRTUAL_HOST`)"
            ))),
            _ => Self::Log(LogError::Away(said)),
        }
    }
}

/// A server that shows no certificate, or one that is not trusted, will not change by itself.
fn of_connection(error: &Error) -> LogError {
    match error.kind() {
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::InvalidData => LogError::Broken(format!(
            "no TLS with RabbitMQ: {error}: see that rabbit.servers names the port for TLS and the name that the server's \
             certificate has, and that rabbit.ca_file has who signed it"
        )),
        ErrorKind::ParsingError(_) => LogError::Broken(
            "what answers does not speak RabbitMQ's protocol (AMQP 0.9.1): see that rabbit.servers names RabbitMQ's own port, \
             and that rabbit.tls is true where that is one for TLS"
                .to_owned(),
        ),
        _ => LogError::Away(error.to_string()),
    }
}

/// An answer of RabbitMQ, if it comes in time.
pub(super) async fn answer<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
    let answer = timeout(Duration::from_millis(ANSWER_WAIT_MS), answer).await;
    Ok(answer.map_err(|_| Failure::Silent)??)
}
