//! What only Kafka can show, on real servers: settings behind our back, what deletes, logins and TLS.
//!
//! The release is that of `kafka@...` in `REFOLD_TEST_BROKERS`; where that names other brokers only, nothing is tested.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics fails the test it helps")]

mod behind;
mod certificates;
mod confirms;
mod logins;
#[path = "../servers/mod.rs"]
#[expect(dead_code, reason = "it serves other tests, too")]
mod servers;
mod topics;

use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Trial};
use refold_adapters::options;
use refold_adapters::{Access, Config};
use refold_domain::log::{EventLog, LogError};
use servers::Server;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{interval, timeout};
use toml::Value;

/// How long a server may take until it serves, in seconds.
const START_SECONDS_MAX: u64 = 90;

/// How long what was done may take until it is seen, in seconds.
const SEEN_SECONDS_MAX: u64 = 30;

/// How long to wait before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One case: it is given the address of a server that none disturbs.
type Case = (&'static str, fn(SocketAddr) -> LocalBoxFuture<'static, ()>);

/// A list of cases.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), |server| Box::pin($case(server)))),*] };
}

pub(crate) use cases;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(release) = release() else { return ExitCode::SUCCESS };
    let all = [topics::CASES, behind::CASES, confirms::CASES, logins::CASES];
    // Ends with this thread.
    let server = (!arguments.list).then(|| Server::start(&release, 2, ""));
    let address = server.as_ref().map_or_else(|| ([127, 0, 0, 1], 1).into(), Server::address);
    let trials = all.into_iter().flatten().map(|case| trial(*case, address)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Which Kafka is asked for.
fn release() -> Option<String> {
    let asked = std::env::var("REFOLD_TEST_BROKERS").unwrap_or_default();
    if asked.is_empty() {
        return Some("kafka".into());
    }
    asked.split(',').find(|kind| kind.split('@').next() == Some("kafka")).map(str::to_owned)
}

fn trial((name, run): Case, server: SocketAddr) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run(server));
        Ok(())
    })
}

/// A log of its own on this server.
fn config(server: SocketAddr) -> Config {
    static LOGS: AtomicU32 = AtomicU32::new(0);
    let mut options = options::of("kafka");
    options.set("brokers", vec![server.to_string()].into());
    Config {
        broker: "kafka".into(),
        name: format!("log-{}", LOGS.fetch_add(1, Ordering::Relaxed)),
        data_dir: "unused".into(),
        partitions: 2,
        access: Access::Create,
        options,
    }
}

/// The same with other settings.
fn with(mut config: Config, changes: &[(&str, Value)]) -> Config {
    for (key, value) in changes {
        config.options.set(key, value.clone());
    }
    config
}

/// Opens the log as soon as its server answers.
async fn open(config: &Config) -> Arc<dyn EventLog> {
    once_there(config).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Why it cannot be opened, which must not pass by itself.
async fn refused(config: &Config) -> String {
    match once_there(config).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            let is_broken = matches!(error.downcast_ref(), Some(LogError::Broken(_)));
            assert!(is_broken, "not told to be for people: {error:#}");
            format!("{error:#}")
        }
    }
}

async fn once_there(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    let away = RefCell::default();
    let opened = until(START_SECONDS_MAX, async || match refold_adapters::open(config).await {
        Err(error) if matches!(error.downcast_ref(), Some(LogError::Away(_))) => {
            away.replace(format!("{error:#}"));
            None
        }
        outcome => Some(outcome),
    });
    opened.await.unwrap_or_else(|| panic!("{}", away.borrow()))
}

/// Looks again and again until there is something.
async fn seen<T>(look: impl AsyncFn() -> Option<T>) -> T {
    until(SEEN_SECONDS_MAX, look).await.expect("it is seen in time")
}

async fn until<T>(seconds: u64, look: impl AsyncFn() -> Option<T>) -> Option<T> {
    let looking = async {
        let mut pace = interval(LOOK_AGAIN);
        loop {
            pace.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(seconds), looking).await.ok()
}
