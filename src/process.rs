//! What the process asks of the system: that its files are its owner's alone, and descriptors for all connections.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Descriptors besides those of connections: of the log, the store, and whoever reads them.
const OWN_DESCRIPTORS: u64 = 200;

/// Makes all files that are written from now on readable by the process's user only: everything that was ever recorded is
/// in them.
pub fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Takes as many descriptors as the system gives without being asked by an administrator.
pub fn take_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot take more descriptors");
    }
}

/// What is wrong where there can be fewer descriptors than so many connections need.
pub fn too_few_descriptors(connections_max: usize) -> Option<String> {
    let needed = (connections_max as u64).saturating_add(OWN_DESCRIPTORS);
    let given = getrlimit(Resource::Nofile).maximum.filter(|given| *given < needed)?;
    Some(format!(
        "the process may open {given} descriptors, and http.connections_max = {connections_max} needs {needed}: connections \
         beyond that wait"
    ))
}

/// What to do about it.
pub const MORE_DESCRIPTORS: &str =
    "raise the limit (ulimit -n, or LimitNOFILE in a unit of systemd), or lower http.connections_max";
