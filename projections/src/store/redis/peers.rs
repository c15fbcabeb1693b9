//! Processes that share a store on Redis: who folds what, and what they tell each other.
//!
//! Who folds is settled by one script on two keys, by the server's clock: a member that has not said for [`LEASE_MS`] that it is
//! alive is dead, and what was its is free. What was flushed is published, so it reaches who listens at that moment.

use super::Shared;
use super::script::{CLAIM, FOLDED, RESIGN, Script};
use crate::bulletin::Bulletin;
use crate::peers::Peers;
use anyhow::Context;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use redis::aio::{PubSubSink, PubSubStream};
use redis::{FromRedisValue, cmd};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

/// How long a member is taken for alive after it has said so, in milliseconds.
const LEASE_MS: u64 = 3_000;
/// How often it is seen whether a connection that only listens is still one.
const SUBSCRIBED_WAIT: Duration = Duration::from_secs(5);
/// How long the server may take to say so.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(2);

/// Those who share a store on Redis.
pub struct RedisPeers(pub(super) Arc<Shared>);

impl RedisPeers {
    async fn run<T: FromRedisValue>(
        &self,
        script: &'static Script,
        arguments: &[String],
    ) -> anyhow::Result<T> {
        let keys = [self.0.keys.members(), self.0.keys.claims()];
        let mut call = script.on(&keys, arguments.len(), 0);
        call.arg(arguments);
        call.run(&self.0.writing).await
    }
}

#[async_trait]
impl Peers for RedisPeers {
    async fn claim(&self, member: Uuid, partitions: u32) -> anyhow::Result<BTreeSet<u32>> {
        if self.0.catalogue.is_replaced() {
            // It cannot fold: others must not wait for it.
            self.resign(member).await?;
            return Ok(BTreeSet::new());
        }
        self.run(&CLAIM, &[member.to_string(), partitions.to_string(), LEASE_MS.to_string()]).await
    }

    async fn resign(&self, member: Uuid) -> anyhow::Result<()> {
        self.run(&RESIGN, &[member.to_string()]).await
    }

    async fn folded(&self) -> anyhow::Result<BTreeSet<u32>> {
        self.run(&FOLDED, &[]).await
    }

    async fn tell(&self, partition: u32, bulletin: &Bulletin) -> anyhow::Result<()> {
        let message = serde_json::to_vec(&(partition, bulletin))?;
        self.0.writing.ask(cmd("PUBLISH").arg(self.0.keys.flushes()).arg(message)).await
    }

    async fn listen(&self) -> anyhow::Result<BoxStream<'static, (u32, Bulletin)>> {
        let (sink, messages) = self.0.reading.pub_sub().await?.split();
        let mut checks = interval(SUBSCRIBED_WAIT);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ear = Ear { sink, messages, checks, channel: self.0.keys.flushes() };
        ear.subscribe().await?;
        Ok(unfold(ear, |mut ear| async { Some((ear.next().await?, ear)) }).boxed())
    }
}

/// Somebody who listens.
struct Ear {
    sink: PubSubSink,
    messages: PubSubStream,
    checks: Interval,
    channel: String,
}

impl Ear {
    /// Also where it has subscribed before: a connection that is none any more does not say so by itself.
    async fn subscribe(&mut self) -> anyhow::Result<()> {
        let subscribed = timeout(SUBSCRIBE_WAIT, self.sink.subscribe(&self.channel)).await;
        Ok(subscribed.context("no answer to a subscription")??)
    }

    async fn next(&mut self) -> Option<(u32, Bulletin)> {
        loop {
            tokio::select! {
                message = self.messages.next() => {
                    match serde_json::from_slice(message?.get_payload_bytes()) {
                        Ok(told) => return Some(told),
                        // Somebody of another version: to look at the store is always right.
                        Err(error) => {
                            tracing::debug!("what another process tells cannot be read: {error}");
                            return None;
                        }
                    }
                }
                _ = self.checks.tick() => {
                    if let Err(error) = self.subscribe().await {
                        tracing::debug!("no longer subscribed: {error:#}");
                        return None;
                    }
                }
            }
        }
    }
}
