//! The writer on a log that refuses: what it tells of it, and how it finds out that the log is well again.

use super::*;
use futures::StreamExt;
use refold_adapters::embedded::EmbeddedLog;
use refold_domain::commit::{Guard, Record};
use tempfile::tempdir;

/// How long anything may take that must happen, in seconds; only a broken writer takes that long.
const WAIT_SECONDS: u64 = 60;
/// So few pages that a handful of commands fills them.
const FEW_PAGES: u32 = 20;
const UNLIMITED_PAGES: u32 = u32::MAX - 1;

/// A command of so many bytes and a few.
fn command(bytes: usize) -> Vec<u8> {
    decision::encode(vec![Guard::step("x".repeat(bytes), 0)], None, None, &[])
}

async fn append(writer: &Writer, bytes: usize) -> Result<Receipt, WriteError> {
    writer.append(0, command(bytes), 0, Instant::now() + Duration::from_secs(WAIT_SECONDS)).await
}

async fn fill(writer: &Writer) {
    // First with large ones, then with such as a barrier, until not even that has room.
    for bytes in [3_000, 1] {
        while append(writer, bytes).await.is_ok() {}
    }
}

#[tokio::test]
async fn a_log_that_refuses_is_a_problem_until_it_takes_appends_again() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(EmbeddedLog::open(dir.path(), 1).unwrap());
    let log: Arc<dyn EventLog> = Arc::clone(&disk) as _;
    let writer = Writer::start(&log, Uuid::now_v7(), 1, 10);
    append(&writer, 1).await.unwrap();
    assert_eq!(writer.problem(), None);

    disk.limit_pages(FEW_PAGES);
    fill(&writer).await;
    let problem = writer.problem().unwrap();
    assert!(problem.contains("partition 0") && problem.contains("the disk is full"), "{problem}");
    let before = disk.bounds(0).await.unwrap();

    // Nobody sends a command from here on.
    disk.limit_pages(UNLIMITED_PAGES);
    let well = async { writer.failing.subscribe().wait_for(Failing::is_empty).await.map(drop) };
    timeout(Duration::from_secs(WAIT_SECONDS), well).await.unwrap().unwrap();
    assert_eq!(writer.problem(), None);
    let refold_domain::log::End::Last(end) = before.end else { panic!("{before:?}") };
    let (_, bytes) = disk.read(0, end + 1).await.unwrap().next().await.unwrap().unwrap();
    let Ok(Record::Commit(barrier)) = Record::decode(&bytes) else { panic!("{bytes:?}") };
    assert!(barrier.commands.iter().all(|command| command.guards.is_empty() && command.events.is_empty()));
    writer.close().await;
}

#[tokio::test]
async fn commands_that_may_go_anywhere_fill_commits_and_spread() {
    let dir = tempdir().unwrap();
    let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(dir.path(), 3).unwrap());
    let writer = Writer::start(&log, Uuid::now_v7(), 3, 10);
    let run = || (0..RUN_EVENTS).map(|_| writer.any_partition(1)).collect::<Vec<_>>();
    for expected in [0, 1, 2, 0] {
        assert!(run().iter().all(|partition| *partition == expected));
    }
    // A chunk as large as a run is one.
    assert_eq!([0; 4].map(|_| writer.any_partition(RUN_EVENTS)), [1, 2, 0, 1]);
}
