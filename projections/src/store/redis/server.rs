//! What a server of Redis must be like, so that nothing in it goes without a word.

use super::connection::Connection;
use super::keys::Keys;
use super::script::PROBE;
use anyhow::{Context, ensure};
use redis::{Cmd, Value, from_redis_value};
use refold_domain::log::Risk;
use uuid::Uuid;

/// The oldest release whose scripts are refused as a whole where they cannot write.
const VERSION_MIN: (u32, u32) = (7, 0);

/// What keeps a server from throwing keys away.
const EVICT_NOTHING: &str =
    "run `redis-cli CONFIG SET maxmemory-policy noeviction` there, and set it in its settings file";

/// What a server says of itself: names and values.
struct Info(String);

/// Whether all servers can be used, and the user may do on them what a store does.
///
/// # Errors
/// What is wrong, where, and what to do.
pub(super) async fn check(connection: &Connection, keys: &Keys) -> anyhow::Result<()> {
    for (server, info) in infos(connection).await? {
        info.ensure_usable(connection.is_cluster()).with_context(|| server.clone())?;
    }
    let sample = keys.partition(Uuid::nil(), 0).head();
    let mut probe = PROBE.on(&[sample], 1, 0);
    probe.arg(keys.flushes());
    let _: String = probe.run(connection).await?;
    Ok(())
}

/// What of what they are given servers may lose.
///
/// # Errors
/// They cannot be asked.
pub(super) async fn risks(connection: &Connection) -> anyhow::Result<Vec<Risk>> {
    let mut risks = Vec::new();
    for (server, info) in infos(connection).await? {
        if info.is_replica(connection)? {
            risks.push(Risk {
                fatal: true,
                found: format!("{server}: it is a replica of {}, to which nothing can be written", info.value("master_host")?),
                remedy: "set redis.servers to the server that it follows, or run `redis-cli REPLICAOF NO ONE` there".to_owned(),
            });
        }
        let policy = info.value("maxmemory_policy")?;
        if policy != "noeviction" {
            risks.push(Risk {
                fatal: true,
                found: format!(
                    "{server}: its maxmemory-policy is {policy}: where memory runs out it throws away what was folded"
                ),
                remedy: EVICT_NOTHING.to_owned(),
            });
        }
        if info.value("aof_enabled")? != "1" {
            risks.push(Risk {
                fatal: false,
                found: format!(
                    "{server} writes no append-only file: whenever it is started again, everything is folded from the start \
                     of the log"
                ),
                remedy: "set appendonly yes there".to_owned(),
            });
        }
    }
    Ok(risks)
}

/// The servers that take no writes as long as they follow another.
///
/// # Errors
/// They cannot be asked.
pub(super) async fn replicas(connection: &Connection) -> anyhow::Result<Vec<String>> {
    let mut replicas = Vec::new();
    for (server, info) in infos(connection).await? {
        if info.is_replica(connection)? {
            replicas.push(server);
        }
    }
    Ok(replicas)
}

async fn infos(connection: &Connection) -> anyhow::Result<Vec<(String, Info)>> {
    let mut question = Cmd::new();
    question.arg("INFO");
    let answer = connection.ask_all(&question).await?;
    let info = |(server, value): (String, Value)| anyhow::Ok((server, Info(from_redis_value(value)?)));
    answer.into_iter().map(info).collect()
}

impl Info {
    fn ensure_usable(&self, is_cluster: bool) -> anyhow::Result<()> {
        let version = self.value("redis_version")?;
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let (major, minor) = VERSION_MIN;
        ensure!(found >= VERSION_MIN, "it is Redis {version}: {major}.{minor} or newer is needed");
        let is_member = self.value("cluster_enabled")? == "1";
        ensure!(is_cluster || !is_member, "it is a server of a cluster: set redis.cluster = true");
        Ok(())
    }

    /// In a cluster there are some, and writes find their way past them.
    fn is_replica(&self, connection: &Connection) -> anyhow::Result<bool> {
        Ok(!connection.is_cluster() && self.value("role")? != "master")
    }

    fn value(&self, name: &str) -> anyhow::Result<&str> {
        let mut pairs = self.0.lines().filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim());
        found.with_context(|| format!("it does not say its {name}: let redis.user ask for INFO"))
    }
}
