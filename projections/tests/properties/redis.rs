//! A real Redis for all tests of this binary, and stores on it.

use crate::servers::Server;
use refold_projections::store::redis::options::Options;
use refold_projections::store::{RedisStore, kinds};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long a server may take to begin.
const START_WAIT: Duration = Duration::from_secs(30);

/// The server that all tests share. The thread that starts it stays: with it the server would end.
pub(crate) fn shared() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let server = Server::start("redis", 1, "");
            tell.send(server.address()).unwrap();
            loop {
                std::thread::park();
            }
        });
        told.recv().unwrap()
    })
}

/// The settings of a store on the server at this address.
pub(crate) fn options(server: SocketAddr) -> Options {
    let mut section = kinds::options("redis");
    section.set("servers", vec![server.to_string()].into());
    Options::of(&section).unwrap()
}

/// A name that no other store has.
pub(crate) fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An empty store on the shared server.
pub(crate) async fn store() -> RedisStore {
    open(&options(shared()), &name()).await
}

/// The store of this name, once its server answers.
pub(crate) async fn open(options: &Options, name: &str) -> RedisStore {
    let opened = async {
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            match RedisStore::open(options, name, crate::stores::PARTITIONS).await {
                Ok(store) => return store,
                Err(error) => assert!(error.is::<refold_projections::store::Away>(), "{error:#}"),
            }
        }
    };
    timeout(START_WAIT, opened).await.unwrap()
}
