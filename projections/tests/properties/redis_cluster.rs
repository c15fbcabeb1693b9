//! The same promises on a real cluster, of which one server fails.

use crate::catalogue::keeps_and_empties;
use crate::redis::{name, open};
use crate::servers::redis::Cluster;
use crate::stores::{answer_alike, head_at, partitions_do_not_disturb_each_other, put, work};
use crate::{block_on, cases};
use proptest::collection::vec;
use proptest::test_runner::TestRunner;
use refold_projections::store::redis::options::Options;
use refold_projections::store::{Flushed, RedisStore, Space, Store, Wanted, kinds};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long it may take until a store goes on after a failover.
const WAIT: Duration = Duration::from_secs(30);

fn options(cluster: &Cluster) -> Options {
    let mut section = kinds::options("redis");
    let seeds: Vec<_> = cluster.addresses().iter().take(2).map(ToString::to_string).collect();
    section.set("servers", seeds.into());
    section.set("cluster", true.into());
    Options::of(&section).unwrap()
}

#[test]
fn a_cluster_keeps_all_promises_also_when_a_server_fails() {
    let cluster = block_on(Cluster::start());
    let options = options(&cluster);
    let run = |works: Vec<_>| block_on(answer_alike(&works, &options));
    TestRunner::new(cases(8)).run(&vec(work(), 1..40), run).unwrap();
    block_on(async {
        keeps_and_empties(&open(&options, &name()).await).await;
        partitions_do_not_disturb_each_other(Arc::new(open(&options, &name()).await)).await;
        one_server_of_a_cluster_is_refused(&cluster).await;
        nothing_is_lost_or_twice_when_a_server_fails(&cluster, &options).await;
    });
}

async fn one_server_of_a_cluster_is_refused(cluster: &Cluster) {
    let mut section = kinds::options("redis");
    section.set("servers", vec![cluster.addresses()[0].to_string()].into());
    let refused = RedisStore::open(&Options::of(&section).unwrap(), "alone", 3).await.unwrap_err();
    assert!(format!("{refused:#}").contains("redis.cluster = true"), "{refused:#}");
}

/// Each partition goes on from what is there then, be it that the last of it is lost.
async fn nothing_is_lost_or_twice_when_a_server_fails(cluster: &Cluster, options: &Options) {
    let store = open(options, &name()).await;
    store.reset(b"text".to_vec()).await.unwrap();
    let one = head_at(1);
    for partition in 0..3 {
        let flush = put(None, &one, &Space::Voids, b"k", b"1");
        assert_eq!(store.flush(partition, flush).await.unwrap(), Flushed::Done);
    }
    cluster.fail_over().await;
    let two = head_at(2);
    let goes_on = async {
        let mut ticks = interval(Duration::from_millis(50));
        for partition in 0..3 {
            loop {
                ticks.tick().await;
                let Ok(loaded) = store.load(partition, Wanted::new()).await else { continue };
                let flush = put(loaded.head.as_ref(), &two, &Space::Voids, b"k", b"2");
                if store.flush(partition, flush).await.is_ok_and(|it| it == Flushed::Done) {
                    break;
                }
            }
        }
    };
    assert!(timeout(WAIT, goes_on).await.is_ok(), "{:?}", store.load(0, Wanted::new()).await);
    let wanted = Wanted::from([(Space::Voids, vec![b"k".to_vec()])]);
    for partition in 0..3 {
        let loaded = store.load(partition, wanted.clone()).await.unwrap();
        assert_eq!(loaded.value(&Space::Voids, b"k"), Some(b"2".as_slice()));
    }
    cluster.join_again().await;
}
