//! A full disk, which only a connection of the test's own can be given.

use super::reading::{entries, head};
use super::writing::perform;
use super::*;
use crate::state::{Head, Mark};
use crate::store::{Limit, Space};
use refold_domain::hash::Hash;
use std::collections::BTreeMap;
use std::ops::Bound;
use uuid::Uuid;

fn head_at(offset: u64) -> Head {
    let mark = |offset| Mark { offset, hash: Hash(offset) };
    Head { position: mark(offset), ..Head::first(Uuid::nil(), mark(0), 0, [].into()) }
}

/// A flush that writes many pages into two new spaces.
fn large(from: Option<&Head>, to: &Head) -> Flush {
    let mut flush = Flush { from: from.map(Head::version), head: to.clone(), changes: BTreeMap::new() };
    for (key, name) in (0u32..400).zip(["one", "other"].into_iter().cycle()) {
        flush.put(Space::View(name.into(), 1), key.to_be_bytes().to_vec(), Some(vec![7; 1_000]));
    }
    flush
}

fn try_flush(connection: &mut Connection, spaces: &Spaces, flush: &Flush) -> anyhow::Result<Flushed> {
    let (done, mut outcome) = oneshot::channel();
    let mut group = vec![Job::Flush { partition: 0, flush: Arc::new(flush.clone()), done }];
    perform(connection, spaces, &mut group);
    outcome.try_recv().unwrap()
}

#[test]
fn a_full_disk_changes_nothing_and_room_lets_it_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open_writable(&dir.path().join(file_name())).unwrap();
    let spaces = Spaces::read(&connection).unwrap();
    let (one, two) = (head_at(1), head_at(2));
    let small = Flush { from: None, head: one.clone(), changes: BTreeMap::new() };
    assert_eq!(try_flush(&mut connection, &spaces, &small).unwrap(), Flushed::Done);
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |connection: &Connection, pages: i64| {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };

    limit(&connection, pages + 3);
    let flush = large(Some(&one), &two);
    for _ in 0..3 {
        let error = try_flush(&mut connection, &spaces, &flush).unwrap_err();
        assert!(format!("{error:#}").contains("full"), "{error:#}");
        let tx = connection.transaction().unwrap();
        assert_eq!(head(&tx, 0).unwrap(), Some(one.clone()));
        assert_eq!(spaces.find(&Space::View("one".into(), 1)), None);
        let left: i64 = tx.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    limit(&connection, 1_000_000);
    for _ in 0..2 {
        assert_eq!(try_flush(&mut connection, &spaces, &flush).unwrap(), Flushed::Done);
    }
    let tx = connection.transaction().unwrap();
    assert_eq!(head(&tx, 0).unwrap(), Some(two));
    let id = spaces.find(&Space::View("one".into(), 1)).unwrap();
    let range = Range {
        space: Space::View("one".into(), 1),
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        reverse: false,
        limit: Limit::entries(usize::MAX),
    };
    assert_eq!(entries(&tx, 0, id, range).unwrap().0.len(), 200);
}
