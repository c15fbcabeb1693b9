//! The brokers that keep the log on a server, and how the service is pointed at one.

use crate::server::Server;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A broker on a server.
pub(crate) struct Remote {
    pub(crate) name: &'static str,
    /// How many ports its server takes.
    pub(crate) ports: u16,
    /// The variable that has its address, and what stands before it there.
    setting: (&'static str, &'static str),
}

const REMOTES: &[Remote] = &[
    Remote { name: "nats", ports: 2, setting: ("NATS__SERVERS", "nats://") },
    Remote { name: "kafka", ports: 2, setting: ("KAFKA__BROKERS", "") },
    Remote { name: "rabbit", ports: 4, setting: ("RABBIT__SERVERS", "") },
];

impl Remote {
    /// Those that are asked for in `REFOLD_TEST_BROKERS`, with commas, else all; and which release of each.
    pub(crate) fn asked() -> impl Iterator<Item = (&'static Self, String)> {
        let asked = std::env::var("REFOLD_TEST_BROKERS").unwrap_or_default();
        let asked: Vec<_> = asked.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        REMOTES.iter().filter_map(move |remote| {
            let found = asked.iter().find(|kind| kind.split('@').next() == Some(remote.name));
            let usual = || asked.is_empty().then(|| remote.name.to_owned());
            Some((remote, found.cloned().or_else(usual)?))
        })
    }

    /// Its settings file.
    pub(crate) fn config(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{}.toml", self.name))
    }

    /// What points a service at the server at this address: a key and its value.
    pub(crate) fn setting(&self, address: SocketAddr) -> (&'static str, String) {
        let (key, before) = self.setting;
        (key, format!("{before}{address}"))
    }

    /// A service that keeps its log on the server at this address.
    pub(crate) fn service(&self, address: SocketAddr) -> Server {
        let (key, value) = self.setting(address);
        let mut service = Server::new().with(key, &value);
        service.set_variable("REFOLD_CONFIG", self.config().to_str().unwrap());
        service
    }
}
