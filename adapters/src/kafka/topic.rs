//! The topic: found, made where it is missing, refused where it is another than is meant.

use super::client::{Asking, QUESTION, Trouble, is_for_people, without_values};
use super::settings::Settings;
use super::{MESSAGE_BYTES_MAX, NAME};
use crate::{Access, Config};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use refold_domain::log::LogError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// How long a topic may take until it can be used after somebody made it, in seconds.
const MAKING_SECONDS: u64 = 10;

/// How long to wait before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) partitions: usize,
    /// The copies of the partition that has the fewest.
    pub(super) replicas: usize,
    /// Whether somebody serves each partition.
    pub(super) is_served: bool,
}

/// Finds the topic of this log, or makes it, if that may be done.
pub(super) async fn open(asking: &Arc<Asking>, config: &Config, settings: &Settings) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(MAKING_SECONDS);
    let mut made = false;
    loop {
        match find(asking, &config.name).await? {
            Some(topic) if topic.partitions != config.partitions as usize => {
                return Err(another_number(config, &topic).into());
            }
            Some(topic) if topic.is_served => return Ok(()),
            None if !made && config.access == Access::Create => {
                make(config, settings).await?;
                made = true;
            }
            None if !made => return Err(missing(config).into()),
            _ => {}
        }
        if Instant::now() > deadline {
            let text = format!("the topic {} is there, but nobody serves all of it", config.name);
            return Err(LogError::Away(text).into());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn another_number(config: &Config, topic: &Topic) -> LogError {
    let Config { name, partitions, .. } = config;
    let found = topic.partitions;
    LogError::Broken(format!(
        "the topic {name} has {found} partitions, not {partitions}: set log.partitions to {found}, or log.name to that of \
         another topic"
    ))
}

fn missing(config: &Config) -> LogError {
    LogError::Missing(format!(
        "there is no topic {}: run `refold topics create`, or set log.name",
        config.name
    ))
}

/// The topic of this name.
pub(super) async fn find(asking: &Arc<Asking>, name: &str) -> Result<Option<Topic>, LogError> {
    let asked = name.to_owned();
    let doing = format!("cannot look for the topic {name}");
    let metadata =
        asking.ask(doing.clone(), move |client| client.fetch_metadata(Some(&asked), QUESTION)).await?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Ok(None);
    };
    match topic.error() {
        None => {}
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => return Ok(None),
        Some(error) => {
            let code = Code::from(error);
            return Err(refused(&doing, code));
        }
    }
    let partitions = topic.partitions();
    Ok(Some(Topic {
        partitions: partitions.len(),
        replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default(),
        is_served: partitions.iter().all(|partition| partition.leader() >= 0),
    }))
}

fn refused(doing: &str, code: Code) -> LogError {
    let text = format!("{doing}: {code}");
    if is_for_people(code) { LogError::Broken(text) } else { LogError::Away(text) }
}

/// Another process may do the same at the same time.
async fn make(config: &Config, settings: &Settings) -> anyhow::Result<()> {
    let partitions = i32::try_from(config.partitions)?;
    let bytes = MESSAGE_BYTES_MAX.to_string();
    let in_sync = settings.min_insync_replicas.to_string();
    let replicas = if settings.replicas == 0 { -1 } else { settings.replicas };
    let mut topic = NewTopic::new(&config.name, partitions, TopicReplication::Fixed(replicas))
        .set("cleanup.policy", "delete")
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set("max.message.bytes", &bytes);
    if settings.min_insync_replicas > 0 {
        topic = topic.set("min.insync.replicas", &in_sync);
    }
    let doing = format!("cannot make the topic {}", config.name);
    let results =
        Admin::new(settings)?.with(async |admin, options| admin.create_topics([&topic], options).await).await;
    let results = results.map_err(|error| Trouble::default().explain(&doing, &error))?;
    match results.into_iter().next() {
        Some(Ok(_)) | Some(Err((_, Code::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(not_made(&doing, code, settings).into()),
        None => Err(LogError::Away(format!("{doing}: the cluster said nothing about it")).into()),
    }
}

fn not_made(doing: &str, code: Code, settings: &Settings) -> LogError {
    let remedy = match code {
        Code::InvalidReplicationFactor => {
            format!("{NAME}.replicas is {}: the cluster has fewer brokers than that", settings.replicas)
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "let the user create it, or somebody else make it with `refold topics create`".into()
        }
        Code::PolicyViolation | Code::InvalidConfig => {
            "the cluster does not allow a topic that keeps everything".into()
        }
        _ => return refused(doing, code),
    };
    LogError::Broken(format!("{doing}: {code}: {remedy}"))
}

/// What is set for the topic, by the names of the settings.
pub(super) async fn settings_of(
    name: &str,
    settings: &Settings,
) -> Result<BTreeMap<String, String>, LogError> {
    let doing = format!("cannot look at the settings of the topic {name}");
    let admin = Admin::new(settings).map_err(|error| LogError::Broken(format!("{error:#}")))?;
    let topic = ResourceSpecifier::Topic(name);
    let answer = admin.with(async |admin, options| admin.describe_configs([&topic], options).await).await;
    let answer = answer.map_err(|error| Trouble::default().explain(&doing, &error))?.into_iter().next();
    let found = match answer {
        Some(Ok(found)) => found.entries,
        Some(Err(code)) => return Err(refused(&doing, code)),
        None => return Err(LogError::Away(format!("{doing}: the cluster said nothing about it"))),
    };
    Ok(found.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// Changes and asks about topics. It lives for one question only: nobody reads what it has to say besides the answer.
struct Admin(AdminClient<Trouble>);

impl Admin {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self(settings.client().create_with_context(Trouble::default()).map_err(without_values)?))
    }

    async fn with<T>(
        self,
        question: impl AsyncFnOnce(&AdminClient<Trouble>, &AdminOptions) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let options = AdminOptions::new().request_timeout(Some(QUESTION)).operation_timeout(Some(QUESTION));
        let answer = question(&self.0, &options).await;
        // Letting go waits for a thread.
        drop(spawn_blocking(move || drop(self)));
        answer
    }
}
