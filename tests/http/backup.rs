//! `refold backup` under load, and `refold restore` into directories that are free for it, and only there.

use crate::checking::contents;
use crate::client::{Answer, Call, Client};
use crate::foods::{aggregated, newest, observe, send_all};
use crate::ndjson;
use crate::server::{Server, in_time};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;

/// How many clients send commands at the same time.
const CLIENTS: usize = 32;
/// How many commands are confirmed before the backup begins, and how many after it.
const COMMANDS: usize = 300;
/// How many lines make a log of more than 4 MiB.
const LINES: usize = 60_000;
/// How often is looked for a file, in milliseconds.
const LOOK_MS: u64 = 1;
/// Lets files grow to 1 MiB (2,048 blocks of 512 bytes) and no further.
const WITH_SMALL_FILES: &str = "trap '' XFSZ; ulimit -S -f 2048; exec \"$@\"";
/// Mounts a disk of 1 MiB on the directory that is its first argument, runs the rest, and lists what is on it then.
const ON_SMALL_DISK: &str = "mount -t tmpfs -o size=1m tmpfs \"$0\" || exit 9
\"$@\"; code=$?; echo \"left: $(ls -A \"$0\")\"; exit $code";

/// A place for backups that is not the data directory.
fn place(server: &Server) -> PathBuf {
    let place = server.home().join("backups");
    fs::create_dir_all(&place).unwrap();
    place.join("refold.sqlite")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that prints one JSON object.
async fn json_of(server: &Server, arguments: &[&str]) -> Value {
    let (status, said) = server.run(&[arguments, &["--json"]].concat()).await;
    assert!(status.success(), "{said}");
    serde_json::from_str(&said).unwrap()
}

async fn fails(server: &Server, arguments: &[&str], because: &str) {
    let (status, said) = server.run(arguments).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(because), "{because:?} is not in: {said}");
}

/// A service that counted so many pies, and their receipts.
async fn fed(pies: usize) -> (Server, String) {
    let server = Server::start().await;
    let receipts = eat(&server.client(), pies).await;
    (server, receipts)
}

async fn eat(client: &Client, pies: usize) -> String {
    let receipts = newest(&send_all(&vec![observe(client, "pie"); pies]).await);
    aggregated(client, &receipts).await;
    receipts
}

async fn pies(client: &Client) -> u64 {
    let counted = client.get("/aggregated").send().await.is(200).json();
    counted[0]["count"].as_u64().unwrap_or(0)
}

/// A backup of 30 pies, in a place of its own.
async fn backup() -> (Server, PathBuf) {
    let (mut server, _) = fed(30).await;
    let file = place(&server);
    json_of(&server, &["backup", text(&file)]).await;
    server.stop().await;
    (server, file)
}

fn numbered(client: &Client, number: usize) -> Call {
    observe(client, "pie").key(format!("pie {number}"))
}

/// Commands that are sent until it is told to stop.
struct Load {
    answers: Arc<Mutex<BTreeMap<usize, Answer>>>,
    count: watch::Receiver<usize>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let answers = Arc::new(Mutex::new(BTreeMap::new()));
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told, count) = watch::channel(0);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (client, told) = (client.clone(), told.clone());
            let (answers, stop, next) = (Arc::clone(&answers), Arc::clone(&stop), Arc::clone(&next));
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let answer = numbered(&client, number).send().await.is(201);
                    answers.lock().unwrap().insert(number, answer);
                    told.send_modify(|count| *count += 1);
                }
            });
        }
        Self { answers, count, stop, clients }
    }

    /// Waits until so many more were confirmed.
    async fn go_on(&mut self, more: usize) {
        let enough = *self.count.borrow() + more;
        in_time("confirmed", self.count.wait_for(|count| *count >= enough)).await.unwrap();
    }

    fn confirmed(&self) -> BTreeMap<usize, Answer> {
        self.answers.lock().unwrap().clone()
    }

    async fn end(self) -> BTreeMap<usize, Answer> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.answers.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_backup_under_load_has_all_that_was_confirmed_before_and_the_rest_counts_anew() {
    let mut server = Server::start().await;
    let mut load = Load::start(&server.client());
    load.go_on(COMMANDS).await;
    let before = load.confirmed();
    let file = place(&server);
    let told = json_of(&server, &["backup", text(&file)]).await;
    load.go_on(COMMANDS).await;
    let all = load.end().await;
    server.kill().await;

    let mut restored = Server::new();
    let again = json_of(&restored, &["restore", text(&file)]).await;
    for field in ["log", "last_offsets"] {
        assert_eq!(told[field], again[field]);
    }
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!(again["store"], json!({"outcome": "none"}));
    restored.up().await;
    let client = restored.client();
    let counted = pies(&client).await;
    let calls: Vec<_> = all.keys().map(|number| numbered(&client, *number)).collect();
    let repeated = send_all(&calls).await;
    // Whatever was in the backup is answered as it was then, and only that.
    let known = all.iter().zip(&repeated).filter(|((_, first), again)| first.receipt() == again.receipt());
    let known: Vec<usize> = known.map(|((number, _), _)| *number).collect();
    assert_eq!(counted, known.len() as u64);
    assert!(before.keys().all(|number| known.contains(number)), "confirmed before, and not in the backup");
    assert!(known.len() < all.len());
    aggregated(&client, &newest(&repeated)).await;
    assert_eq!(pies(&client).await, all.len() as u64);
    restored.kill().await;
    restored.up().await;
    assert_eq!(pies(&client).await, all.len() as u64);
}

#[tokio::test]
async fn the_summary_tells_what_is_in_the_file() {
    let (server, _) = fed(30).await;
    let file = place(&server);
    let told = json_of(&server, &["backup", text(&file)]).await;
    let copy = Connection::open(&file).unwrap();
    for (partition, last) in (0_u32..).zip(told["last_offsets"].as_array().unwrap()) {
        let sql = "SELECT max(offset) FROM records WHERE partition = ?1";
        let found: i64 = copy.query_row(sql, [partition], |row| row.get(0)).unwrap();
        assert_eq!(*last, found);
    }
    let (status, said) = server.run(&["backup", "--force", text(&file)]).await;
    assert!(status.success() && said.contains(told["log"].as_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_store_that_went_further_is_removed_and_one_that_fits_is_kept() {
    let (mut server, file) = backup().await;
    server.remove_files("log.");
    let told = json_of(&server, &["restore", text(&file)]).await;
    assert_eq!(told["store"], json!({"outcome": "kept"}));
    server.up().await;
    let client = server.client();
    assert_eq!(pies(&client).await, 30);
    let lost = eat(&client, 20).await;
    server.stop().await;

    server.remove_files("log.");
    let (status, said) = server.run(&["restore", text(&file)]).await;
    assert!(status.success() && said.contains("The read models were removed"), "{said}");
    server.up().await;
    assert_eq!(pies(&client).await, 30);
    // Receipts from after the backup are of a history that is gone.
    let answer = client.get("/aggregated").header("Refold-Receipt", lost).send().await;
    assert_eq!(answer.status, 503, "{answer:?}");
    server.stop().await;

    let (mut other, _) = fed(2).await;
    other.stop().await;
    other.remove_files("log.");
    let told = json_of(&other, &["restore", text(&file)]).await;
    assert!(told["store"]["because"].as_str().unwrap().contains("from the log"), "{told}");
    other.up().await;
    assert_eq!(pies(&other.client()).await, 30);
}

#[tokio::test]
async fn a_log_that_is_there_is_never_replaced() {
    let (mut server, file) = backup().await;
    // The lock names the process that had it last.
    let data = || contents(&server.data()).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
    let before: Vec<_> = data();
    fails(&server, &["restore", text(&file)], "move it away").await;
    assert!(data() == before);
    server.up().await;
    fails(&server, &["restore", text(&file)], &format!("in use by process {}", server.pid())).await;
    assert_eq!(pies(&server.client()).await, 30);
    server.stop().await;
    // SQLite would take this for a part of what is restored.
    server.remove_files("log.");
    fs::write(server.data().join("log.sqlite-wal"), "").unwrap();
    fails(&server, &["restore", text(&file)], "log.sqlite-wal belongs to a database").await;
    assert!(!server.data().join("log.sqlite").exists());
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused_and_changes_nothing() {
    let (server, file) = backup().await;
    let whole = fs::read(&file).unwrap();
    let (cut, garbled) = (whole.len() / 2, [&whole[..4_096], &vec![0xaa; whole.len() - 4_096]].concat());
    let bad = server.home().join("bad.sqlite");
    let target = Server::new();
    for (what, bytes, because) in [
        ("truncated", &whole[..cut], "malformed"),
        ("garbled", &garbled, "malformed"),
        (
            "of somebody else",
            &b"a text, and not a short one, for SQLite looks at a hundred bytes"[..],
            "not a database",
        ),
        ("empty", b"", "empty or half made"),
    ] {
        fs::write(&bad, bytes).unwrap();
        let (status, said) = target.run(&["restore", text(&bad)]).await;
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(because) && said.contains("nothing was changed"), "{what}: {said}");
        assert!(!target.data().exists(), "{what}");
    }
    let store = server.data().join("store.v2.sqlite");
    fails(&target, &["restore", text(&store)], "it is a database of something else").await;
    fails(&target, &["restore", text(&server.home().join("none"))], "unable to open").await;
    let fewer = target.with("LOG__PARTITIONS", "4");
    fails(&fewer, &["restore", text(&file)], "has 8 partitions").await;
    let more = fewer.with("LOG__PARTITIONS", "16");
    fails(&more, &["restore", text(&file)], "set log.partitions = 8").await;
    assert!(!more.data().exists());
}

#[tokio::test]
async fn a_backup_goes_only_where_it_is_safe_and_replaces_only_what_it_may() {
    let (server, file) = backup().await;
    fails(&server, &["backup", text(&file)], "add --force").await;
    let before = fs::read(&file).unwrap();
    assert!(server.run(&["backup", "--force", text(&file)]).await.0.success());
    assert!(fs::read(&file).unwrap() == before, "nothing was recorded since");
    let missing = server.home().join("missing/refold.sqlite");
    fails(&server, &["backup", text(&missing)], "make the directory first").await;
    fails(&server, &["backup", text(server.home())], "name a file in it").await;
    for inside in ["log.sqlite", "store.v2.sqlite", "backup"] {
        let inside = server.data().join(inside);
        fails(&server, &["backup", "--force", text(&inside)], "in the data directory").await;
    }
    let nothing = Server::new();
    fails(&nothing, &["backup", text(&place(&nothing))], "there is no log").await;
    assert!(!nothing.data().exists());
}

/// A service that has stopped, with a log of some MiB.
async fn large() -> Server {
    let mut server = Server::start().await;
    let food = "pie ".repeat(20);
    let call = server.client().post_lines("/foods", ndjson::foods(&vec![food; LINES])).key("all");
    call.insist().await.is(201);
    server.stop().await;
    assert!(fs::metadata(server.data().join("log.sqlite")).unwrap().len() > 4 << 20);
    server
}

#[tokio::test]
async fn a_full_disk_leaves_no_file() {
    let server = large().await;
    let file = place(&server);
    let directory = file.parent().unwrap().to_owned();
    let small_files = server.under(&["sh", "-c", WITH_SMALL_FILES, "sh"]);
    fails(&small_files, &["backup", text(&file)], "cannot copy").await;
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    let tried = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).status().await;
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: a full disk: this machine does not let `unshare -rm` mount one");
        return;
    }
    let full = small_files.under(&["unshare", "-rm", "sh", "-c", ON_SMALL_DISK, text(&directory)]);
    let (status, said) = full.run(&["backup", text(&file)]).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("disk is full") && said.contains("left: \n"), "{said}");
}

#[tokio::test]
async fn a_backup_that_is_killed_leaves_no_file_that_looks_whole() {
    let server = large().await;
    let file = place(&server);
    let directory = file.parent().unwrap();
    for signal in ["KILL", "TERM"] {
        let mut backup = server.command(&["backup", text(&file)]).stdout(Stdio::null()).spawn().unwrap();
        let mut ticks = interval(Duration::from_millis(LOOK_MS));
        let begun = async {
            while fs::read_dir(directory).unwrap().count() == 0 {
                ticks.tick().await;
            }
        };
        in_time("begun", begun).await;
        let kill = format!("kill -{signal} {}", backup.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
        let status = in_time("ended", backup.wait()).await.unwrap();
        // It may have been faster than the signal: then it is whole.
        assert_eq!(file.exists(), status.success(), "{status}");
        if file.exists() {
            json_of(&Server::new(), &["restore", text(&file)]).await;
        } else if signal == "TERM" {
            assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "who is asked to stop tidies up");
        }
        for left in fs::read_dir(directory).unwrap() {
            fs::remove_file(left.unwrap().path()).unwrap();
        }
    }
    json_of(&server, &["backup", text(&file)]).await;
    json_of(&Server::new(), &["restore", text(&file)]).await;
}
