//! What only Redis can show: keys of somebody else, no room, no rights, other processes, and all of it gone.

use crate::driver::space;
use crate::redis::{name, open, options, shared, store};
use crate::servers::Server;
use crate::stores::{head_at, put};
use redis::{Cmd, FromRedisValue, Value};
use refold_projections::peers::Peers;
use refold_projections::store::redis::options::Options;
use refold_projections::store::{Away, Flushed, RedisStore, Space, Store, Wanted, kinds};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{interval, timeout};
use uuid::Uuid;

/// How long anything may take that a store does by itself: it looks each second.
const WAIT: Duration = Duration::from_secs(10);

async fn ask<T: FromRedisValue>(store: &RedisStore, words: &[&str]) -> T {
    let mut question = Cmd::new();
    question.arg(words);
    store.connection().ask(&question).await.unwrap()
}

async fn keys(store: &RedisStore) -> Vec<String> {
    let mut keys: Vec<String> = ask(store, &["KEYS", &format!("{}*", store.prefix())]).await;
    keys.sort();
    keys
}

/// The key that begins the values of a space.
async fn key(store: &RedisStore, end: &str) -> String {
    keys(store).await.into_iter().find(|key| key.ends_with(end)).unwrap()
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = async {
        let mut ticks = interval(Duration::from_millis(10));
        while !is_so().await {
            ticks.tick().await;
        }
    };
    assert!(timeout(WAIT, waited).await.is_ok(), "not {what} within {WAIT:?}");
}

#[tokio::test]
async fn a_key_of_somebody_else_is_named_and_nothing_of_the_flush_counts() {
    let store = store().await;
    let (one, two) = (head_at(1), head_at(2));
    let (a, b) = (Space::View("a".into(), 1), Space::View("b".into(), 1));
    store.flush(0, put(None, &one, &a, b"k", b"1")).await.unwrap();
    let mut flush = Arc::unwrap_or_clone(put(Some(&one), &two, &a, b"k", b"2"));
    flush.put(b.clone(), b"k".to_vec(), Some(b"2".to_vec()));
    let flush = Arc::new(flush);

    let values = key(&store, "/values/view/a/1").await;
    for (place, order) in [("values", false), ("order", true)] {
        let strange = values.replace("/values/view/a/1", &format!("/{place}/view/b/1"));
        let () = ask(&store, &["SET", &strange, "mine"]).await;
        let error = format!("{:#}", store.flush(0, Arc::clone(&flush)).await.unwrap_err());
        assert!(error.contains(&strange) && error.contains("is a string"), "{error}");
        let loaded = store.load(0, Wanted::from([(a.clone(), vec![b"k".to_vec()])])).await.unwrap();
        assert_eq!((loaded.head.as_ref(), loaded.value(&a, b"k")), (Some(&one), Some(b"1".as_slice())));
        if order {
            let read = store.scan(0, everything(&b)).await;
            assert!(format!("{:#}", read.unwrap_err()).contains(&strange));
        }
        let () = ask(&store, &["DEL", &strange]).await;
    }
    for _ in 0..2 {
        assert_eq!(store.flush(0, Arc::clone(&flush)).await.unwrap(), Flushed::Done);
    }
    for of in [a, b] {
        assert_eq!(space(&store, 0, of).await, BTreeMap::from([(b"k".to_vec(), b"2".to_vec())]));
    }
}

fn everything(space: &Space) -> refold_projections::store::Range {
    let (from, to) = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let limit = refold_projections::store::Limit::entries(usize::MAX);
    refold_projections::store::Range { space: space.clone(), from, to, reverse: false, limit }
}

#[tokio::test]
async fn a_full_redis_refuses_a_flush_as_a_whole_and_goes_on_when_there_is_room() {
    const VALUE_BYTES: usize = 1 << 20;
    let server = Server::start("redis", 1, "");
    let store = open(&options(server.address()), "full").await;
    let (mut before, big) = (None, vec![7; VALUE_BYTES]);
    let view = Space::View("big".into(), 1);
    let used: String = ask(&store, &["INFO", "memory"]).await;
    let used: usize =
        used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let () = ask(&store, &["CONFIG", "SET", "maxmemory", &(used + 8 * VALUE_BYTES).to_string()]).await;
    for round in 1.. {
        let head = head_at(round);
        let mut flush = Arc::unwrap_or_clone(put(before.as_ref(), &head, &view, &round.to_be_bytes(), &big));
        flush.put(Space::Voids, b"round".to_vec(), Some(round.to_be_bytes().to_vec()));
        let flush = Arc::new(flush);
        let Err(error) = store.flush(0, Arc::clone(&flush)).await else {
            before = Some(head);
            continue;
        };
        assert!(format!("{error:#}").contains("it is full"), "{error:#}");
        let wanted = Wanted::from([(Space::Voids, vec![b"round".to_vec()])]);
        let loaded = store.load(0, wanted).await.unwrap();
        assert_eq!(loaded.head, before);
        let count = space(&store, 0, view).await.len() as u64;
        assert_eq!(loaded.value(&Space::Voids, b"round"), Some(count.to_be_bytes().as_slice()));
        assert_eq!(count + 1, round);
        let () = ask(&store, &["CONFIG", "SET", "maxmemory", "0"]).await;
        for _ in 0..2 {
            assert_eq!(store.flush(0, Arc::clone(&flush)).await.unwrap(), Flushed::Done);
        }
        let loaded = store.load(0, Wanted::new()).await.unwrap();
        assert_eq!(loaded.head, Some(head));
        return;
    }
}

/// The options of a user with a password.
fn of_user(user: &str) -> Options {
    let mut section = kinds::options("redis");
    section.set("servers", vec![shared().to_string()].into());
    section.set("user", user.into());
    section.set("password", "geheim".into());
    Options::of(&section).unwrap()
}

#[tokio::test]
async fn what_the_user_may_not_do_is_told_before_anything_is_written() {
    let admin = store().await;
    let (user, name) = (name(), name());
    let rights = async |rights: &[&str]| {
        let words = [&["ACL", "SETUSER", &user, "reset", "on", ">geheim"], rights].concat();
        ask::<Value>(&admin, &words).await
    };
    let commands = "+evalsha +script|load +info +type +hget +hmget +hset +hdel +zadd +zrem +zrange +sadd +srem +smembers +del \
        +unlink +expire +hgetall +zscore +zremrangebyscore +pexpire +time +publish +subscribe";
    let all: Vec<_> = ["~*", "&*"].into_iter().chain(commands.split_whitespace()).collect();
    rights(&all).await;
    let store = open(&of_user(&user), &name).await;
    let (one, two) = (head_at(1), head_at(2));
    let view = Space::View("a".into(), 1);
    store.flush(0, put(None, &one, &view, b"k", b"1")).await.unwrap();

    for (lost, command) in [("+zadd", "ZADD"), ("+hset", "HSET"), ("+sadd", "SADD")] {
        let fewer: Vec<_> = all.iter().copied().filter(|right| *right != lost).collect();
        rights(&fewer).await;
        let error =
            format!("{:#}", store.flush(0, put(Some(&one), &two, &view, b"k", b"2")).await.unwrap_err());
        assert!(error.contains(command) && error.contains("docs/stores.md"), "{error}");
        assert_eq!(space(&store, 0, view.clone()).await[b"k".as_slice()], b"1");
        let refused = RedisStore::open(&of_user(&user), &name, 3).await.unwrap_err();
        assert!(format!("{refused:#}").contains(command) && !refused.is::<Away>(), "{refused:#}");
    }
    rights(&all).await;
    assert_eq!(store.flush(0, put(Some(&one), &two, &view, b"k", b"2")).await.unwrap(), Flushed::Done);

    let mut section = kinds::options("redis");
    section.set("servers", vec![shared().to_string()].into());
    section.set("user", user.as_str().into());
    section.set("password", "falsch".into());
    let refused = RedisStore::open(&Options::of(&section).unwrap(), &name, 3).await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("redis.password") && !refused.contains("falsch"), "{refused}");
}

#[tokio::test]
async fn a_redis_that_may_throw_away_what_it_holds_is_found_out() {
    let server = Server::start("redis", 1, "appendonly yes\n");
    let options = options(server.address());
    let store = open(&options, "evicting").await;
    assert_eq!(store.risks().await.unwrap(), []);
    let () = ask(&store, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let () = ask(&store, &["CONFIG", "SET", "appendonly", "no"]).await;
    let risks = store.risks().await.unwrap();
    let [evicts, forgets] = &risks[..] else { panic!("{risks:?}") };
    assert!(evicts.fatal && evicts.remedy.contains("CONFIG SET maxmemory-policy noeviction"), "{evicts:?}");
    assert!(!forgets.fatal && forgets.remedy.contains("appendonly yes"), "{forgets:?}");
    assert!(risks.iter().all(|risk| risk.found.contains(&server.address().to_string())), "{risks:?}");
    assert_eq!(RedisStore::risks_at(&options, "another", 3).await.unwrap(), risks);
}

#[tokio::test]
async fn what_is_emptied_by_one_process_is_empty_for_the_other_and_nothing_is_left() {
    let (options, name) = (options(shared()), name());
    let (here, there) = (open(&options, &name).await, open(&options, &name).await);
    here.reset(b"text".to_vec()).await.unwrap();
    assert_eq!(there.catalogue().await.unwrap().unwrap(), b"text");
    let (one, two) = (head_at(1), head_at(2));
    let view = Space::View("a".into(), 1);
    assert_eq!(there.flush(0, put(None, &one, &view, b"k", b"1")).await.unwrap(), Flushed::Done);
    assert_eq!(here.load(0, Wanted::new()).await.unwrap().head, Some(one.clone()));

    here.reset(b"text".to_vec()).await.unwrap();
    // It either still sees all of what was, or an end, or what is in force: never a part.
    let stale = there.flush(0, put(Some(&one), &two, &view, b"k", b"2")).await;
    assert!(here.load(0, Wanted::new()).await.unwrap().head.is_none(), "{stale:?}");
    until("in the one in force", async || {
        there.load(0, Wanted::new()).await.is_ok_and(|it| it.head.is_none())
    })
    .await;
    assert_eq!(there.flush(0, put(None, &two, &view, b"k", b"2")).await.unwrap(), Flushed::Done);
    assert_eq!(here.load(0, Wanted::new()).await.unwrap().head, Some(two));
    // The catalogue, a partition with its set and a space of two keys; of the former ones only that they have ended.
    let of_former = async |end: &str| keys(&here).await.iter().filter(|key| key.ends_with(end)).count();
    until("tidied", async || of_former("/values/view/a/1").await == 1 && of_former("/former").await == 0)
        .await;
}

#[tokio::test]
async fn who_was_not_let_in_for_a_while_is_let_in_again() {
    let admin = store().await;
    let (user, name) = (name(), name());
    let () = ask(&admin, &["ACL", "SETUSER", &user, "reset", "on", ">geheim", "~*", "&*", "+@all"]).await;
    let store = open(&of_user(&user), &name).await;
    for _ in 0..2 {
        let () = ask(&admin, &["ACL", "SETUSER", &user, "off"]).await;
        let _killed: u32 = ask(&admin, &["CLIENT", "KILL", "USER", &user]).await;
        until("refused", async || {
            let refused = store.load(0, Wanted::new()).await;
            refused.is_err_and(|error| format!("{error:#}").contains("redis.password"))
        })
        .await;
        let () = ask(&admin, &["ACL", "SETUSER", &user, "on"]).await;
        until("let in", async || store.load(0, Wanted::new()).await.is_ok()).await;
        until("let in to write", async || {
            let flush = put(None, &head_at(1), &Space::Voids, b"k", b"1");
            store.flush(0, flush).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_process_with_other_definitions_than_those_in_force_says_so() {
    let (options, name) = (options(shared()), name());
    let (old, new) = (open(&options, &name).await, open(&options, &name).await);
    old.reset(b"old".to_vec()).await.unwrap();
    new.reset(b"new".to_vec()).await.unwrap();
    let refuses = async |store: &RedisStore| {
        store.load(0, Wanted::new()).await.is_err_and(|error| error.to_string().contains("other definitions"))
    };
    let (member, other) = (Uuid::new_v4(), Uuid::new_v4());
    old.peers().claim(member, 3).await.unwrap();
    until("refused", async || refuses(&old).await).await;
    assert!(old.peers().claim(member, 3).await.unwrap().is_empty(), "it has given back what it cannot fold");
    assert_eq!(new.peers().claim(other, 3).await.unwrap().len(), 3);
    let flush = put(None, &head_at(1), &Space::Voids, b"k", b"1");
    assert!(old.flush(0, Arc::clone(&flush)).await.unwrap_err().to_string().contains("start this one again"));
    assert_eq!(new.flush(0, flush).await.unwrap(), Flushed::Done);
    assert_eq!(new.catalogue().await.unwrap().unwrap(), b"new");
}

#[tokio::test]
async fn a_redis_that_lost_everything_or_its_newest_gets_back_what_is_in_force() {
    let server = Server::start("redis", 1, "");
    let options = options(server.address());
    let store = open(&options, "lost").await;
    store.reset(b"old".to_vec()).await.unwrap();
    let catalogue = key(&store, "/catalogue").await;
    let before: BTreeMap<String, String> = ask(&store, &["HGETALL", &catalogue]).await;
    store.reset(b"text".to_vec()).await.unwrap();
    let in_force = async || {
        let found: Option<String> = ask(&store, &["HGET", &catalogue, "text"]).await;
        found.is_some_and(|text| text == "text")
    };
    for is_emptied in [true, false, true] {
        let flush = put(None, &head_at(1), &Space::Voids, b"k", b"1");
        until("empty", async || store.load(0, Wanted::new()).await.is_ok_and(|it| it.head.is_none())).await;
        assert_eq!(store.flush(0, Arc::clone(&flush)).await.unwrap(), Flushed::Done);
        if is_emptied {
            let () = ask(&store, &["FLUSHALL"]).await;
        } else {
            let fields = before.iter().flat_map(|(name, value)| [name.as_str(), value]);
            let words: Vec<_> = ["HSET", catalogue.as_str()].into_iter().chain(fields).collect();
            let () = ask(&store, &words).await;
        }
        until("put back", in_force).await;
    }
    assert_eq!(store.catalogue().await.unwrap().unwrap(), b"text");
    assert_eq!(open(&options, "lost").await.catalogue().await.unwrap().unwrap(), b"text");
}

#[tokio::test]
async fn removing_a_store_leaves_nothing_of_it_and_all_of_others() {
    let (options, names) = (options(shared()), (name(), name()));
    let (one, other) = (open(&options, &names.0).await, open(&options, &names.1).await);
    let head = head_at(1);
    for store in [&one, &other] {
        store.reset(b"text".to_vec()).await.unwrap();
        store.flush(0, put(None, &head, &Space::Voids, b"k", b"1")).await.unwrap();
    }
    let prefix = one.prefix();
    drop(one);
    assert!(RedisStore::remove(&options, &names.0, 3).await.unwrap());
    assert!(!RedisStore::remove(&options, &names.0, 3).await.unwrap());
    assert!(RedisStore::look(&options, &names.0, 3).await.unwrap().is_none());
    let left: Vec<String> = ask(&other, &["KEYS", &format!("{prefix}*")]).await;
    assert!(left.iter().all(|key| key.ends_with("/head")), "{left:?}");
    for key in left {
        let seconds: i64 = ask(&other, &["TTL", &key]).await;
        assert!(seconds > 0, "{key} stays for ever");
    }
    let looked = RedisStore::look(&options, &names.1, 3).await.unwrap().unwrap();
    assert_eq!(looked.load(0, Wanted::new()).await.unwrap().head, Some(head));
}

#[tokio::test]
async fn a_redis_that_is_away_or_still_starting_is_away_and_comes_back() {
    let server = Server::start("redis", 1, "");
    let options = options(server.address());
    let store = open(&options, "away").await;
    store.reset(b"text".to_vec()).await.unwrap();
    let flush = put(None, &head_at(1), &Space::Voids, b"k", b"1");
    store.flush(0, Arc::clone(&flush)).await.unwrap();
    until("on the disk", async || {
        let info: String = ask(&store, &["INFO", "persistence"]).await;
        info.contains("aof_pending_bio_fsync:0")
    })
    .await;
    server.kill();
    for _ in 0..3 {
        let error = store.load(0, Wanted::new()).await.unwrap_err();
        assert!(error.is::<Away>(), "{error:#}");
        assert!(error.to_string().contains(&server.address().to_string()), "{error:#}");
    }
    let refused = RedisStore::open(&options, "away", 3).await.unwrap_err();
    assert!(refused.is::<Away>(), "{refused:#}");
    server.start_again();
    until("back", async || store.load(0, Wanted::new()).await.is_ok()).await;
    // Repeated, whether it was kept or not.
    until("flushed", async || store.flush(0, Arc::clone(&flush)).await.is_ok_and(|it| it == Flushed::Done))
        .await;
}
