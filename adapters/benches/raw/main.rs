//! What the brokers give to their own clients, to measure the service against: events sent one a message, and a log read by
//! somebody who only counts its bytes. Each file is one broker, used as its client's documentation says, without adapters.
//!
//! `raw nats 127.0.0.1:4222 produce` or `consume` prints what was done as JSON. `script/bench brokers` runs it.

mod kafka;
mod nats;
mod rabbit;

use anyhow::Result;
use bytes::Bytes;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a broker may take to answer, or to send the next of the records that it has.
const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Asked {
    broker: Broker,
    /// Where it serves: host:port.
    address: String,
    #[command(subcommand)]
    act: Act,
}

#[derive(Clone, Copy, ValueEnum)]
enum Broker {
    Nats,
    Kafka,
    Rabbit,
}

#[derive(Subcommand)]
enum Act {
    /// Sends messages and waits until each is confirmed.
    Produce(Load),
    /// Reads what a log has.
    Consume(Log),
}

#[derive(Args)]
struct Load {
    /// The stream or topic that is made for it.
    #[arg(long, default_value = "raw")]
    name: String,
    #[arg(long, default_value_t = 500_000)]
    messages: usize,
    /// What each has.
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// How many may be unconfirmed.
    #[arg(long, default_value_t = 1_024)]
    window: usize,
}

/// A log as the service has made it.
#[derive(Args)]
struct Log {
    #[arg(long, default_value = "refold")]
    name: String,
    #[arg(long, default_value_t = 8)]
    partitions: u32,
}

/// What was read.
#[derive(Default)]
struct Read {
    records: usize,
    bytes: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Asked { broker, address, act } = Asked::parse();
    let start = Instant::now();
    let (messages, bytes, took) = match act {
        Act::Produce(load) => {
            let took = match broker {
                Broker::Nats => nats::produce(&address, &load).await,
                Broker::Kafka => kafka::produce(&address, &load).await,
                Broker::Rabbit => rabbit::produce(&address, &load).await,
            }?;
            (load.messages, load.messages * load.bytes, took)
        }
        Act::Consume(log) => {
            let (read, end) = match broker {
                Broker::Nats => nats::consume(&address, &log).await,
                Broker::Kafka => kafka::consume(&address, &log),
                Broker::Rabbit => rabbit::consume(&address, &log).await,
            }?;
            (read.records, read.bytes, end - start)
        }
    };
    println!("{}", json!({"messages": messages, "bytes": bytes, "seconds": took.as_secs_f64()}));
    Ok(())
}

impl Load {
    /// Sends one message after the other, as far as the window reaches, and says how long it took until all were confirmed.
    async fn run<C>(&self, mut send: impl AsyncFnMut(Bytes) -> Result<C>) -> Result<Duration>
    where
        C: Future<Output = Result<()>>,
    {
        let message = Bytes::from(vec![b'.'; self.bytes]);
        let mut unconfirmed = VecDeque::with_capacity(self.window);
        let start = Instant::now();
        for _ in 0..self.messages {
            if unconfirmed.len() == self.window
                && let Some(oldest) = unconfirmed.pop_front()
            {
                confirmed(oldest).await?;
            }
            unconfirmed.push_back(send(message.clone()).await?);
        }
        for confirm in unconfirmed {
            confirmed(confirm).await?;
        }
        Ok(start.elapsed())
    }
}

async fn confirmed(confirm: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(ANSWER_MAX, confirm).await?
}

impl Read {
    fn count(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }
}

impl std::iter::Sum for Read {
    fn sum<I: Iterator<Item = Self>>(reads: I) -> Self {
        let add = |sum: Self, read: Self| Self {
            records: sum.records + read.records,
            bytes: sum.bytes + read.bytes,
        };
        reads.fold(Self::default(), add)
    }
}
