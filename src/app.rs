//! The application: built from settings, then run until it is stopped.

use crate::access::exposure::{self, Risk};
use crate::access::table::Table;
use crate::http;
use crate::http::connections::{Limits, serve};
use crate::service::Service;
use crate::settings::Settings;
use anyhow::{Context, anyhow};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A service that is ready to answer requests.
pub struct App {
    service: Arc<Service>,
    table: Arc<Table>,
    listener: TcpListener,
    settings: Settings,
}

impl App {
    /// Opens everything that the settings name, and the port to listen on.
    ///
    /// # Errors
    /// The reason why it must not start, and what to do.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let routes = http::known_routes();
        // Before anything is opened: a table that cannot be used is told first.
        Table::new(&settings.access, &routes)?;
        let listen = settings.http.listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let service = Arc::new(Service::start(&settings).await?);
        let definitions = service.projections.iter().map(|projection| &projection.definition);
        let table = Arc::new(exposure::closed(&settings.access, &routes, definitions.clone())?);
        for Risk { found, remedy } in exposure::risks(&table, definitions) {
            tracing::warn!(remedy, "{found}");
        }
        Ok(Self { service, table, listener, settings })
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
    /// Where the server fails, or something could not be finished in time.
    pub async fn run_until_stopped(self, signal: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { service, table, listener, settings } = self;
        let limits = Limits {
            connections_max: settings.http.connections_max,
            head: settings.http.head_timeout,
            answer: settings.http.answer_timeout,
            stop: settings.http.stop_timeout,
        };
        let routes = http::routes(&service, &table, &settings);
        let served = serve(listener, routes, limits, signal).await;
        let stopped = service.stop(limits.stop).await;
        match (served, stopped) {
            (Err(served), Err(stopped)) => Err(anyhow!("{served:#}; {stopped:#}")),
            (served, stopped) => served.and(stopped),
        }
    }
}
