//! What the service depends on, whether it is up, and since when.

use crate::service::Service;
use futures::future::try_join_all;
use jiff::Timestamp;
use refold_projections::progress::{Condition, State};
use refold_projections::state::{Head, Seen};
use refold_projections::store::Wanted;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long a dependency may take to answer before it counts as down.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// What is told of a partition that nobody folds.
const UNFOLDED: &str = "no process says that it folds it: if that stays, start one with the role \"projector\" or \"all\", or see why \
                        those that run cannot";

/// Something that the service depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What it is.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Since when it is, as far as this process has looked.
    pub since: Timestamp,
    /// What is wrong and what to do, if anything is; also of what is up but has lost something.
    pub problem: Option<String>,
}

/// Remembers since when each dependency is up or down.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<String, (bool, Timestamp)>>);

impl Health {
    /// Looks at everything.
    pub async fn dependencies(&self, service: &Service) -> Vec<Dependency> {
        let log = timeout(PROBE_WAIT, service.log.bounds(0)).await;
        let log = match log {
            // It can be read; whether it can be written, the writer knows.
            Ok(Ok(_)) => service.unwritable().or_else(|| service.unsafe_log()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not answer in time".to_owned()),
        };
        let partitions = 0..service.progress.partitions();
        let loads = partitions.clone().map(|partition| service.store.load(partition, Wanted::new()));
        let (store, stored) = match timeout(PROBE_WAIT, try_join_all(loads)).await {
            Ok(Ok(loaded)) => (service.progress.damage().or_else(|| service.unsafe_store()), Some(loaded)),
            Ok(Err(error)) => (Some(format!("{error:#}")), None),
            Err(_) => (Some("it does not answer in time".to_owned()), None),
        };
        let mut all = vec![self.probed("log", log), self.probed("store", store)];
        let folded = folded(service).await;
        for partition in partitions {
            let stored = stored.as_ref().map(|stored| stored[partition as usize].head.as_ref());
            let mut state = of_partition(partition, &service.progress.state(partition), stored);
            if folded.as_ref().is_some_and(|folded| !folded.contains(&partition)) {
                // Up or not: what is there can be asked for, and another takes it over in a moment, if there is one.
                let known = state.problem.take().map(|problem| format!("{problem}; ")).unwrap_or_default();
                state.problem = Some(known + UNFOLDED);
            }
            all.push(state);
        }
        all
    }

    fn probed(&self, name: &str, problem: Option<String>) -> Dependency {
        let up = problem.is_none();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = known.entry(name.to_owned()).or_insert_with(|| (up, Timestamp::now()));
        if state.0 != up {
            *state = (up, Timestamp::now());
        }
        Dependency { name: name.to_owned(), up, since: state.1, problem }
    }
}

/// The partitions that some process folds, where there may be several and the store says so.
async fn folded(service: &Service) -> Option<BTreeSet<u32>> {
    timeout(PROBE_WAIT, service.peers.as_ref()?.folded()).await.ok()?.ok()
}

/// `stored` is what the store holds of the partition now, where it could be asked: it may have been emptied without
/// the projector having noticed.
fn of_partition(partition: u32, state: &State, stored: Option<Option<&Head>>) -> Dependency {
    let (up, problem) = match &state.condition {
        Condition::Stopped { .. } | Condition::Retrying(_) => (false, state.condition.problem()),
        Condition::Starting => (false, Some("it has not read the log yet".to_owned())),
        Condition::Running | Condition::Behind(_) => match stored {
            Some(Some(head)) if !head.is_caught_up() => {
                let still =
                    state.condition.problem().map(|problem| format!("; {problem}")).unwrap_or_default();
                (false, Some(folding(head.position.offset, head.target) + &still))
            }
            Some(None) => (false, Some("the store holds nothing of it yet".to_owned())),
            // What is there can be asked for, and what comes can be recorded.
            _ => (
                true,
                joined([state.condition.problem(), state.head.as_ref().and_then(|head| harm(&head.seen))]),
            ),
        },
    };
    Dependency { name: format!("partition {partition}"), up, since: state.since, problem }
}

/// What the log has been seen to do that it never should.
pub fn harm(seen: &Seen) -> Option<String> {
    let gaps = (seen.gaps > 0).then(|| {
        format!(
            "acknowledged commits are missing {} times: the broker lost them, or somebody copied a record here from another \
             partition",
            seen.gaps
        )
    });
    let forks =
        (seen.forks > 0).then(|| format!("{} commits are void because two writers share an id", seen.forks));
    let skipped = (seen.unreadable > 0).then(|| {
        format!("{} events cannot be read and were skipped: `refold check` lists them", seen.unreadable)
    });
    let foreign = (seen.foreign > 0).then(|| {
        format!(
            "{} records are none of this log, which was damaged unless somebody else writes to it: what was \
             acknowledged there is lost, restore the log from a backup",
            seen.foreign
        )
    });
    joined([gaps, forks, foreign, skipped])
}

fn joined<const N: usize>(problems: [Option<String>; N]) -> Option<String> {
    let problems: Vec<_> = problems.into_iter().flatten().collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

fn folding(offset: u64, target: u64) -> String {
    format!("it is being folded from the start of the log: at offset {offset} of {target}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use refold_domain::hash::Hash;
    use refold_projections::state::Mark;
    use uuid::Uuid;

    #[test]
    fn who_stands_still_is_up_only_if_all_of_it_was_folded_before() {
        let at = |offset| Mark { offset, hash: Hash(offset) };
        let head = |target| Head { position: at(3), ..Head::first(Uuid::nil(), at(0), target, [].into()) };
        let condition = Condition::Behind("it stands".to_owned());
        let state = State { head: Some(head(3).into()), condition, since: Timestamp::now() };
        let (folded, unfolded) = (head(3), head(9));
        let all = of_partition(0, &state, Some(Some(&folded)));
        assert!(all.up && all.problem.unwrap().contains("it stands"));
        let part = of_partition(0, &state, Some(Some(&unfolded)));
        assert!(!part.up && part.problem.unwrap().contains("at offset 3 of 9; it stands"));
        assert!(!of_partition(0, &state, Some(None)).up);
    }
}
