//! What about the streams may lose history, or has.

use super::failure::Failure;
use super::link::Link;
use super::management;
use super::options::Settings;
use super::streams::{self, Stream};
use futures::future::try_join_all;
use refold_domain::log::{LogError, Risk};

/// The arguments and policies that let a stream forget its oldest records.
const RETENTION: [&str; 2] = ["max-age", "max-length-bytes"];

/// Before this version nobody mends anything, and what is known of it was tested with 3.10 only.
const SUPPORTED_SINCE: u32 = 4;

/// How many streams are looked at at the same time.
const STREAMS_AT_ONCE: usize = 16;

/// All that was found.
pub(super) async fn risks(link: &Link, settings: &Settings, all: &[Stream]) -> Result<Vec<Risk>, LogError> {
    let mut risks = Vec::new();
    for some in all.chunks(STREAMS_AT_ONCE) {
        let found = some.iter().map(|stream| of_stream(link, settings, stream));
        risks.extend(try_join_all(found).await?.into_iter().flatten());
    }
    risks.extend(of_management(settings, all).await);
    risks.push(warning(
        "RabbitMQ confirms a record when most replicas have it, not when it is on their disks (no fsync): a power failure \
         that meets most replicas of a stream at once can lose the newest ones",
        "keep the replicas on machines that do not fail together",
    ));
    Ok(risks)
}

async fn of_stream(link: &Link, settings: &Settings, stream: &Stream) -> Result<Vec<Risk>, LogError> {
    let found = [arguments(link, settings, &stream.name).await?, forgotten(link, stream).await?];
    Ok(found.into_iter().flatten().collect())
}

/// RabbitMQ tells of a stream's arguments when somebody declares it with others; the first that differs, retention first.
async fn arguments(link: &Link, settings: &Settings, stream: &str) -> Result<Option<Risk>, LogError> {
    let failed = |failure: Failure| failure.of(stream);
    streams::recovered(|| streams::find(link, stream)).await.map_err(failed)?;
    match streams::declare(link, stream, settings.replicas).await {
        Ok(()) => Ok(None),
        Err(Failure::Mismatch(reason)) => Ok(mismatch(stream, &reason)),
        Err(Failure::Log(LogError::Broken(reason))) => Ok(Some(warning(
            &format!("how the stream {stream:?} was declared could not be checked: {reason}"),
            "let the user configure the streams, too",
        ))),
        Err(failure) => Err(failed(failure)),
    }
}

fn mismatch(stream: &str, reason: &str) -> Option<Risk> {
    let is_of = |argument: &str| reason.contains(&format!("inequivalent arg '{argument}'"));
    if RETENTION.iter().any(|name| is_of(&format!("x-{name}"))) {
        let found = format!("the stream {stream:?} was declared to delete records: {reason}");
        return Some(fatal(&found, "an argument cannot be changed: make a new log under another log.name"));
    }
    // More or fewer replicas than a new stream would get, or another way to choose their leader.
    let harmless = ["x-initial-cluster-size", "x-queue-leader-locator", "x-stream-max-segment-size-bytes"];
    (!harmless.into_iter().any(is_of)).then(|| {
        let found = format!("{stream:?} is not the stream that it must be: {reason}");
        fatal(&found, "make a new log under another log.name")
    })
}

/// The first record of a stream has offset 0.
async fn forgotten(link: &Link, stream: &Stream) -> Result<Option<Risk>, LogError> {
    let first = stream.bounds(link).await?.first.unwrap_or(0);
    Ok((first > 0).then(|| {
        let stream = &stream.name;
        let found = format!("the records of the stream {stream:?} before offset {first} were deleted");
        fatal(
            &found,
            "restore the log from a backup, and see that no policy sets max-age or max-length-bytes",
        )
    }))
}

async fn of_management(settings: &Settings, all: &[Stream]) -> Vec<Risk> {
    let unchecked = |why: &str, remedy: &str| {
        let found = format!(
            "whether a policy lets the streams delete records, how many replicas they have and which version RabbitMQ is was \
             not checked: {why}"
        );
        vec![warning(&found, remedy)]
    };
    let Some(base) = &settings.management else {
        let remedy = "set rabbit.management to the address of RabbitMQ's management plugin";
        return unchecked("only the management plugin tells", remedy);
    };
    match asked(settings, base, all).await {
        Ok(risks) => risks,
        Err(error) => {
            let why = format!("rabbit.management ({base}): {error:#}");
            unchecked(&why, "see that the plugin runs there and that the user has the tag monitoring")
        }
    }
}

async fn asked(settings: &Settings, base: &url::Url, all: &[Stream]) -> anyhow::Result<Vec<Risk>> {
    let mut risks = Vec::new();
    let version = management::version(settings, base).await?;
    risks.extend(outdated(&version));
    let mut lonely = Vec::new();
    for Stream { name, .. } in all {
        let stream = management::stream(settings, base, name).await?;
        risks.extend(of_policy(settings, name, &stream));
        if stream.members.len() == 1 {
            lonely.push(name.as_str());
        }
    }
    if !lonely.is_empty() {
        risks.push(warning(
            &format!(
                "{} of {} streams have one replica: its disk is all that they have",
                lonely.len(),
                all.len()
            ),
            "add servers to the cluster, then `rabbitmq-streams add_replica STREAM NODE` for each stream",
        ));
    }
    Ok(risks)
}

fn outdated(version: &str) -> Option<Risk> {
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major < SUPPORTED_SINCE).then(|| {
        let found = format!(
            "RabbitMQ {version} gets no more corrections, and its streams had faults that are corrected since"
        );
        warning(&found, "upgrade to RabbitMQ 4")
    })
}

fn of_policy(settings: &Settings, name: &str, stream: &management::Stream) -> Option<Risk> {
    let policies = stream.policies.as_ref();
    let set = RETENTION.iter().filter_map(|key| Some(format!("{key} = {}", policies?.get(*key)?)));
    let set: Vec<String> = set.collect();
    let named = |policy: &Option<String>| policy.clone().filter(|policy| !policy.is_empty());
    let clear = [
        named(&stream.policy).map(|policy| ("clear_policy", policy)),
        named(&stream.operator_policy).map(|policy| ("clear_operator_policy", policy)),
    ];
    let host = &settings.virtual_host;
    let clear = clear
        .into_iter()
        .flatten()
        .map(|(command, policy)| format!("`rabbitmqctl {command} -p {host} {policy}`"));
    let clear: Vec<String> = clear.collect();
    (!set.is_empty()).then(|| {
        let found = format!("a policy lets the stream {name:?} delete records: {}", set.join(", "));
        fatal(&found, &format!("take it out of the policy, or the policy away: {}", clear.join(", ")))
    })
}

fn fatal(found: &str, remedy: &str) -> Risk {
    Risk { fatal: true, found: found.to_owned(), remedy: remedy.to_owned() }
}

fn warning(found: &str, remedy: &str) -> Risk {
    Risk { fatal: false, found: found.to_owned(), remedy: remedy.to_owned() }
}
