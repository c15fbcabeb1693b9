//! Kafka, with librdkafka's producer and the consumer that is polled.

use crate::{ANSWER_MAX, Load, Log, Read};
use anyhow::{Context, Result, anyhow};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// What may be fetched at once, in bytes, and held of what was fetched, in KiB.
const FETCH_BYTES: u32 = 8 << 20;
const FETCHED_KIB: u32 = 64 << 10;

pub(crate) async fn produce(address: &str, load: &Load) -> Result<Duration> {
    let mut config = client(address);
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = NewTopic::new(&load.name, 1, TopicReplication::Fixed(1));
    let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX)).operation_timeout(Some(ANSWER_MAX));
    for made in admin.create_topics([&topic], &options).await? {
        made.map_err(|(_, code)| anyhow!("the topic {} was not made: {code}", load.name))?;
    }
    let producer: FutureProducer = config.create()?;
    load.run(async |message| {
        let record = FutureRecord::<[u8], [u8]>::to(&load.name).partition(0).payload(&message);
        let confirm = producer.send_result(record).map_err(|(error, _)| error)?;
        Ok(async move { confirm.await?.map(drop).map_err(|(error, _)| error.into()) })
    })
    .await
}

pub(crate) fn consume(address: &str, log: &Log) -> Result<(Read, Instant)> {
    let mut config = client(address);
    config.set("group.id", "raw").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("fetch.message.max.bytes", FETCH_BYTES.to_string());
    config.set("queued.min.messages", "1000000").set("queued.max.messages.kbytes", FETCHED_KIB.to_string());
    config.set("fetch.queue.backoff.ms", "10").set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..i32::try_from(log.partitions)? {
        assignment.add_partition_offset(&log.name, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let (mut read, mut ended) = (Read::default(), 0);
    while ended < log.partitions {
        match consumer.poll(ANSWER_MAX).context("no more records came")? {
            Ok(message) => read.count(message.payload_len()),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((read, Instant::now()))
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}
