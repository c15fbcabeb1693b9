//! What a case needs of the broker under test: a log of its own, and a server behind it.

use crate::kinds::{BROKERS, Broker, PASSWORD, ServerKind};
use crate::servers::proxy::Proxy;
use crate::servers::{Server, free_ports};
use refold_adapters::options;
use refold_adapters::{Access, Config};
use refold_domain::log::{EventLog, LogError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

pub(crate) const PARTITIONS: u32 = 3;

/// How long a server may take until it serves, in seconds.
const START_SECONDS_MAX: u64 = 90;
/// How long to wait before it is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Those that are to be tested.
pub(crate) fn chosen() -> impl Iterator<Item = &'static Broker> {
    let asked = asked();
    BROKERS.iter().filter(move |broker| asked.is_empty() || asked.iter().any(|kind| is_of(kind, broker)))
}

fn asked() -> Vec<String> {
    let asked = std::env::var("REFOLD_TEST_BROKERS").unwrap_or_default();
    asked.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect()
}

fn is_of(kind: &str, broker: &Broker) -> bool {
    kind.split('@').next() == Some(broker.name)
}

/// What all cases of a broker stand on: the server that none of them disturbs.
pub(crate) struct Ground {
    pub(crate) broker: &'static Broker,
    kind: String,
    server: Option<Arc<Server>>,
}

impl Ground {
    /// `starts`: whether anything will be run. Called by the thread that lives longest: servers end with the one that
    /// started them.
    pub(crate) fn new(broker: &'static Broker, starts: bool) -> Self {
        let kind = asked().into_iter().find(|kind| is_of(kind, broker)).unwrap_or_else(|| broker.name.into());
        let start = |server: &ServerKind| Arc::new(Server::start(&kind, server.ports, ""));
        let server = broker.server.as_ref().filter(|_| starts).map(start);
        Self { broker, kind, server }
    }
}

/// A log of its own for one case.
pub(crate) struct UnderTest {
    pub(crate) broker: &'static Broker,
    /// The server, if there is one; the case's own, if it disturbs it: then it asks for a password.
    pub(crate) server: Option<Arc<Server>>,
    /// What stands before a server of its own.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) config: Config,
    _directory: TempDir,
}

impl UnderTest {
    pub(crate) async fn new(ground: &Ground, is_own: bool) -> Self {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let Ground { broker, kind, server } = ground;
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            broker: broker.name.into(),
            name: format!("log-{}", LOGS.fetch_add(1, Ordering::Relaxed)),
            data_dir: directory.path().into(),
            partitions: PARTITIONS,
            access: Access::Create,
            options: options::of(broker.name),
        };
        let (mut server, mut proxy) = (server.clone(), None);
        if let Some(of_broker) = &broker.server {
            if is_own {
                let front = SocketAddr::from(([127, 0, 0, 1], free_ports(1).first));
                let own = Server::prepared(kind, of_broker.ports);
                own.configure(&(of_broker.guard)(front, own.address()));
                own.start_again();
                proxy = Some(Proxy::start(front, own.address()).await);
                server = Some(Arc::new(own));
                (of_broker.enter)(&mut config.options, PASSWORD);
            }
            let address = server.as_ref().unwrap().address();
            let front = proxy.as_ref().map_or(address, Proxy::address);
            (of_broker.aim)(&mut config.options, front, address);
        }
        Self { broker, server, proxy, config, _directory: directory }
    }

    /// Tries once to open it on its own server with this password.
    pub(crate) async fn open_as(&self, password: &str) -> anyhow::Result<Arc<dyn EventLog>> {
        let mut config = self.config.clone();
        (self.broker.server.as_ref().unwrap().enter)(&mut config.options, password);
        refold_adapters::open(&config).await
    }

    /// Opens the log as soon as its server answers.
    pub(crate) async fn open(&self) -> Arc<dyn EventLog> {
        let opening = async {
            let mut tries = interval(RETRY);
            loop {
                tries.tick().await;
                match refold_adapters::open(&self.config).await {
                    Ok(log) => return log,
                    Err(error) if is_away(&error) => {}
                    Err(error) => panic!("{error:#}"),
                }
            }
        };
        let opened = timeout(Duration::from_secs(START_SECONDS_MAX), opening).await;
        let said = || self.server.as_ref().map(|server| server.said()).unwrap_or_default();
        opened.unwrap_or_else(|_| panic!("the server does not answer:\n{}", said()))
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<LogError>().is_some_and(|error| matches!(error, LogError::Away(_)))
}
