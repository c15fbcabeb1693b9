//! Processes that share a store on Redis: who folds what, and what they hear of each other.

use crate::redis::{name, open, options, shared};
use crate::{block_on, stores};
use futures::StreamExt;
use futures::future::join_all;
use proptest::prelude::*;
use refold_domain::hash::Hash;
use refold_projections::bulletin::Bulletin;
use refold_projections::peers::Peers;
use refold_projections::state::{Head, Mark};
use refold_projections::store::redis::RedisPeers;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};
use uuid::Uuid;

/// How often members say that they are alive, as processes do.
const BEAT: Duration = Duration::from_millis(500);
/// How long it may take until somebody who is gone is taken for dead: it is several beats.
const DEAD_WAIT: Duration = Duration::from_secs(10);

type Shares = Vec<BTreeSet<u32>>;

async fn peers() -> (refold_projections::store::RedisStore, RedisPeers) {
    let store = open(&options(shared()), &name()).await;
    let peers = store.peers();
    (store, peers)
}

/// What each of them has once all have said twice that they are alive: first they give back, then they take.
async fn settled(peers: &RedisPeers, members: &[Uuid], partitions: u32) -> Shares {
    let mut shares = Vec::new();
    for _ in 0..3 {
        shares.clear();
        for member in members {
            shares.push(peers.claim(*member, partitions).await.unwrap());
        }
    }
    shares
}

/// Whether each partition is one's, and nobody has two more than another.
fn is_fair(shares: &Shares, partitions: u32) -> bool {
    let sizes = || shares.iter().map(BTreeSet::len);
    let all: BTreeSet<u32> = shares.iter().flatten().copied().collect();
    all.len() == partitions as usize
        && sizes().sum::<usize>() == partitions as usize
        && sizes().max().unwrap() - sizes().min().unwrap() <= 1
}

proptest! {
    #![proptest_config(crate::cases(20))]

    #[test]
    fn all_partitions_are_shared_evenly_whoever_comes_and_goes(
        partitions in 1_u32..40,
        turns in prop::collection::vec((0_usize..6, any::<bool>()), 1..8),
    ) {
        block_on(async {
            let (_store, peers) = peers().await;
            let all: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
            let mut living = vec![all[0]];
            for (index, comes) in turns {
                if comes && !living.contains(&all[index]) {
                    living.push(all[index]);
                } else if !comes && living.len() > 1 && living.contains(&all[index]) {
                    living.retain(|member| *member != all[index]);
                    peers.resign(all[index]).await.unwrap();
                }
                let shares = settled(&peers, &living, partitions).await;
                prop_assert!(is_fair(&shares, partitions), "{shares:?}");
                let folded: BTreeSet<u32> = (0..partitions).collect();
                prop_assert_eq!(peers.folded().await.unwrap(), folded);
            }
            Ok(())
        })?;
    }
}

#[test]
fn what_a_dead_process_folded_is_taken_over() {
    block_on(async {
        let (_store, peers) = peers().await;
        let (dies, lives) = (Uuid::new_v4(), Uuid::new_v4());
        settled(&peers, &[dies, lives], 8).await;
        let began = Instant::now();
        let taken_over = async {
            let mut beats = interval(BEAT);
            loop {
                beats.tick().await;
                let share = peers.claim(lives, 8).await.unwrap();
                if share.len() == 8 {
                    return;
                }
                assert_eq!(share.len(), 4, "half of them are another's, or free at once");
            }
        };
        timeout(DEAD_WAIT, taken_over).await.unwrap();
        assert!(began.elapsed() > 2 * BEAT, "a process that is late by a beat is not dead");
        // A zombie gets its share back, and no more.
        assert!(is_fair(&settled(&peers, &[dies, lives], 8).await, 8));
    });
}

fn bulletin(offset: u64) -> Bulletin {
    let at = |offset| Mark { offset, hash: Hash(offset) };
    let head = Head { position: at(offset), ..Head::first(Uuid::nil(), at(0), 0, [].into()) };
    Bulletin::new(0, &head, &[])
}

#[test]
fn all_who_listen_hear_what_is_told_in_order() {
    block_on(async {
        let (_store, peers) = peers().await;
        let mut ears = join_all((0..3).map(|_| peers.listen()))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<_>>();
        let told: Vec<_> =
            (0..100_u32).map(|number| (number % stores::PARTITIONS, bulletin(number.into()))).collect();
        for (partition, bulletin) in &told {
            peers.tell(*partition, bulletin).await.unwrap();
        }
        for ear in &mut ears {
            let heard: Vec<_> = ear.take(told.len()).collect().await;
            assert_eq!(heard, told);
        }
    });
}

#[test]
fn listening_ends_with_the_connection() {
    block_on(async {
        let server = crate::servers::Server::start("redis", 1, "");
        let store = open(&options(server.address()), &name()).await;
        let mut ear = store.peers().listen().await.unwrap();
        server.kill();
        assert!(timeout(DEAD_WAIT, ear.next()).await.unwrap().is_none());
    });
}

#[test]
fn listening_ends_where_the_server_stands_still() {
    block_on(async {
        let server = crate::servers::Server::start("redis", 1, "");
        let store = open(&options(server.address()), &name()).await;
        let mut ear = store.peers().listen().await.unwrap();
        server.pause();
        assert!(timeout(DEAD_WAIT, ear.next()).await.unwrap().is_none());
        server.resume();
    });
}
