//! A deterministic simulation of the whole: the real writer, commands, gate, projectors and queries, over a log, a
//! store and processes that fail at the worst moments, held against a model of what the log means.

mod check;
mod client;
mod dump;
mod faults;
mod intent;
mod log;
mod model;
mod process;
mod sabotage;
mod store;
mod turnstile;
mod world;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many schedules are run unless `REFOLD_SIM_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 10_000;

#[test]
fn no_schedule_breaks_a_promise() {
    let seed: Option<u64> = variable("REFOLD_SIM_SEED");
    let first = seed.unwrap_or(1);
    let count = variable("REFOLD_SIM_SCHEDULES").unwrap_or(if seed.is_some() { 1 } else { SCHEDULES });
    if let Some(seed) = first_failure(first, count) {
        panic!("{}", story(seed));
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs so many schedules on all processors; the first seed that fails.
fn first_failure(first: u64, count: u64) -> Option<u64> {
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= first + count || failed.load(Ordering::Relaxed) != u64::MAX {
            return;
        }
        if world::run(seed, false).broken.is_some() {
            failed.fetch_min(seed, Ordering::Relaxed);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    Some(failed.into_inner()).filter(|seed| *seed != u64::MAX)
}

/// What happened under a seed, to be read by people.
fn story(seed: u64) -> String {
    let outcome = world::run(seed, true);
    let broken =
        outcome.broken.unwrap_or_else(|| "nothing broke this time: a schedule is not its seed's".into());
    format!(
        "{}\n\nbroken: {broken}\nagain: REFOLD_SIM_SEED={seed} cargo test --workspace --lib simulation -- --nocapture",
        outcome.trace.join("\n")
    )
}

#[test]
fn a_seed_is_a_history() {
    for seed in 1..=200 {
        let (one, two) = (world::run(seed, false), world::run(seed, false));
        assert_eq!(one.digest, two.digest, "seed {seed}");
    }
}
