//! One suite for all stores: what the contract promises, each promise with the same random work on all of them.

use crate::driver::{first_head, space};
use crate::logs::PLACE;
use crate::{block_on, cases, redis};
use futures::future::join_all;
use proptest::prelude::*;
use refold_domain::hash::Hash;
use refold_projections::state::{Epoch, Head, Mark};
use refold_projections::store::redis::options::Options;
use refold_projections::store::{
    Blob, Flush, Flushed, Limit, MemoryStore, Range, RedisStore, STORE_FORMAT, Space, SqliteStore, Store,
    Wanted,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const PARTITIONS: u32 = 3;

fn file(dir: &Path) -> PathBuf {
    dir.join(format!("store.v{STORE_FORMAT}.sqlite"))
}

fn mark(offset: u64) -> Mark {
    Mark { offset, hash: Hash(offset.wrapping_mul(31)) }
}

pub(crate) fn head_at(offset: u64) -> Head {
    Head { position: mark(offset), ..first_head(PLACE, mark(0), &[]) }
}

/// What is asked of a store.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Flush { partition: u32, from: From, changes: Vec<(usize, Blob, Option<Blob>)>, same_epoch: bool },
    Load { partition: u32, wanted: Vec<(usize, Blob)> },
    Scan { partition: u32, range: Range },
    Reset(Blob),
}

#[derive(Debug, Clone)]
pub(crate) enum From {
    /// Where the partition stands.
    Here,
    /// Nowhere: as if it had no state.
    Nothing,
    OtherEpoch,
    OtherOffset,
    OtherHash,
    /// The last flush, once more.
    Again,
}

fn spaces() -> Vec<Space> {
    vec![
        Space::Writers,
        Space::Streams,
        Space::Keys,
        Space::Voids,
        Space::Refused,
        Space::Unreadable,
        Space::View("a".into(), 1),
        Space::View("a".into(), 11),
        Space::View("a/1".into(), 1),
    ]
}

fn blob() -> impl Strategy<Value = Blob> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(0x61), Just(0xFF)], 0..4)
}

fn bound() -> impl Strategy<Value = Bound<Blob>> {
    prop_oneof![Just(Bound::Unbounded), blob().prop_map(Bound::Included), blob().prop_map(Bound::Excluded)]
}

fn range() -> impl Strategy<Value = Range> {
    let many = || prop_oneof![0usize..12, Just(usize::MAX)];
    let limit = (many(), many()).prop_map(|(entries, bytes)| Limit { entries, bytes });
    (0..spaces().len(), bound(), bound(), any::<bool>(), limit).prop_map(
        |(space, from, to, reverse, limit)| Range {
            space: spaces().swap_remove(space),
            from,
            to,
            reverse,
            limit,
        },
    )
}

/// What a limit leaves of all entries: each that is not preceded by enough of them, and the first one anyhow.
fn within(limit: Limit, all: &[(Blob, Blob)]) -> &[(Blob, Blob)] {
    let size =
        |before: usize| all[..before].iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let is_wanted = |at: &usize| *at < limit.entries && (*at == 0 || size(*at) < limit.bytes);
    &all[..(0..all.len()).take_while(is_wanted).count()]
}

pub(crate) fn work() -> impl Strategy<Value = Work> {
    let from = prop_oneof![
        8 => Just(From::Here),
        1 => Just(From::Nothing),
        1 => Just(From::OtherEpoch),
        1 => Just(From::OtherOffset),
        1 => Just(From::OtherHash),
        2 => Just(From::Again),
    ];
    let space = || 0..spaces().len();
    let changes = prop::collection::vec((space(), blob(), prop::option::weighted(0.7, blob())), 0..8);
    let flush =
        (0..PARTITIONS, from, changes, any::<bool>()).prop_map(|(partition, from, changes, same_epoch)| {
            Work::Flush { partition, from, changes, same_epoch }
        });
    let load = (0..PARTITIONS, prop::collection::vec((space(), blob()), 0..6))
        .prop_map(|(partition, wanted)| Work::Load { partition, wanted });
    let scan = (0..PARTITIONS, range()).prop_map(|(partition, range)| Work::Scan { partition, range });
    prop_oneof![8 => flush, 4 => load, 6 => scan, 1 => blob().prop_map(Work::Reset)]
}

/// Does the same work on a store, with heads of its own making so that all stores see the same ones.
#[derive(Default)]
struct Worker {
    heads: BTreeMap<u32, Head>,
    last: BTreeMap<u32, Arc<Flush>>,
    next: u64,
}

impl Worker {
    /// The flush that a piece of work means, and what must come of it.
    fn flush(
        &mut self,
        partition: u32,
        from: &From,
        changes: &[(usize, Blob, Option<Blob>)],
        same_epoch: bool,
    ) -> Option<(Arc<Flush>, Flushed)> {
        let here = self.heads.get(&partition);
        if let From::Again = from {
            return self.last.get(&partition).map(|last| (Arc::clone(last), Flushed::Done));
        }
        let version = here.map(Head::version);
        let from = match from {
            From::Nothing => None,
            From::OtherEpoch => Some((version?.0, Epoch::random())),
            From::OtherOffset => Some((Mark { offset: u64::MAX, ..version?.0 }, version?.1)),
            From::OtherHash => Some((Mark { hash: Hash(7), ..version?.0 }, version?.1)),
            From::Here | From::Again => version,
        };
        self.next += 1;
        let mut head = head_at(self.next);
        if let (true, Some(here)) = (same_epoch, here) {
            head.epoch = here.epoch;
        }
        let outcome = if from == version { Flushed::Done } else { Flushed::Refused };
        let mut flush = Flush { from, head, changes: BTreeMap::new() };
        for (space, key, value) in changes {
            flush.put(spaces().swap_remove(*space), key.clone(), value.clone());
        }
        let flush = Arc::new(flush);
        if outcome == Flushed::Done {
            self.heads.insert(partition, flush.head.clone());
            self.last.insert(partition, Arc::clone(&flush));
        }
        Some((flush, outcome))
    }

    async fn perform(&mut self, stores: &[&dyn Store], work: &Work) -> Result<(), TestCaseError> {
        match work {
            Work::Flush { partition, from, changes, same_epoch } => {
                let Some((flush, expected)) = self.flush(*partition, from, changes, *same_epoch) else {
                    return Ok(());
                };
                for store in stores {
                    let flushed = store.flush(*partition, Arc::clone(&flush)).await.unwrap();
                    prop_assert_eq!(flushed, expected);
                }
            }
            Work::Load { partition, wanted } => {
                let mut asked = Wanted::new();
                for (space, key) in wanted {
                    asked.entry(spaces().swap_remove(*space)).or_default().push(key.clone());
                }
                let mut answers = Vec::new();
                for store in stores {
                    let mut loaded = store.load(*partition, asked.clone()).await.unwrap();
                    prop_assert_eq!(loaded.head.as_ref(), self.heads.get(partition));
                    loaded.values.retain(|_, values| !values.is_empty());
                    answers.push(loaded.values);
                }
                prop_assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
            }
            Work::Scan { partition, range } => {
                let mut answers = Vec::new();
                for store in stores {
                    let scanned = store.scan(*partition, range.clone()).await.unwrap();
                    prop_assert_eq!(scanned.head.as_ref(), self.heads.get(partition));
                    let whole = Range { limit: Limit::entries(usize::MAX), ..range.clone() };
                    let whole = store.scan(*partition, whole).await.unwrap();
                    prop_assert!(!whole.more);
                    let bounded = within(range.limit, &whole.entries);
                    prop_assert_eq!(scanned.entries.as_slice(), bounded);
                    prop_assert_eq!(scanned.more, bounded.len() < whole.entries.len());
                    let all = store.scan_all(*partition + 1, range.clone()).await.unwrap();
                    prop_assert_eq!(all.len(), *partition as usize + 1);
                    prop_assert_eq!(all.last(), Some(&scanned));
                    answers.push(scanned.entries);
                }
                prop_assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
            }
            Work::Reset(catalogue) => {
                *self = Self { next: self.next, ..Self::default() };
                for store in stores {
                    store.reset(catalogue.clone()).await.unwrap();
                    let stored = store.catalogue().await.unwrap();
                    prop_assert_eq!(stored.as_ref(), Some(catalogue));
                }
            }
        }
        Ok(())
    }
}

/// Everything that the stores hold, one after the other.
async fn everything(store: &dyn Store) -> Vec<(Option<Head>, Vec<BTreeMap<Blob, Blob>>)> {
    let mut held = Vec::new();
    for partition in 0..PARTITIONS {
        let mut maps = Vec::new();
        for of in spaces() {
            maps.push(space(store, partition, of).await);
        }
        held.push((store.load(partition, Wanted::new()).await.unwrap().head, maps));
    }
    held
}

/// Does the work on a store of each kind and holds them against each other, also after they were opened again.
pub(crate) async fn answer_alike(works: &[Work], options: &Options) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let (memory, sqlite) = (MemoryStore::default(), SqliteStore::open(dir.path()).unwrap());
    let name = redis::name();
    let redis = redis::open(options, &name).await;
    let mut worker = Worker::default();
    // What comes before a catalogue is not found again by its next process.
    worker.perform(&[&memory, &sqlite, &redis], &Work::Reset(b"first".to_vec())).await?;
    for work in works {
        worker.perform(&[&memory, &sqlite, &redis], work).await?;
    }
    let held = everything(&memory).await;
    prop_assert_eq!(&everything(&sqlite).await, &held);
    prop_assert_eq!(&everything(&redis).await, &held);
    let catalogue = memory.catalogue().await.unwrap();
    drop((sqlite, redis));
    let sqlite = SqliteStore::open(dir.path()).unwrap();
    let redis = RedisStore::open(options, &name, PARTITIONS).await.unwrap();
    for reopened in [&sqlite as &dyn Store, &redis] {
        prop_assert_eq!(&everything(reopened).await, &held);
        prop_assert_eq!(&reopened.catalogue().await.unwrap(), &catalogue);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn all_stores_answer_alike(works in prop::collection::vec(work(), 1..60)) {
        block_on(answer_alike(&works, &redis::options(redis::shared())))?;
    }

    #[test]
    fn a_memory_store_comes_back_as_it_was(works in prop::collection::vec(work(), 1..20)) {
        block_on(async {
            let memory = MemoryStore::default();
            let mut worker = Worker::default();
            let (before, after) = works.split_at(works.len() / 2);
            for work in before {
                worker.perform(&[&memory], work).await?;
            }
            let (snapshot, held) = (memory.snapshot(), everything(&memory).await);
            for work in after {
                worker.perform(&[&memory], work).await?;
            }
            memory.restore(&snapshot);
            prop_assert_eq!(everything(&memory).await, held);
            Ok(())
        })?;
    }
}

pub(crate) fn put(from: Option<&Head>, to: &Head, space: &Space, key: &[u8], value: &[u8]) -> Arc<Flush> {
    let changes = BTreeMap::from([(space.clone(), BTreeMap::from([(key.to_vec(), Some(value.to_vec()))]))]);
    Arc::new(Flush { from: from.map(Head::version), head: to.clone(), changes })
}

/// Partitions flush at once, each flush with a space of its own, while readers look on.
pub(crate) async fn partitions_do_not_disturb_each_other(store: Arc<dyn Store>) {
    const ROUNDS: u64 = 40;
    let write = |partition: u32| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut before: Option<Head> = None;
            for round in 1..=ROUNDS {
                let head = head_at(round);
                let generation = u32::try_from(round).unwrap();
                let space = Space::View(format!("p{partition}").into(), generation);
                let mut flush = Arc::unwrap_or_clone(put(before.as_ref(), &head, &space, b"k", &[1]));
                flush.put(Space::Voids, b"round".to_vec(), Some(round.to_be_bytes().to_vec()));
                assert_eq!(store.flush(partition, Arc::new(flush)).await.unwrap(), Flushed::Done);
                before = Some(head);
            }
        })
    };
    let read = |partition: u32| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            loop {
                let wanted = Wanted::from([(Space::Voids, vec![b"round".to_vec()])]);
                let loaded = store.load(partition, wanted).await.unwrap();
                let at = loaded.head.as_ref().map_or(0, |head| head.position.offset);
                let round = loaded.value(&Space::Voids, b"round").map(|it| it.try_into().unwrap());
                assert_eq!(round.map_or(0, u64::from_be_bytes), at);
                // The space that the next flush makes is there exactly when its head is.
                let next = u32::try_from(at + 1).unwrap();
                let (from, to) = (Bound::Unbounded, Bound::Unbounded);
                let space = Space::View(format!("p{partition}").into(), next);
                let scanned = store
                    .scan(partition, Range { space, from, to, reverse: false, limit: Limit::entries(9) });
                let scanned = scanned.await.unwrap();
                let has_come = scanned.head.is_some_and(|head| head.position.offset >= u64::from(next));
                assert_eq!(!scanned.entries.is_empty(), has_come);
                if at == ROUNDS {
                    break;
                }
            }
        })
    };
    let workers: Vec<_> = (0..4).map(write).chain((0..4).map(read)).collect();
    join_all(workers).await.into_iter().for_each(Result::unwrap);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_partitions_flush_at_once_and_readers_see_whole_flushes() {
    partitions_do_not_disturb_each_other(Arc::new(MemoryStore::default())).await;
    let dir = tempfile::tempdir().unwrap();
    partitions_do_not_disturb_each_other(Arc::new(SqliteStore::open(dir.path()).unwrap())).await;
    partitions_do_not_disturb_each_other(Arc::new(redis::store().await)).await;
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(file(dir.path()), b"Dear diary, today I had a pie. ".repeat(200)).unwrap();
    let before = std::fs::read(file(dir.path())).unwrap();
    let error = SqliteStore::open(dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("store.v2.sqlite"), "{error:#}");
    assert_eq!(std::fs::read(file(dir.path())).unwrap(), before);

    let dir = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(file(dir.path())).unwrap();
    other.execute_batch("CREATE TABLE diary (day TEXT); INSERT INTO diary VALUES ('pie');").unwrap();
    let error = SqliteStore::open(dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("no store of refold"), "{error:#}");
    let entries: i64 = other.query_row("SELECT count(*) FROM diary", [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 1);

    let missing = dir.path().join("nowhere");
    assert!(SqliteStore::open(&missing).is_err());
}

/// Lets the database refuse a key in the middle of a flush, as a full disk would anywhere.
fn refuse_key(dir: &Path, key: &str) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(file(dir)).unwrap();
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.key = X'{key}'
         BEGIN SELECT RAISE(ABORT, 'no room'); END;"
    );
    other.execute_batch(&trigger).unwrap();
    other
}

#[test]
fn a_flush_that_fails_half_way_changes_nothing_and_works_later() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let store = SqliteStore::open(dir.path()).unwrap();
        let (one, two, three) = (head_at(1), head_at(2), head_at(3));
        let (old, new, other) =
            (Space::Streams, Space::View("new".into(), 1), Space::View("other".into(), 1));
        store.flush(0, put(None, &one, &old, b"a", b"1")).await.unwrap();
        store.flush(1, put(None, &one, &old, b"a", b"1")).await.unwrap();
        let before = everything(&store).await;

        let door = refuse_key(dir.path(), "ff");
        let mut flush = Arc::unwrap_or_clone(put(Some(&one), &two, &old, b"a", b"2"));
        flush.put(new.clone(), b"b".to_vec(), Some(b"2".to_vec()));
        flush.put(new.clone(), vec![0xFF], Some(b"2".to_vec()));
        let flush = Arc::new(flush);
        let error = store.flush(0, Arc::clone(&flush)).await.unwrap_err();
        assert!(format!("{error:#}").contains("no room"), "{error:#}");
        assert_eq!(everything(&store).await, before);
        assert!(space(&store, 0, new.clone()).await.is_empty());

        // A space made now must not be taken for the one whose making failed.
        let done = store.flush(1, put(Some(&one), &two, &other, b"o", b"o")).await.unwrap();
        assert_eq!(done, Flushed::Done);
        assert!(space(&store, 1, new.clone()).await.is_empty());

        door.execute_batch("DROP TRIGGER refuse").unwrap();
        for _ in 0..2 {
            assert_eq!(store.flush(0, Arc::clone(&flush)).await.unwrap(), Flushed::Done);
        }
        assert_eq!(space(&store, 0, new.clone()).await.len(), 2);
        assert_eq!(space(&store, 0, old).await, BTreeMap::from([(b"a".to_vec(), b"2".to_vec())]));
        assert!(space(&store, 0, other.clone()).await.is_empty());
        assert_eq!(space(&store, 1, other).await.len(), 1);
        let late = store.flush(0, put(Some(&one), &three, &new, b"b", b"3")).await.unwrap();
        assert_eq!(late, Flushed::Refused);
    });
}
