//! The real binary on a directory of its own: started, killed, stopped, and started again.

use crate::client::Client;
use crate::tokens;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

/// How long anything may take that must happen, in seconds; only a broken service takes that long.
const WAIT_SECONDS: u64 = 60;
/// How often `/readyz` is asked, in milliseconds.
const POLL_MS: u64 = 10;

/// A service under test.
pub(crate) struct Server {
    home: TempDir,
    /// What stands before the binary's path on its command line.
    prefix: Vec<String>,
    variables: Vec<(String, String)>,
    process: Option<Process>,
    address: watch::Sender<Option<SocketAddr>>,
}

struct Process {
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Server {
    /// A service that was never started.
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            prefix: Vec::new(),
            variables: [
                ("REFOLD__HTTP__LISTEN".into(), "127.0.0.1:0".into()),
                ("REFOLD__AUTH__SECRET".into(), tokens::SECRET.into()),
                // Of those commands that talk to a service.
                ("REFOLD_TOKEN".into(), tokens::admin().into()),
                // Each service has a log of its own, also where all of them are on one server.
                ("REFOLD__LOG__NAME".into(), format!("test-{}", Uuid::now_v7())),
            ]
            .into_iter()
            .chain(asked_for())
            .collect(),
            process: None,
            address: watch::Sender::new(None),
        }
    }

    /// A service that is ready.
    pub(crate) async fn start() -> Self {
        Self::new().ready().await
    }

    /// The same, once it is ready.
    pub(crate) async fn ready(mut self) -> Self {
        self.up().await;
        self
    }

    /// Sets `REFOLD__<key>`.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.set_variable(&format!("REFOLD__{key}"), value);
    }

    /// Sets a variable of this very name.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The value of the variable of this very name.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    /// The same without the secret and the token that tests know.
    pub(crate) fn without_secret(mut self) -> Self {
        self.variables.retain(|(known, _)| !known.ends_with("SECRET") && !known.ends_with("TOKEN"));
        self
    }

    /// The same with `REFOLD__<key>` set.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    /// The same, started by another command, which is given the binary's command line.
    pub(crate) fn under(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// A place for files beside the data directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the binary keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Where whatever process serves now listens.
    pub(crate) fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    /// Somebody who talks to whatever process serves now.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address.subscribe())
    }

    /// Starts it, and waits until it is ready.
    pub(crate) async fn up(&mut self) {
        self.launch().await;
        self.until_ready().await;
    }

    /// Starts it, and waits until it takes requests.
    pub(crate) async fn launch(&mut self) {
        self.spawn();
        let line = self.line("serving on http://").await;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        self.address.send_replace(Some(address.unwrap().parse().unwrap()));
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut child = self.command(&["serve"]).stdout(Stdio::null()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, lines) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                told.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        self.process = Some(Process { child, lines });
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn until_ready(&self) {
        let client = self.client();
        let mut last = String::new();
        let ready = async {
            let mut ticks = interval(Duration::from_millis(POLL_MS));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let answer = client.get("/readyz").send().await;
                if answer.status == 200 {
                    return;
                }
                last = answer.text;
                ticks.tick().await;
            }
        };
        let is_ready = timeout(Duration::from_secs(WAIT_SECONDS), ready).await.is_ok();
        assert!(is_ready, "not ready after {WAIT_SECONDS} s, but: {last}");
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let lines = &mut self.process.as_mut().unwrap().lines;
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let said = timeout(Duration::from_secs(WAIT_SECONDS), lines.wait_for(|lines| find(lines).is_some()));
        let found = said.await.ok().and_then(Result::ok).and_then(|lines| find(&lines));
        found.unwrap_or_else(|| panic!("never said {text:?}, but: {}", self.said()))
    }

    /// Waits until so many lines on standard error contain `text`.
    pub(crate) async fn line_times(&mut self, text: &str, times: usize) {
        let lines = &mut self.process.as_mut().unwrap().lines;
        let count = |lines: &Vec<String>| lines.iter().filter(|line| line.contains(text)).count();
        let said = lines.wait_for(|lines| count(lines) >= times);
        in_time(text, said).await.unwrap();
    }

    /// What it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        self.process.as_ref().map(|process| process.lines.borrow().join("\n")).unwrap_or_default()
    }

    /// The id of the running process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().and_then(|process| process.child.id()).unwrap()
    }

    /// Kills it like a power failure of the process: nothing is finished.
    pub(crate) async fn kill(&mut self) {
        self.address.send_replace(None);
        let mut process = self.process.take().unwrap();
        process.child.kill().await.unwrap();
        process.must_not_have_panicked();
    }

    /// Asks it to stop (SIGTERM) and waits for nothing.
    pub(crate) async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Sends it this signal.
    pub(crate) async fn signal(&self, name: &str) {
        // A shell's own `kill`: machines without procps have no other.
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let status = in_time("ended", process.child.wait()).await.unwrap();
        self.address.send_replace(None);
        // The lines end with the process: then nobody sends any more.
        while process.lines.changed().await.is_ok() {}
        process.must_not_have_panicked();
        status
    }

    /// Stops it as an operator does, which must go well.
    pub(crate) async fn stop(&mut self) {
        self.terminate().await;
        let status = self.ended().await;
        assert!(status.success(), "stopped with {status}");
    }

    /// Starts it, expects that it refuses to serve, and returns what it says.
    pub(crate) async fn refused(&mut self) -> String {
        let (status, said) = self.run(&["serve"]).await;
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    /// Runs the binary with these arguments to its end; answers what it wrote to both outputs.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let output = self.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).output();
        let output = in_time("ended", output).await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        (output.status, said)
    }

    /// Removes the store, as anybody may while it is stopped: its files, or what is on Redis.
    pub(crate) async fn remove_store(&self) {
        if self.variables.iter().any(|(name, _)| name == "REFOLD__REDIS__SERVERS") {
            let (status, said) = self.run(&["store", "empty", "--yes"]).await;
            assert!(status.success() && said.contains("is empty"), "{said}");
            return;
        }
        let removed = self.remove_files("store.");
        assert!(removed > 0, "there was no store");
    }

    /// Removes the files of the data directory whose names start with `prefix`.
    pub(crate) fn remove_files(&self, prefix: &str) -> usize {
        assert!(self.process.is_none(), "it runs");
        let names = fs::read_dir(self.data()).unwrap().map(|entry| entry.unwrap().path());
        let ours = names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
        ours.map(|path| fs::remove_file(path).unwrap()).count()
    }

    /// The binary with these arguments, on the data of this service.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let binary = [env!("CARGO_BIN_EXE_refold")].into_iter().chain(arguments.iter().copied());
        let mut line = self.prefix.iter().map(String::as_str).chain(binary);
        let mut command = Command::new(line.next().unwrap());
        command.args(line).current_dir(self.home()).kill_on_drop(true).stderr(Stdio::piped());
        // Nothing of who runs the tests may have a say.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("REFOLD__DATA_DIR", self.data()).envs(self.variables.iter().cloned());
        command
    }
}

/// Settings for all services, for tests on another log than the usual one: `REFOLD_TEST_CONFIG` names a settings file,
/// `REFOLD_TEST__<key>` is `REFOLD__<key>`.
fn asked_for() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter_map(|(name, value)| match name.strip_prefix("REFOLD_TEST_")? {
        "CONFIG" => Some(("REFOLD_CONFIG".to_owned(), value)),
        key => Some((format!("REFOLD_{}", key.starts_with('_').then_some(key)?), value)),
    })
}

impl Process {
    fn must_not_have_panicked(&self) {
        let said = self.lines.borrow().join("\n");
        assert!(!said.contains("panicked at"), "{said}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            if std::thread::panicking() {
                eprintln!("what the server said:\n{}", self.said());
            } else {
                process.must_not_have_panicked();
            }
        }
    }
}

/// What a future comes to that must come to an end.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = timeout(Duration::from_secs(WAIT_SECONDS), future).await;
    outcome.unwrap_or_else(|_| panic!("not {what} after {WAIT_SECONDS} s"))
}
