//! Real servers for tests: each a process of its own, on ports and in a directory of its own, started by `script/brokers`.

pub(crate) mod proxy;
pub(crate) mod redis;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// Below the ports that the kernel gives to clients, so that nobody takes one between its choice and the server's start.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A server that can be killed and started again on what it has written.
#[derive(Debug)]
pub(crate) struct Server {
    kind: String,
    directory: TempDir,
    ports: Ports,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// Starts a server (`nats`, or `nats@trixie`) with so many ports, and with more settings in its own form.
    pub(crate) fn start(kind: &str, ports: u16, settings: &str) -> Self {
        let server = Self::prepared(kind, ports);
        server.configure(settings);
        server.start_again();
        server
    }

    /// The same, not started yet.
    pub(crate) fn prepared(kind: &str, ports: u16) -> Self {
        let directory = tempfile::Builder::new().prefix("refold-server-").tempdir_in(place()).unwrap();
        let ports = free_ports(ports);
        let server = Self { kind: kind.into(), directory, ports, process: Mutex::default() };
        server.configure("");
        server
    }

    /// The settings that it is started with beside the usual ones, in its own form.
    pub(crate) fn configure(&self, settings: &str) {
        fs::write(self.directory.path().join("extra"), settings).unwrap();
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.first))
    }

    /// Starts it on what it wrote before. It does not wait until it answers.
    pub(crate) fn start_again(&self) {
        let directory = self.directory.path();
        let log = || File::options().create(true).append(true).open(directory.join("server.log")).unwrap();
        // The process that is started becomes the server, and ends with whoever started it, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(root().join("script/brokers"));
        command.args(["run", &self.kind, "--dir"]).arg(directory.join("server"));
        command.arg("--port").arg(self.ports.first.to_string()).arg("--extra").arg(directory.join("extra"));
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        *self.process() = Some(command.spawn().unwrap());
    }

    /// Kills it with -9 and waits until it is gone.
    pub(crate) fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Lets it stand still: it keeps its connections, and answers nobody.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process().as_ref().unwrap().id();
        // A shell's own `kill`: machines without procps have no other.
        let kill = format!("kill -{signal} {process}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// A copy of what it has written. It must not run.
    pub(crate) fn save(&self) -> TempDir {
        let saved = tempfile::tempdir().unwrap();
        copy(&self.directory.path().join("server"), &saved.path().join("server"));
        saved
    }

    /// Puts the copy in the place of all that it has written. It must not run.
    pub(crate) fn put_back(&self, saved: &TempDir) {
        self.empty();
        copy(&saved.path().join("server"), &self.directory.path().join("server"));
    }

    /// Removes all that it has written. It must not run.
    pub(crate) fn empty(&self) {
        assert!(self.process().is_none(), "it runs");
        fs::remove_dir_all(self.directory.path().join("server")).unwrap();
    }

    /// What it said, for whoever wonders why it does not answer.
    pub(crate) fn said(&self) -> String {
        let said = fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what {} said last:\n{}", self.kind, self.said());
        }
        self.kill();
    }
}

/// Where servers write: where `REFOLD_TEST_SERVERS` says.
fn place() -> PathBuf {
    std::env::var_os("REFOLD_TEST_SERVERS").map_or_else(std::env::temp_dir, PathBuf::from)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("--archive").args([from, to]).status().unwrap().success());
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|directory| directory.join("script/brokers").is_file()).unwrap().to_owned()
}

/// Ports in a row that no other test has, in whichever process, for as long as this lives; also while nobody listens there.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    /// What of UDP has the same number is used by nobody, so it stands for the port.
    _held: Vec<UdpSocket>,
}

/// So many of them that nobody listens on. Each process begins to look at another place.
pub(crate) fn free_ports(count: u16) -> Ports {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = || PORTS.start + u16::try_from(std::process::id() % 1_000).unwrap() * 11;
    let mut first = next.unwrap_or_else(begin);
    loop {
        if first + count > PORTS.end {
            first = PORTS.start;
        }
        let held: Option<_> = (first..first + count).map(held).collect();
        first += count;
        if let Some(held) = held {
            *next = Some(first);
            return Ports { first: first - count, _held: held };
        }
    }
}

fn held(port: u16) -> Option<UdpSocket> {
    let held = UdpSocket::bind(("127.0.0.1", port)).ok()?;
    TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(held)
}
