//! What a server of Redis must be like, so that nothing in it goes without a word.

use super::connection::Connection;
use super::keys::Keys;
use super::script::PROBE;
use anyhow::{Context, bail, ensure};
use redis::{Cmd, Value, from_redis_value};
use uuid::Uuid;

/// The oldest release whose scripts are refused as a whole where they cannot write.
const VERSION_MIN: (u32, u32) = (7, 0);

/// What a server says of itself: names and values.
struct Info(String);

/// Whether all servers can be used, and the user may do on them what a store does.
///
/// # Errors
/// What is wrong, where, and what to do.
pub(super) async fn check(connection: &Connection, keys: &Keys) -> anyhow::Result<()> {
    for (server, info) in usable(connection).await? {
        if info.value("aof_enabled")? != "1" {
            let remedy = "set appendonly yes there";
            tracing::warn!(
                remedy,
                "{server} writes no append-only file: whenever it is started again, everything is folded from the start of the log"
            );
        }
    }
    let sample = keys.partition(Uuid::nil(), 0).head();
    let mut probe = PROBE.on(&[sample], 1, 0);
    probe.arg(keys.flushes());
    let _: String = probe.run(connection).await?;
    Ok(())
}

/// Whether all servers can be used: this may change while they run.
///
/// # Errors
/// What is wrong, where, and what to do.
pub(super) async fn check_usable(connection: &Connection) -> anyhow::Result<()> {
    usable(connection).await.map(drop)
}

/// What servers say of themselves that can be used.
async fn usable(connection: &Connection) -> anyhow::Result<Vec<(String, Info)>> {
    let mut question = Cmd::new();
    question.arg("INFO");
    let answer = connection.ask_all(&question).await?;
    let info = |(server, value): (String, Value)| {
        let info = Info(from_redis_value(value)?);
        info.ensure_usable(connection.is_cluster()).with_context(|| server.clone())?;
        anyhow::Ok((server, info))
    };
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
        let policy = self.value("maxmemory_policy")?;
        if policy != "noeviction" {
            bail!(
                "its maxmemory-policy is {policy}: where memory runs out it throws away what was folded; run \
                 `redis-cli CONFIG SET maxmemory-policy noeviction` there, and set it in its settings file"
            );
        }
        Ok(())
    }

    fn value(&self, name: &str) -> anyhow::Result<&str> {
        let mut pairs = self.0.lines().filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim());
        found.with_context(|| format!("it does not say its {name}: let redis.user ask for INFO"))
    }
}
