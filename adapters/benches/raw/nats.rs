//! NATS JetStream: pipelined publishing, and an ordered consumer for each stream.

use crate::{ANSWER_MAX, Load, Log, Read};
use anyhow::{Context, Result};
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use futures::future::try_join_all;
use std::time::{Duration, Instant};

pub(crate) async fn produce(address: &str, load: &Load) -> Result<Duration> {
    let client = async_nats::connect(address).await?;
    let context = ContextBuilder::new().max_ack_inflight(load.window).ack_timeout(ANSWER_MAX).build(client);
    let wanted = stream::Config {
        name: load.name.clone(),
        subjects: vec![load.name.clone()],
        ..stream::Config::default()
    };
    context.create_stream(wanted).await?;
    load.run(async |message| {
        let message = PublishMessage::build().payload(message);
        let confirm = context.send_publish(load.name.clone(), message).await?;
        Ok(async move { Ok(confirm.await.map(drop)?) })
    })
    .await
}

pub(crate) async fn consume(address: &str, log: &Log) -> Result<(Read, Instant)> {
    let context = jetstream::new(async_nats::connect(address).await?);
    let read = |number| tokio::spawn(partition(context.clone(), format!("{}-p{number}", log.name)));
    let reads: Result<Vec<_>> = try_join_all((0..log.partitions).map(read)).await?.into_iter().collect();
    Ok((reads?.into_iter().sum(), Instant::now()))
}

async fn partition(context: jetstream::Context, name: String) -> Result<Read> {
    let stream = context.get_stream(name).await?;
    let there = usize::try_from(stream.cached_info().state.messages)?;
    let wanted = OrderedConfig { deliver_subject: context.client().new_inbox(), ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(wanted).await?.messages().await?;
    let mut read = Read::default();
    while read.records < there {
        let message = tokio::time::timeout(ANSWER_MAX, messages.next()).await?;
        read.count(message.context("the consumer ended")??.payload.len());
    }
    Ok(read)
}
