//! What an error of Redis means for who asked: that it may be there later, or that somebody has to mend something.

use crate::store::Away;
use anyhow::anyhow;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What the server says of itself while it cannot be asked, be it that it starts, or that it waits for another.
const NOT_READY: [ServerErrorKind; 5] = [
    ServerErrorKind::BusyLoading,
    ServerErrorKind::ClusterDown,
    ServerErrorKind::MasterDown,
    ServerErrorKind::TryAgain,
    ServerErrorKind::ReadOnly,
];

/// The error with the servers' names and, where somebody can do something about it, with that.
pub(super) fn failure(servers: &str, error: &RedisError) -> anyhow::Error {
    let is_away = match error.kind() {
        ErrorKind::Server(kind) => NOT_READY.contains(&kind),
        ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Io => !is_of_tls(error),
        _ => false,
    };
    if is_away {
        return anyhow::Error::new(Away(format!("{servers}: {error}")));
    }
    // Its sources say the same again.
    anyhow!("{servers}{}: {error}", remedy(error))
}

/// What to do, where the error itself does not say it.
fn remedy(error: &RedisError) -> &'static str {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            ": set redis.user and redis.password to what the server knows"
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => {
            ": give redis.user the rights that docs/stores.md lists"
        }
        (_, Some("OOM")) => ": it is full: give it more memory (maxmemory), nothing is lost meanwhile",
        (_, Some("MISCONF")) => ": it does not take writes because its disk failed it: see its log",
        (ErrorKind::Io, _) => ": see redis.tls, redis.ca_file and redis.certificate_file",
        _ => "",
    }
}

/// Whether it is the handshake that failed, and not the network.
fn is_of_tls(error: &RedisError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if held.is_some_and(|held| held.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    // An alert of the other side comes as text.
    error.to_string().to_lowercase().contains("certificate")
}
