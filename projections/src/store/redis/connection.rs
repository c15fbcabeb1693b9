//! A connection to Redis, be it one server or a cluster. It may be cloned and used by many at once, and comes back by itself.

use super::failure::failure;
use super::options::Options;
use super::single::Single;
use futures::FutureExt;
use redis::aio::{ConnectionLike, ConnectionManagerConfig, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{
    Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisFuture, RedisResult, Value, from_redis_value,
};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long connecting to one server may take, in milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 2_000;

/// How long the first connection may take, with all servers of a cluster together, in milliseconds.
const OPEN_TIMEOUT_MS: u64 = 6_000;

/// How long an answer may take, in milliseconds: a script is not disturbed by others, and a disk that is late holds up all.
const ANSWER_TIMEOUT_MS: u64 = 8_000;

/// How often a question is sent again that a cluster answers with another server or none. All of it ends with the time for
/// an answer.
const CLUSTER_RETRIES: u32 = 16;

/// A connection.
#[derive(Clone)]
pub struct Connection {
    link: Link,
    options: Arc<Options>,
}

#[derive(Clone)]
enum Link {
    Single(Single),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers, which is [`crate::store::Away`], or it is not a server that can be used: why, and what to do.
    pub async fn open(options: &Arc<Options>) -> anyhow::Result<Self> {
        // Where one is chosen, it stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let limit = Duration::from_millis(OPEN_TIMEOUT_MS);
        let link = timeout(limit, Link::open(options)).await;
        let link = link.unwrap_or_else(|_| Err(late(OPEN_TIMEOUT_MS).into()));
        let link = link.map_err(|error| match error.downcast::<RedisError>() {
            Ok(error) => failure(&options.servers(), &error),
            Err(error) => error,
        })?;
        Ok(Self { link, options: Arc::clone(options) })
    }

    /// The servers, for people.
    pub fn servers(&self) -> String {
        self.options.servers()
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        self.options.cluster
    }

    /// Asks one question.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> anyhow::Result<T> {
        let answer = question.query_async(&mut self.clone()).await;
        answer.map_err(|error| self.failure(&error))
    }

    /// Asks each server, and names them.
    ///
    /// # Errors
    /// One of them does not answer, or says no.
    pub(super) async fn ask_all(&self, question: &Cmd) -> anyhow::Result<Vec<(String, Value)>> {
        let Link::Cluster(link) = &self.link else {
            return Ok(vec![(self.servers(), self.ask(question).await?)]);
        };
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None));
        let answers = link.clone().route_command(question.clone(), everywhere).await;
        let answers = answers.and_then(|answers| Ok(from_redis_value::<Vec<(String, Value)>>(answers)?));
        let answers = answers.map_err(|error| self.failure(&error))?;
        Ok(answers.into_iter().map(|(server, answer)| (format!("Redis at {server}"), answer)).collect())
    }

    /// What an error of this connection means.
    pub fn failure(&self, error: &RedisError) -> anyhow::Error {
        if let Link::Single(link) = &self.link {
            link.hear(error);
        }
        failure(&self.servers(), error)
    }

    /// Opens another connection, for what is published; it is of any server that answers, for each hears all of a cluster. It
    /// does not come back: its stream ends.
    ///
    /// # Errors
    /// Nobody answers in time.
    pub async fn pub_sub(&self) -> anyhow::Result<PubSub> {
        let mut last = late(CONNECT_TIMEOUT_MS);
        for client in clients(&self.options)? {
            match timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), client.get_async_pubsub()).await {
                Ok(Ok(pub_sub)) => return Ok(pub_sub),
                Ok(Err(error)) => last = error,
                Err(_) => last = late(CONNECT_TIMEOUT_MS),
            }
        }
        Err(self.failure(&last))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.servers())
    }
}

impl Link {
    async fn open(options: &Options) -> anyhow::Result<Self> {
        let (connect, answer) =
            (Duration::from_millis(CONNECT_TIMEOUT_MS), Duration::from_millis(ANSWER_TIMEOUT_MS));
        if options.cluster {
            let mut builder = ClusterClient::builder(options.connections()?)
                .connection_timeout(connect)
                .response_timeout(answer)
                .overall_response_timeout(Some(answer))
                .retries(CLUSTER_RETRIES)
                .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
            if let Some(certificates) = options.certificates()? {
                builder = builder.certs(certificates);
            }
            return Ok(Self::Cluster(builder.build()?.get_async_connection().await?));
        }
        // Nobody waits for another try: whoever asks next makes it.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(connect))
            .set_response_timeout(Some(answer));
        let client = clients(options)?.into_iter().next().ok_or_else(|| late(CONNECT_TIMEOUT_MS))?;
        Ok(Self::Single(Single::open(client, config).await?))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.link {
            Link::Single(single) => {
                let mut link = single.link();
                async move { link.req_packed_command(cmd).await }.boxed()
            }
            Link::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.link {
            Link::Single(single) => {
                let mut link = single.link();
                async move { link.req_packed_commands(pipeline, offset, count).await }.boxed()
            }
            Link::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.link {
            Link::Single(single) => single.link().get_db(),
            Link::Cluster(link) => link.get_db(),
        }
    }
}

/// A client of each server by itself.
fn clients(options: &Options) -> anyhow::Result<Vec<Client>> {
    let certificates = options.certificates()?;
    let client = |connection| -> RedisResult<Client> {
        match &certificates {
            Some(certificates) => Client::build_with_tls(connection, certificates.clone()),
            None => Client::open(connection),
        }
    };
    options.connections()?.into_iter().map(|connection| Ok(client(connection)?)).collect()
}

fn late(limit_ms: u64) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit_ms} ms")).into()
}
