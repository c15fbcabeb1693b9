//! What moves the read models: of each partition its projector, or, where another process folds it, its follower.
//!
//! Processes on one store share the partitions by saying each second that they are alive. Nothing but speed rests on that:
//! two that fold the same partition for a while are held apart by the store, which takes a flush only from where it stands.

use crate::settings::role::Role;
use anyhow::Result;
use futures::StreamExt;
use metrics::gauge;
use refold_domain::log::EventLog;
use refold_domain::metric;
use refold_projections::bulletin::Bulletin;
use refold_projections::catalogue::Projection;
use refold_projections::gate::Place;
use refold_projections::peers::Peers;
use refold_projections::progress::Progress;
use refold_projections::projector::{Follower, Heard, Projector};
use refold_projections::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

/// How often a process says that it is alive: several times in what it takes to be taken for dead.
const BEAT: Duration = Duration::from_secs(1);
/// How long the store may take to hear that.
const BEAT_WAIT: Duration = Duration::from_secs(2);
/// How long to wait before it is listened again.
const LISTEN_AGAIN_WAIT: Duration = Duration::from_millis(200);
/// How many bulletins of a partition wait for its follower; one that is slower looks at the store.
const HEARD_MAX: usize = 64;
/// How many bulletins wait to be told; one more is not.
pub const UNTOLD_MAX: usize = 1_024;

/// What the workers of all partitions work with.
#[derive(Clone)]
pub struct Sources {
    /// Where records come from.
    pub log: Arc<dyn EventLog>,
    /// Where views go.
    pub store: Arc<dyn Store>,
    /// What is folded.
    pub projections: Arc<Vec<Projection>>,
    /// Who is told.
    pub progress: Arc<Progress>,
}

/// How a process works beside others.
pub struct Beside {
    /// The others.
    pub peers: Arc<dyn Peers>,
    /// What it is known by to them.
    pub member: Uuid,
    /// Whether it folds or only follows.
    pub role: Role,
    /// What it has flushed and nobody else has been told.
    pub untold: mpsc::Receiver<(u32, Bulletin)>,
}

/// Starts to fold every partition.
pub fn fold_all(sources: &Sources) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let partitions = sources.progress.partitions();
    count_folded(partitions as usize);
    for partition in 0..partitions {
        workers.spawn(sources.projector(partition).run());
    }
    workers
}

/// Starts to fold its share of the partitions, and to follow the others.
pub fn share(sources: &Sources, beside: Beside) -> JoinSet<()> {
    let Beside { peers, member, role, untold } = beside;
    let partitions = sources.progress.partitions();
    let (claimed, claims) = watch::channel(BTreeSet::new());
    let heard: Vec<_> = (0..partitions).map(|_| broadcast::Sender::new(HEARD_MAX)).collect();
    let mut workers = JoinSet::new();
    count_folded(0);
    for (partition, heard) in (0..).zip(&heard) {
        workers.spawn(take_part(sources.clone(), partition, claims.clone(), heard.subscribe()));
    }
    workers.spawn(tell(Arc::clone(&peers), untold));
    workers.spawn(listen(Arc::clone(&peers), heard));
    workers.spawn(async move {
        match role {
            Role::All | Role::Projector => claim(peers, member, partitions, &claimed).await,
            // Whoever waits for a share waits for ever.
            Role::Api => claimed.closed().await,
        }
    });
    workers
}

impl Sources {
    fn place(&self, partition: u32) -> Place {
        Place { log: self.progress.log(), partitions: self.progress.partitions(), partition }
    }

    fn projector(&self, partition: u32) -> Projector {
        let Self { log, store, projections, progress } = self.clone();
        Projector { place: self.place(partition), log, store, projections, progress }
    }

    fn follower(&self, partition: u32) -> Follower {
        let Self { log, store, progress, .. } = self.clone();
        Follower { place: self.place(partition), log, store, progress }
    }
}

/// Folds a partition while it is this process's, and follows it while it is not.
async fn take_part(
    sources: Sources,
    partition: u32,
    mut claims: watch::Receiver<BTreeSet<u32>>,
    heard: broadcast::Receiver<Heard>,
) {
    loop {
        let is_ours = claims.borrow_and_update().contains(&partition);
        let changed = claims.wait_for(|claimed| claimed.contains(&partition) != is_ours);
        let ended = tokio::select! {
            () = sources.projector(partition).run(), if is_ours => true,
            () = sources.follower(partition).run(heard.resubscribe()), if !is_ours => true,
            changed = changed => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

/// Says again and again that this process is alive, and learns what it is to fold.
async fn claim(peers: Arc<dyn Peers>, member: Uuid, partitions: u32, claimed: &watch::Sender<BTreeSet<u32>>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_heard = true;
    loop {
        beats.tick().await;
        match in_time(peers.claim(member, partitions)).await {
            Ok(share) => {
                is_heard = true;
                if claimed.send_if_modified(|before| {
                    *before != share && {
                        before.clone_from(&share);
                        true
                    }
                }) {
                    tracing::info!(partitions = ?share, "folds");
                    count_folded(share.len());
                }
            }
            // It keeps what it has: without the store nothing of it can be folded, nor taken by others.
            Err(error) if is_heard => {
                is_heard = false;
                tracing::warn!("cannot say to other processes that this one folds: {error:#}");
            }
            Err(_) => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 1,024 partitions")]
fn count_folded(partitions: usize) {
    gauge!(metric::PROJECTOR_PARTITIONS).set(partitions as f64);
}

async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(BEAT_WAIT, asked).await?
}

/// Tells others what was flushed here. What does not reach them they see in the store a little later.
async fn tell(peers: Arc<dyn Peers>, mut untold: mpsc::Receiver<(u32, Bulletin)>) {
    while let Some((partition, bulletin)) = untold.recv().await {
        if let Err(error) = in_time(peers.tell(partition, &bulletin)).await {
            tracing::debug!(partition, "others were not told of a flush: {error:#}");
        }
    }
}

/// Hears what others tell, and says to the followers when something may have been missed.
async fn listen(peers: Arc<dyn Peers>, heard: Vec<broadcast::Sender<Heard>>) {
    // Nobody may follow a partition just now.
    let to = |heard: &broadcast::Sender<Heard>, what| drop(heard.send(what));
    loop {
        match peers.listen().await {
            Ok(mut told) => {
                heard.iter().for_each(|heard| to(heard, Heard::Nothing));
                while let Some((partition, bulletin)) = told.next().await {
                    if let Some(heard) = heard.get(partition as usize) {
                        to(heard, Heard::Flush(Arc::new(bulletin)));
                    }
                }
            }
            Err(error) => tracing::debug!("cannot listen to other processes: {error:#}"),
        }
        heard.iter().for_each(|heard| to(heard, Heard::Nothing));
        sleep(LISTEN_AGAIN_WAIT).await;
    }
}
