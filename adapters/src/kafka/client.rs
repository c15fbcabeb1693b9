//! A connection to the cluster, what it complains of, and what that means.

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::future_producer::FutureProducerContext;
use rdkafka::producer::{FutureProducer, Producer};
use refold_domain::log::LogError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// How long a question to the cluster may take, in milliseconds. Less than whoever asks waits.
const QUESTION_MS: u64 = 4_000;

/// The same as a time.
pub(super) const QUESTION: Duration = Duration::from_millis(QUESTION_MS);

/// How long a partition may have no leader, or seem not to be there, in milliseconds: it was just made, or moves.
const MOVING_MS: u64 = 3_000;

/// What librdkafka says of an answer that begins with no length that could be.
const NOT_KAFKA: &str = "receive.message.max.bytes";

/// What to do where somebody was not let in.
const LOGIN: &str =
    "; see to it that kafka.username, kafka.password and kafka.mechanism are what the brokers know";

/// How long a connection may go without an answer before another takes its place.
pub(super) const RENEW: Duration = Duration::from_secs(15);

/// How long to wait before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What librdkafka said last about its connections, which it tells nobody who waits for an answer.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<(Code, String)>>>);

impl Trouble {
    /// An error with its reason.
    pub(super) fn explain(&self, doing: &str, error: &KafkaError) -> LogError {
        let trouble = self.last().clone();
        let because = trouble.as_ref().map(|(_, reason)| format!(" ({reason})")).unwrap_or_default();
        // What TLS complained of is only known from the reason.
        let own = error.rdkafka_error_code().filter(|code| *code != Code::SSL);
        let codes = [own, admin_code(error), trouble.map(|(code, _)| code)];
        let codes = || codes.into_iter().flatten();
        let remedy = if codes().any(is_login) { LOGIN } else { "" };
        let text = format!("{doing}: {error}{because}{remedy}");
        if text.contains(NOT_KAFKA) {
            return LogError::Broken(format!(
                "{doing}: what answers does not speak Kafka's protocol, or without TLS: see kafka.brokers and kafka.tls"
            ));
        }
        if codes().any(is_for_people) { LogError::Broken(text) } else { LogError::Away(text) }
    }

    /// What librdkafka complained of last.
    pub(super) fn reason(&self) -> Option<String> {
        self.last().as_ref().map(|(_, reason)| reason.clone())
    }

    /// All is well again.
    pub(super) fn forget(&self) {
        *self.last() = None;
    }

    fn last(&self) -> MutexGuard<'_, Option<(Code, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which the library leaves out.
fn admin_code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        _ => None,
    }
}

/// Whether somebody was not let in.
fn is_login(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
    )
}

/// Whether it stays as it is until somebody changes something.
pub(super) fn is_for_people(code: Code) -> bool {
    let is_other = matches!(
        code,
        Code::SSL
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
    );
    is_other || is_login(code)
}

impl ClientContext for Trouble {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        // That all are away comes last and gives no reason.
        let code = error.rdkafka_error_code().filter(|code| *code != Code::AllBrokersDown);
        if let Some(code) = code {
            *self.last() = Some((meant(code, reason), reason.to_owned()));
        }
    }
}

/// A connection that breaks in the middle of a handshake is no reason to look at certificates, but one that the other side
/// ends with an alert is.
fn meant(code: Code, reason: &str) -> Code {
    match code {
        Code::SSL if !reason.contains("error:") && !reason.contains("verif") => Code::BrokerTransportFailure,
        Code::BrokerTransportFailure if reason.contains("SSL alert") => Code::SSL,
        other => other,
    }
}

impl ConsumerContext for Trouble {}

/// What is asked.
pub(super) type Asked = Client<FutureProducerContext<Trouble>>;

/// The first offset of a partition, and the one where the next record will stand, which was known to be `known` at least. It
/// may block.
///
/// A broker that was cut off from its cluster for a while tells of an earlier end for a moment, or of none.
pub(super) fn watermarks(client: &Asked, topic: &str, partition: i32, known: i64) -> KafkaResult<(i64, i64)> {
    let begun = Instant::now();
    loop {
        let answer = client.fetch_watermarks(topic, partition, QUESTION.saturating_sub(begun.elapsed()));
        let is_settled = match &answer {
            Ok((_, high)) => *high >= known,
            Err(error) => !is_moving(error),
        };
        if is_settled || begun.elapsed() >= Duration::from_millis(MOVING_MS) {
            return answer;
        }
        thread::sleep(ASK_AGAIN);
    }
}

fn is_moving(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::UnknownTopicOrPartition)
    )
}

/// A producer of librdkafka, with a thread that serves it.
pub(super) struct Connection {
    pub(super) trouble: Trouble,
    producer: Option<FutureProducer<Trouble>>,
}

impl Connection {
    /// Connects as soon as there is something to do.
    pub(super) fn new(config: &ClientConfig) -> anyhow::Result<Self> {
        let trouble = Trouble::default();
        let producer = config.create_with_context(trouble.clone()).map_err(without_values)?;
        Ok(Self { trouble, producer: Some(producer) })
    }

    pub(super) fn producer(&self) -> &FutureProducer<Trouble> {
        self.producer.as_ref().expect("it is there until this is dropped")
    }
}

/// The connection through which the cluster is asked.
///
/// librdkafka may forget all brokers for good: it does where a cluster that is just coming back names none
/// (confluentinc/librdkafka#5301). So after a while without an answer another connection takes over.
pub(super) struct Asking {
    config: ClientConfig,
    current: Mutex<Current>,
}

struct Current {
    connection: Arc<Connection>,
    /// Since when nothing was answered.
    silent_since: Option<Instant>,
}

impl Asking {
    pub(super) fn new(config: ClientConfig) -> anyhow::Result<Self> {
        let connection = Arc::new(Connection::new(&config)?);
        Ok(Self { config, current: Mutex::new(Current { connection, silent_since: None }) })
    }

    /// Asks the cluster, on a thread that may block.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        doing: String,
        question: impl FnOnce(&Asked) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, LogError> {
        let asking = Arc::clone(self);
        let asked = spawn_blocking(move || asking.ask_and_wait(&doing, question));
        asked.await.unwrap_or_else(|error| Err(LogError::Away(format!("the question was cut off: {error}"))))
    }

    /// Asks the cluster on this thread.
    pub(super) fn ask_and_wait<T>(
        &self,
        doing: &str,
        question: impl FnOnce(&Asked) -> Result<T, KafkaError>,
    ) -> Result<T, LogError> {
        let connection = Arc::clone(&self.current().connection);
        let answer = question(connection.producer().client());
        let answer = answer.map_err(|error| connection.trouble.explain(doing, &error));
        match &answer {
            Ok(_) => {
                connection.trouble.forget();
                self.current().silent_since = None;
            }
            Err(LogError::Away(_)) => self.renew_after_silence(&connection),
            Err(LogError::Broken(_) | LogError::Missing(_)) => {}
        }
        answer
    }

    fn renew_after_silence(&self, asked: &Arc<Connection>) {
        let mut current = self.current();
        let since = *current.silent_since.get_or_insert_with(Instant::now);
        // Others may have asked the same one, and renewed it already.
        if since.elapsed() < RENEW || !Arc::ptr_eq(&current.connection, asked) {
            return;
        }
        match Connection::new(&self.config) {
            Ok(connection) => {
                tracing::debug!("another connection to Kafka takes over");
                *current = Current { connection: Arc::new(connection), silent_since: None };
            }
            Err(error) => tracing::debug!(%error, "no other connection to Kafka"),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    /// librdkafka takes some tenths of a second to let go, for which nobody has to wait.
    fn drop(&mut self) {
        let producer = self.producer.take();
        let dropping = thread::Builder::new().name("kafka-close".into()).spawn(move || drop(producer));
        if let Err(error) = dropping {
            tracing::debug!(%error, "no thread to close a connection to Kafka");
        }
    }
}

/// What settings are called here that librdkafka finds fault with.
const OWN_NAMES: &[(&str, &str)] = &[
    ("ssl.ca.location", "kafka.ca_file"),
    ("ssl.certificate.location", "kafka.certificate_file"),
    ("ssl.key.location", "kafka.key_file"),
    ("ssl.key.password", "kafka.key_password"),
];

/// librdkafka repeats a value that it does not take, whatever it is.
pub(super) fn without_values(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, reason, key, _) => {
            let own =
                OWN_NAMES.iter().find(|(theirs, _)| *theirs == key).map_or(key.as_str(), |(_, own)| own);
            anyhow::anyhow!("{own} cannot be used: {reason}")
        }
        other => anyhow::anyhow!("{other}"),
    }
}
