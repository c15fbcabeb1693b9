//! The settings: what can be set, and how files and the environment set it.
//!
//! `config/default.toml` explains every key. Whatever is wrong anywhere is told at once, each with its source.

pub mod access;
pub mod auth;
pub mod cors;
mod keys;
mod layer;
mod options;
pub mod role;
mod routes;
pub mod secret;
pub mod vehicles;

use anyhow::{Context, Result, ensure};
use config::{Config, File, FileFormat, Map};
use refold_domain::options::Options;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The default of every key, with its explanation: the lowest layer, and an example file that works.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// The variable that names settings files, with colons between them, where none is given on the command line.
pub const CONFIG_VARIABLE: &str = "REFOLD_CONFIG";

/// All settings of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The directory that holds everything written.
    pub data_dir: PathBuf,
    /// What the process does.
    pub role: role::Role,
    /// How HTTP is served.
    pub http: Http,
    /// How tokens are signed, and how logins are held up.
    pub auth: auth::Auth,
    /// What each route needs.
    pub access: access::Access,
    /// Where the log lives.
    pub log: Log,
    /// Where the read models live.
    pub store: Store,
    /// How commands wait for the log.
    pub writer: Writer,
    /// How guarded commands wait for their verdict.
    pub decide: Decide,
    /// Which definitions there are besides the built-in ones.
    pub projections: Projections,
    /// What the vehicle detections are watched for.
    pub vehicles: vehicles::Vehicles,
    /// Which other origins may use the API from within a browser.
    pub cors: cors::Cors,
    /// What the process tells about itself.
    pub telemetry: Telemetry,
    /// What is set for each broker and each kind of store alone, by its name.
    #[serde(skip)]
    pub servers: BTreeMap<String, Options>,
    /// The files with a secret that others may read or write to.
    #[serde(skip)]
    pub told_secrets: Vec<PathBuf>,
}

/// How HTTP is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The address and port to serve on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many bytes a body may have.
    pub body_bytes_max: usize,
    /// How many bytes a body of many lines may have.
    pub ndjson_bytes_max: usize,
    /// How many of them are read and executed at the same time.
    pub ndjson_requests_max: usize,
    /// How many connections are open at the same time.
    pub connections_max: usize,
    /// How many requests are answered at the same time.
    pub requests_max: usize,
    /// How many streams are open at the same time.
    pub streams_max: usize,
    /// How long the client of a stream may take nothing.
    #[serde(rename = "stream_timeout_ms", with = "milliseconds")]
    pub stream_timeout: Duration,
    /// How long a client may take to send a request's head.
    #[serde(rename = "head_timeout_ms", with = "milliseconds")]
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    #[serde(rename = "body_timeout_ms", with = "milliseconds")]
    pub body_timeout: Duration,
    /// How long a client may take nothing of its answer.
    #[serde(rename = "answer_timeout_ms", with = "milliseconds")]
    pub answer_timeout: Duration,
    /// How long a stopping server waits for the requests it is answering.
    #[serde(rename = "stop_timeout_ms", with = "milliseconds")]
    pub stop_timeout: Duration,
}

/// Where the log lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The broker that holds it, one of [`refold_adapters::brokers`].
    pub broker: String,
    /// Its name: all that it has on a server begins with it.
    pub name: String,
    /// Whether a start makes what is missing of it.
    pub create: bool,
    /// How often a running service looks whether its broker still keeps all of it.
    #[serde(rename = "check_every_ms", with = "milliseconds")]
    pub check_every: Duration,
    /// How many partitions a new log gets; a log that exists keeps its own number.
    pub partitions: u32,
}

/// Where the read models live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The kind of store.
    pub kind: StoreKind,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// A file in the data directory.
    Embedded,
    /// Redis, one server or a cluster.
    Redis,
}

/// How commands wait for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// How many commands may wait for a place in a commit, for each partition.
    pub queue_commands_max: usize,
    /// How long a caller waits for the log's confirm.
    #[serde(rename = "append_wait_ms", with = "milliseconds")]
    pub append_wait: Duration,
}

/// How guarded commands wait for their verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// How long a guarded command waits, after the log's confirm, to learn whether it counts.
    #[serde(rename = "wait_ms", with = "milliseconds")]
    pub wait: Duration,
}

/// Which definitions there are besides the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projections {
    /// The directory they are in, if there is one.
    #[serde(deserialize_with = "none_if_empty")]
    pub dir: Option<PathBuf>,
}

/// What the process tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Which log lines are written: a level, or a filter of `tracing`.
    pub log: String,
    /// How they look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

impl Settings {
    /// Reads the defaults, the files (those `given`, or the usual ones, see [`files`]) and the environment.
    ///
    /// # Errors
    /// Names everything that is wrong, each with its source and with what is allowed.
    pub fn load(given: &[PathBuf]) -> Result<Self> {
        Self::layered(&files(given), None)
    }

    fn layered(files: &[PathBuf], variables: Option<Map<String, String>>) -> Result<Self> {
        let mut entries = Vec::new();
        let names = layer::names(variables.as_ref());
        let slip =
            |name: &String| layer::slip(name, keys::KEYS.iter().map(|(key, _)| *key).chain([keys::ACCESS]));
        let mut problems: Vec<String> = names.iter().filter_map(slip).collect();
        let mut told_secrets = Vec::new();
        let layers = files.iter().map(|path| (Some(path), layer::file(path)));
        for (path, layer) in layers.chain([(None, layer::environment(variables))]) {
            match layer {
                Ok(found) => {
                    let has_secret = found.iter().any(keys::holds_secret);
                    told_secrets.extend(path.filter(|path| has_secret && others_may_touch(path)).cloned());
                    entries.extend(found);
                }
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        problems.extend(entries.iter().filter_map(|entry| keys::problem(entry).err()));
        problems.sort();
        problems.dedup();
        ensure!(problems.is_empty(), "these settings cannot be used:\n  {}", problems.join("\n  "));
        Ok(Self { told_secrets, ..Self::merged(entries)? })
    }

    fn merged(mut entries: Vec<layer::Entry>) -> Result<Self> {
        let servers = options::taken(&mut entries);
        let mut merged = Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
        // Routes are no keys with dots: they are set together, as the table that they stand in.
        let mut routes = Map::new();
        for entry in entries {
            match keys::route(&entry.key) {
                Some(route) => drop(routes.insert(route.to_owned(), entry.value)),
                None => merged = merged.set_override(&entry.key, entry.value)?,
            }
        }
        let settings = merged.set_override(keys::ACCESS, routes)?.build()?.try_deserialize();
        Ok(Self { servers, ..settings.context("cannot read the settings")? })
    }
}

/// Whether others than its owner may read a file, or write to it. Of one that is not looked at, nobody knows.
fn others_may_touch(path: &Path) -> bool {
    const OTHERS: u32 = 0o066;
    fs::metadata(path).is_ok_and(|about| about.permissions().mode() & OTHERS != 0)
}

/// The settings files in the order in which they are read: those `given`, else those that [`CONFIG_VARIABLE`] names,
/// else the user's and the working directory's where they exist.
pub fn files(given: &[PathBuf]) -> Vec<PathBuf> {
    usual_files(given, Path::new(""), |name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn usual_files(
    given: &[PathBuf],
    directory: &Path,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<PathBuf> {
    if !given.is_empty() {
        return given.to_vec();
    }
    if let Some(named) = variable(CONFIG_VARIABLE) {
        return std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    let home = || variable("HOME").map(|home| Path::new(&home).join(".config"));
    let user = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let user = user.map(|user| user.join("refold/config.toml"));
    user.into_iter().chain([directory.join("refold.toml")]).filter(|path| path.is_file()).collect()
}

mod milliseconds {
    //! A duration written as a whole number of milliseconds.

    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
        u64::deserialize(value).map(Duration::from_millis)
    }

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        value.as_millis().serialize(to)
    }
}

fn none_if_empty<'de, D: Deserializer<'de>>(value: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(value)?;
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}

#[cfg(test)]
mod tests;
