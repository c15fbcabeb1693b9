//! What may lose history: limits that delete, records that are gone, confirms that mean too little.

use super::options::Options;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType,
};
use refold_domain::log::Risk;

/// The first version whose servers tell a waiting reader that they are there.
const WITH_HEARTBEATS: (u64, u64) = (2, 9);

/// The first version that can be told when to sync.
const WITH_SYNC_INTERVAL: (u64, u64) = (2, 10);

/// What a server takes as it comes, and more than any commit has.
const RECORD_BYTES_USUAL: usize = 1 << 20;

const NOT_CHANGEABLE: &str = "that cannot be changed: start a new log under another log.name";

/// The risks of all streams; one that several have alike is told once.
pub(super) fn of_streams(infos: &[Info], options: &Options) -> Vec<Risk> {
    let mut told: Vec<(Vec<&str>, Risk)> = Vec::new();
    for info in infos {
        for risk in of_stream(info, options) {
            match told.iter_mut().find(|(_, known)| *known == risk) {
                Some((streams, _)) => streams.push(&info.config.name),
                None => told.push((vec![&info.config.name], risk)),
            }
        }
    }
    let named = |(streams, risk): (Vec<&str>, Risk)| Risk {
        found: format!("{}: {}", streams.join(", "), risk.found),
        ..risk
    };
    told.into_iter().map(named).collect()
}

/// The risks of one stream, which they do not name.
fn of_stream(info: &Info, options: &Options) -> impl Iterator<Item = Risk> {
    let deleting = deletes(&info.config).map(|(found, remedy)| fatal(found, remedy));
    let restore = "restore the stream from a backup (nats stream restore)";
    let gone = gone(info).map(|found| fatal(found, restore.into()));
    let weak = weak(info, options).map(|(found, remedy)| warning(found, remedy));
    deleting.chain(gone).chain(weak)
}

/// The risks of a server of this version that takes messages of so many bytes.
pub(super) fn of_server(version: &str, limit: usize, options: &Options) -> Vec<Risk> {
    let known = parsed(version);
    let mut risks = Vec::new();
    if limit < RECORD_BYTES_USUAL {
        let found = format!("the server takes messages of {limit} bytes at most: larger commits are refused");
        risks
            .push(warning(found, format!("set max_payload to {RECORD_BYTES_USUAL} or more in its settings")));
    }
    if known.is_some_and(|version| version < WITH_HEARTBEATS) {
        let found =
            format!("the server is {version}: it does not tell readers that it is there (2.9 and later do)");
        risks.push(fatal(found, "install a newer nats-server".into()));
    }
    if known.is_some_and(|version| version < WITH_SYNC_INTERVAL) {
        let found = format!(
            "the server is {version}: it confirms what is written and syncs it later, and knows no sync_interval (2.10 \
             and later do); a power failure may lose what it confirmed last"
        );
        risks.push(warning(found, "install a newer nats-server, and set sync_interval there".into()));
    } else if !options.sync_always {
        let found = "servers confirm what is written and sync it every 2 minutes unless they are told otherwise; a power \
                     failure of all that keep a stream loses what was confirmed since";
        let remedy = "set jetstream { sync_interval: always } in the settings of every server, and then nats.sync_always \
                      = true here";
        risks.push(warning(found.into(), remedy.into()));
    }
    risks
}

/// Settings that delete records, or may.
fn deletes(config: &Config) -> impl Iterator<Item = (String, String)> {
    let edit = move |flag: &str| format!("nats stream edit {} {flag}", config.name);
    let is_old = config.discard == DiscardPolicy::Old;
    // All records of a stream have one subject, and its limit deletes whatever `discard` says.
    let is_old_of_subject = is_old || !config.discard_new_per_subject;
    let limits = [
        (is_old, config.max_messages, "max_msgs", "--max-msgs=-1"),
        (is_old, config.max_bytes, "max_bytes", "--max-bytes=-1"),
        (
            is_old_of_subject,
            config.max_messages_per_subject,
            "max_msgs_per_subject",
            "--max-msgs-per-subject=-1",
        ),
    ];
    let limits = limits.into_iter().filter(|(deletes, limit, ..)| *deletes && *limit > 0);
    let limits = limits.map(move |(_, limit, name, flag)| {
        (format!("{name} is {limit}: older records are deleted"), edit(flag))
    });
    let age = (!config.max_age.is_zero()).then(|| {
        let seconds = config.max_age.as_secs_f64();
        (format!("max_age is {seconds} s: older records are deleted"), edit("--max-age=0s"))
    });
    let retention = (config.retention != RetentionPolicy::Limits).then(|| {
        let found =
            format!("its retention is {:?}: records are deleted once they were read", config.retention);
        (found, NOT_CHANGEABLE.to_owned())
    });
    let rollup = config.allow_rollup.then(|| {
        ("it allows rollups, with which a record deletes all before it".to_owned(), edit("--no-allow-rollup"))
    });
    let memory = (config.storage == StorageType::Memory)
        .then(|| ("it is kept in memory: a restart deletes it".to_owned(), NOT_CHANGEABLE.to_owned()));
    let early = (config.persist_mode == Some(PersistenceMode::Async)).then(|| {
        (
            "it confirms records before they are written (persist_mode async)".to_owned(),
            NOT_CHANGEABLE.to_owned(),
        )
    });
    let expiring = (config.allow_message_ttl || config.subject_delete_marker_ttl.is_some())
        .then(|| ("it lets records expire (allow_msg_ttl)".to_owned(), NOT_CHANGEABLE.to_owned()));
    limits.chain(age).chain(retention).chain(rollup).chain(memory).chain(early).chain(expiring)
}

/// Records that are not there any more.
fn gone(info: &Info) -> Option<String> {
    let (state, start) = (&info.state, info.config.first_sequence.unwrap_or(1).max(1));
    let last = state.last_sequence;
    if state.messages == 0 {
        return (last >= start).then(|| format!("all of its records are gone, {start} to {last}"));
    }
    let first = state.first_sequence;
    if first > start {
        return Some(format!("its records {start} to {} are gone", first - 1));
    }
    let holes = (last + 1 - first).saturating_sub(state.messages);
    (holes > 0).then(|| format!("{holes} of its records between {first} and {last} are gone"))
}

/// Settings that let a mishap lose records, or stop the log.
fn weak(info: &Info, options: &Options) -> impl Iterator<Item = (String, String)> {
    let config = &info.config;
    let edit = move |flag: &str| format!("nats stream edit {} {flag}", config.name);
    let (replicas, wanted) = (config.num_replicas, options.replicas);
    let few = (replicas < wanted).then(|| {
        let found = format!("{replicas} servers keep it, not {wanted} as nats.replicas says");
        (found, edit(&format!("--replicas={wanted}")))
    });
    let single = (replicas <= 1 && wanted <= 1).then(|| {
        let found = "one server keeps it: it is lost with that server's disk".to_owned();
        (found, "make backups (nats stream backup), or have a cluster and set nats.replicas = 3".to_owned())
    });
    let cluster = info.cluster.as_ref().map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
    let behind: Vec<_> = cluster.iter().filter(|peer| peer.offline || !peer.current).collect();
    let behind = (!behind.is_empty()).then(|| {
        let names: Vec<_> = behind.iter().map(|peer| peer.name.as_str()).collect();
        (format!("it is not complete on {}", names.join(", ")), "see that these servers run".to_owned())
    });
    let unguarded = (!config.deny_delete || !config.deny_purge).then(|| {
        let found =
            "its records may be deleted by anybody who may use it (deny_delete, deny_purge)".to_owned();
        (found, edit("--deny-delete --deny-purge"))
    });
    let limits = [
        (config.max_messages, "max_msgs"),
        (config.max_bytes, "max_bytes"),
        (
            if config.discard_new_per_subject { config.max_messages_per_subject } else { 0 },
            "max_msgs_per_subject",
        ),
    ];
    let full = limits.into_iter().find(|(limit, _)| config.discard == DiscardPolicy::New && *limit > 0);
    let full = full.map(|(limit, name)| {
        let found = format!("{name} is {limit}: when it is full, nothing can be recorded any more");
        (found, edit(&format!("--{}=-1", name.replace('_', "-"))))
    });
    few.into_iter().chain(single).chain(behind).chain(unguarded).chain(full)
}

/// Major and minor version.
fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn fatal(found: String, remedy: String) -> Risk {
    Risk { fatal: true, found, remedy }
}

fn warning(found: String, remedy: String) -> Risk {
    Risk { fatal: false, found, remedy }
}
