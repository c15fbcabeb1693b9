//! The application: built from settings, then run until it is stopped.

use crate::access::exposure::{self, Risk};
use crate::access::table::Table;
use crate::http;
use crate::http::connections::{Limits, serve};
use crate::http::door::Door;
use crate::service::Service;
use crate::settings::Settings;
use anyhow::{Context, ensure};
use refold_domain::log::LogError;
use refold_projections::store;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// How long to wait before it is looked again whether what was away is there.
const OPEN_WAIT_MIN: Duration = Duration::from_millis(250);
/// How long at most.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// A service that answers requests, be it that it waits for its broker.
pub struct App {
    door: Door,
    ready: Option<Ready>,
    listener: TcpListener,
    settings: Settings,
}

/// What serves once everything is open.
struct Ready {
    service: Arc<Service>,
    table: Arc<Table>,
}

impl App {
    /// Opens everything that the settings name, and the port to listen on. A broker that is away is waited for later.
    ///
    /// # Errors
    /// The reason why it must not start, and what to do.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        // Before anything is opened: a table that cannot be used is told first.
        Table::new(&settings.access, &http::known_routes())?;
        let listen = settings.http.listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let door = Door::default();
        let ready = Ready::try_open(&settings, &door).await?;
        Ok(Self { door, ready, listener, settings })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// Where the system does not know it.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Answers requests until `signal` resolves; then takes no more and finishes those that are held.
    ///
    /// # Errors
    /// Where the server fails, what was waited for must not be used, or something could not be finished in time.
    pub async fn run_until_stopped(self, signal: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { door, ready, listener, settings } = self;
        let limits = Limits {
            connections_max: settings.http.connections_max,
            head: settings.http.head_timeout,
            answer: settings.http.answer_timeout,
            stop: settings.http.stop_timeout,
        };
        // What is ready is served from the first request on.
        let mut service = ready.map(|ready| ready.behind(&door, &settings));
        let mut refused = Ok(());
        let is_open = service.is_some();
        let opened_and_stopped = async {
            let opening = async {
                match wait(&settings, &door).await {
                    Ok(opened) => service = Some(opened),
                    Err(error) => {
                        refused = Err(error);
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = opening, if !is_open => {}
                () = signal => {}
            }
        };
        let served = serve(listener, door.clone(), limits, opened_and_stopped).await;
        let stopped = match &service {
            Some(service) => service.stop(limits.stop).await,
            None => Ok(()),
        };
        let failures: Vec<_> = [refused, served, stopped]
            .into_iter()
            .filter_map(Result::err)
            .map(|error| format!("{error:#}"))
            .collect();
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }
}

/// Opens the door as soon as there is something behind it.
async fn wait(settings: &Settings, door: &Door) -> anyhow::Result<Arc<Service>> {
    let mut pause = OPEN_WAIT_MIN;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(OPEN_WAIT_MAX);
        if let Some(ready) = Ready::try_open(settings, door).await? {
            tracing::info!("what was waited for is there");
            return Ok(ready.behind(door, settings));
        }
    }
}

impl Ready {
    /// Serves it behind the door.
    fn behind(self, door: &Door, settings: &Settings) -> Arc<Service> {
        let Self { service, table } = self;
        door.open(http::routes(&service, &table, settings));
        service
    }

    /// Opens everything; `None` where the log or the store is away, which the door is told.
    async fn try_open(settings: &Settings, door: &Door) -> anyhow::Result<Option<Self>> {
        match Self::open(settings).await {
            Ok(ready) => Ok(Some(ready)),
            Err(error) => match away(&error) {
                Some(name) => {
                    door.wait(name, format!("{error:#}"));
                    Ok(None)
                }
                None => Err(error),
            },
        }
    }

    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let service = Arc::new(Service::start(settings).await?);
        let definitions = service.projections.iter().map(|projection| &projection.definition);
        let table = Arc::new(exposure::closed(&settings.access, &http::known_routes(), definitions.clone())?);
        for Risk { found, remedy } in exposure::risks(&table, definitions) {
            tracing::warn!(remedy, "{found}");
        }
        Ok(Self { service, table })
    }
}

/// What is away, if the error comes of that.
fn away(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(LogError::Away(_)) => Some("log"),
        _ => cause.is::<store::Away>().then_some("store"),
    })
}
