//! RabbitMQ: streams over AMQP 0.9.1, with publisher confirms, and a channel for each reader.

use crate::{Load, Log, Read};
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use futures::future::try_join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How many records may be on their way to a reader, and how many of them are acknowledged at once.
const PREFETCH: u16 = 256;
const ACKNOWLEDGED_AT_ONCE: usize = 64;

/// How long nothing comes from a stream that is read to its end, which RabbitMQ does not tell. It is not counted.
const QUIET: Duration = Duration::from_secs(3);

pub(crate) async fn produce(address: &str, load: &Load) -> Result<Duration> {
    let connection = connect(address).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let arguments = argument("x-queue-type", AMQPValue::LongString("stream".into()));
    channel.queue_declare(load.name.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
    load.run(async |message| {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirm = channel
            .basic_publish("".into(), load.name.as_str().into(), options, &message, properties)
            .await?;
        Ok(async move {
            ensure!(confirm.await? == Confirmation::Ack(None), "a message was not stored");
            Ok(())
        })
    })
    .await
}

pub(crate) async fn consume(address: &str, log: &Log) -> Result<(Read, Instant)> {
    let connection = connect(address).await?;
    let read = async |number| {
        let channel = connection.create_channel().await?;
        let reading = tokio::spawn(partition(channel, format!("{}.p{number}", log.name)));
        reading.await?
    };
    let reads = try_join_all((0..log.partitions).map(read)).await?;
    let end = reads.iter().map(|(_, end)| *end).max().context("no partitions")?;
    Ok((reads.into_iter().map(|(read, _)| read).sum(), end))
}

/// What a stream has, and when the last of it came.
async fn partition(channel: Channel, stream: String) -> Result<(Read, Instant)> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let first = argument("x-stream-offset", AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    let mut records = channel.basic_consume(stream.into(), "".into(), options, first).await?;
    let (mut read, mut end) = (Read::default(), Instant::now());
    while let Ok(record) = timeout(QUIET, records.next()).await {
        let record = record.context("the reader was cancelled")??;
        read.count(record.data.len());
        end = Instant::now();
        if read.records.is_multiple_of(ACKNOWLEDGED_AT_ONCE) {
            record.acker.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    Ok((read, end))
}

async fn connect(address: &str) -> Result<Connection> {
    let uri = format!("amqp://guest:guest@{address}/%2f");
    Ok(Connection::connect(&uri, ConnectionProperties::default()).await?)
}

fn argument(name: &str, value: AMQPValue) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(name.into(), value);
    arguments
}
