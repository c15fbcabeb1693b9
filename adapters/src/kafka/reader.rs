//! Reading a partition: consumers of librdkafka, each on a thread of its own, which are used again.
//!
//! A consumer is told where to begin and fetches ahead by itself, so there is one for each reading that is under way. It
//! takes some time until it is connected: one whose reading has ended waits a while for the next.

use super::client::{self, Asking, Trouble, without_values};
use super::settings::Settings;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, Message, Offset as Place, TopicPartitionList};
use refold_domain::log::{LogError, Offset, Records};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self as jobs, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// How many readings may be under way at once, besides one for each partition; another one waits.
const READINGS_MAX: usize = 32;

/// How long it waits, in milliseconds. Less than whoever reads does.
const READING_WAIT_MS: u64 = 4_000;

/// How many consumers may wait for a reading.
const IDLE_MAX: usize = 4;

/// How long one waits, in seconds.
const IDLE_SECONDS: u64 = 60;

/// How long a consumer waits for a record before it looks whether anybody still wants one, in milliseconds.
const POLL_MS: u64 = 100;

/// The most records, and the size in bytes at which no further one is taken, that are handed over at once.
const CHUNK_RECORDS_MAX: usize = 1_024;
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// How many such chunks may wait for whoever reads.
const CHUNKS_MAX: usize = 2;

/// What librdkafka may fetch at once, in bytes, and hold of what it has fetched, in KiB: for each reading.
const FETCH_BYTES: u32 = 4 << 20;
const FETCHED_KIB: u32 = 16 << 10;

/// How long librdkafka waits until it fetches again when it holds as much as it may, in milliseconds.
const FETCH_AGAIN_MS: u32 = 10;

/// How long a broker waits for a new record before it answers that there is none, in milliseconds.
const FETCH_WAIT_MS: u32 = 100;

/// How long nothing may come before it is asked whether there is something.
const QUIET: Duration = Duration::from_secs(10);

type Chunk = Vec<(Offset, Bytes)>;

/// Everything that reads.
pub(super) struct Readers {
    config: ClientConfig,
    asking: Arc<Asking>,
    topic: String,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// How many consumers there have been, which numbers them.
    consumers: AtomicU64,
}

/// A consumer that waits for a reading.
struct Idle {
    number: u64,
    jobs: jobs::Sender<Job>,
}

/// A reading that somebody wants.
struct Job {
    partition: i32,
    from: Offset,
    chunks: mpsc::Sender<Result<Chunk, LogError>>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(settings: &Settings, asking: &Arc<Asking>, topic: &str, partitions: u32) -> Self {
        let mut config = settings.client();
        // The library asks for a group; nothing is ever stored for it.
        config.set("group.id", topic);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Anything else would be a silent jump.
        config.set("auto.offset.reset", "error");
        config.set("check.crcs", "true");
        config.set("fetch.message.max.bytes", FETCH_BYTES.to_string());
        config.set("queued.min.messages", "1000000");
        config.set("queued.max.messages.kbytes", FETCHED_KIB.to_string());
        config.set("fetch.queue.backoff.ms", FETCH_AGAIN_MS.to_string());
        config.set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string());
        let permits = Arc::new(Semaphore::new(partitions as usize + READINGS_MAX));
        Self {
            config,
            asking: Arc::clone(asking),
            topic: topic.to_owned(),
            permits,
            idle: Mutex::default(),
            consumers: AtomicU64::default(),
        }
    }

    /// The records of a partition from `from` on, which it must reach.
    pub(super) async fn read(self: &Arc<Self>, partition: i32, from: Offset) -> Result<Records, LogError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = timeout(Duration::from_millis(READING_WAIT_MS), permit).await;
        let permit = permit.map_err(|_| LogError::Away("as many readings as can be are under way".into()))?;
        let permit = permit.expect("the semaphore is never closed");
        let (chunks, read) = mpsc::channel(CHUNKS_MAX);
        self.give(Job { partition, from, chunks, _permit: permit })?;
        let chunks = stream::try_unfold(read, |mut read| async {
            let cut_off = || Err(LogError::Away("reading from Kafka was cut off".into()));
            let chunk = read.recv().await.unwrap_or_else(cut_off)?;
            Ok(Some((stream::iter(chunk).map(Ok), read)))
        });
        Ok(chunks.try_flatten().boxed())
    }

    /// To a consumer that is connected, if there is one.
    fn give(self: &Arc<Self>, mut job: Job) -> Result<(), LogError> {
        while let Some(idle) = self.idle().pop() {
            match idle.jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(jobs::SendError(refused)) => job = refused,
            }
        }
        let (sender, jobs) = jobs::channel();
        let reader = Reader {
            number: self.consumers.fetch_add(1, Ordering::Relaxed),
            topic: self.topic.clone(),
            asking: Arc::clone(&self.asking),
            trouble: Trouble::default(),
            readers: Arc::downgrade(self),
            sender,
            jobs,
        };
        let config = self.config.clone();
        let spawned =
            thread::Builder::new().name("kafka-read".into()).spawn(move || reader.run(&config, job));
        spawned.map(drop).map_err(|error| LogError::Away(format!("no thread to read from Kafka: {error}")))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One consumer and its thread.
struct Reader {
    number: u64,
    topic: String,
    asking: Arc<Asking>,
    trouble: Trouble,
    readers: Weak<Readers>,
    sender: jobs::Sender<Job>,
    jobs: jobs::Receiver<Job>,
}

impl Reader {
    /// One reading after the other, until one fails or nobody wants another.
    fn run(self, config: &ClientConfig, first: Job) {
        let consumer = match config.create_with_context(self.trouble.clone()).map_err(without_values) {
            Ok(consumer) => consumer,
            Err(error) => {
                let _ = first.chunks.blocking_send(Err(LogError::Broken(format!("{error:#}"))));
                return;
            }
        };
        let mut next = Some(first);
        while let Some(job) = next {
            let served = self.serve(&consumer, &job);
            if let Err(error) = served.and_then(|()| consumer.unassign().map_err(|error| self.failed(&error)))
            {
                // Whoever wanted it may be gone.
                let _ = job.chunks.blocking_send(Err(error));
                return;
            }
            drop(job);
            next = self.wait(&consumer);
        }
    }

    /// Hands over records until nobody takes them any more.
    fn serve(&self, consumer: &BaseConsumer<Trouble>, job: &Job) -> Result<(), LogError> {
        let from = i64::try_from(job.from).map_err(|_| LogError::Broken("no offset is as large".into()))?;
        let mut assignment = TopicPartitionList::new();
        let assigned = assignment
            .add_partition_offset(&self.topic, job.partition, Place::Offset(from))
            .and_then(|()| consumer.assign(&assignment));
        assigned.map_err(|error| self.failed(&error))?;
        let (mut next, mut heard) = (job.from, Instant::now());
        while !job.chunks.is_closed() {
            let chunk = self.chunk(consumer, &mut next)?;
            if !chunk.is_empty() {
                if job.chunks.blocking_send(Ok(chunk)).is_err() {
                    break;
                }
                heard = Instant::now();
            } else if heard.elapsed() > QUIET {
                let chunk = self.at_the_end(consumer, job.partition, &mut next)?;
                if !chunk.is_empty() && job.chunks.blocking_send(Ok(chunk)).is_err() {
                    break;
                }
                heard = Instant::now();
            }
        }
        Ok(())
    }

    /// Sees to it that nothing comes because nothing is there: a consumer that has forgotten its brokers does not say so. What
    /// came meanwhile.
    fn at_the_end(
        &self,
        consumer: &BaseConsumer<Trouble>,
        partition: i32,
        next: &mut Offset,
    ) -> Result<Chunk, LogError> {
        let doing = format!("cannot ask how far partition {partition} of the topic {} reaches", self.topic);
        let question = |client: &client::Asked| client::watermarks(client, &self.topic, partition, 0);
        let (_, end) = self.asking.ask_and_wait(&doing, question)?;
        if Offset::try_from(end).is_ok_and(|end| end <= *next) {
            return Ok(Vec::new());
        }
        let since = Instant::now();
        while since.elapsed() < QUIET {
            let chunk = self.chunk(consumer, next)?;
            if !chunk.is_empty() {
                return Ok(chunk);
            }
        }
        let topic = &self.topic;
        Err(LogError::Away(format!(
            "Kafka hands out nothing of the topic {topic} from offset {next}, though it ends at {end}"
        )))
    }

    /// What is there, if only after a moment.
    fn chunk(&self, consumer: &BaseConsumer<Trouble>, next: &mut Offset) -> Result<Chunk, LogError> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let mut wait = Duration::from_millis(POLL_MS);
        while chunk.len() < CHUNK_RECORDS_MAX && bytes < CHUNK_BYTES_MAX {
            let message = match consumer.poll(wait) {
                None => break,
                Some(Err(error)) if is_passing(&error) => continue,
                Some(Err(error)) => return Err(self.failed(&error)),
                Some(Ok(message)) => message,
            };
            let offset = Offset::try_from(message.offset()).ok().filter(|offset| offset >= next);
            let offset = offset.ok_or_else(|| self.out_of_order(message.offset(), *next))?;
            // A record without bytes is not ours; whoever reads says so.
            let record = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            bytes += record.len();
            chunk.push((offset, record));
            *next = offset + 1;
            wait = Duration::ZERO;
        }
        Ok(chunk)
    }

    /// Waits for another reading for a while, and sees to it that librdkafka's complaints do not pile up.
    fn wait(&self, consumer: &BaseConsumer<Trouble>) -> Option<Job> {
        {
            let readers = self.readers.upgrade()?;
            let mut idle = readers.idle();
            if idle.len() >= IDLE_MAX {
                return None;
            }
            idle.push(Idle { number: self.number, jobs: self.sender.clone() });
        }
        let since = Instant::now();
        loop {
            match self.jobs.recv_timeout(Duration::from_millis(POLL_MS)) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let is_connected = consumer.poll(Duration::ZERO).is_none();
            if !is_connected || since.elapsed() > Duration::from_secs(IDLE_SECONDS) {
                let readers = self.readers.upgrade()?;
                let mut idle = readers.idle();
                // Where it is not among them, a reading is on its way to it.
                let place = idle.iter().position(|idle| idle.number == self.number);
                if let Some(place) = place {
                    idle.remove(place);
                    return None;
                }
            }
        }
    }

    fn failed(&self, error: &KafkaError) -> LogError {
        let doing = format!("cannot read the topic {}", self.topic);
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => {
                LogError::Broken(format!("{doing}: records were lost or deleted while it was read ({error})"))
            }
            _ => self.trouble.explain(&doing, error),
        }
    }

    fn out_of_order(&self, offset: i64, next: Offset) -> LogError {
        let topic = &self.topic;
        LogError::Broken(format!(
            "the topic {topic} gave out offset {offset} where {next} or a later one was due"
        ))
    }
}

/// Whether librdkafka gets over it by itself, or says after it that all brokers are away. It gets over that, too, but whoever
/// reads must know, and compare what comes back with what it has read.
fn is_passing(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::SSL
                | Code::Authentication
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::WaitingForCoordinator
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::GroupAuthorizationFailed
        )
    )
}
