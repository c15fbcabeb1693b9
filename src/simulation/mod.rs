//! A deterministic simulation of the whole: the real writer, commands, gate, projectors and queries, over a log, a
//! store and processes that fail at the worst moments, held against a model of what the log means.
//!
//! A seed is a schedule. It says which faults there are and how often ([`faults`]); how many processes and clients
//! there are ([`world`]), what clients want ([`intent`], [`many`]) and how they go about it ([`client`]); and in which order
//! all calls on the log, the store and other processes ([`log`], [`store`], [`peers`]) have their effect and are answered ([`turnstile`]). Then
//! all is healed and must come to rest. What clients were told and shown on the way, and what the store holds in the
//! end, is held ([`check`], [`dump`]) against the [`model`], which derives it from the log alone.
//!
//! `REFOLD_SIM_SCHEDULES` says how many schedules are run and `REFOLD_SIM_SEED` the first one's seed; a seed alone is
//! run alone. A schedule that fails is told with the command that repeats it. [`sabotage`] shows that each rule is
//! needed: without it some schedule fails.

mod check;
mod client;
mod dump;
mod faults;
mod intent;
mod log;
mod many;
mod model;
mod peers;
mod process;
mod sabotage;
mod store;
mod turnstile;
mod world;

use std::env;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many schedules are run unless `REFOLD_SIM_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 10_000;
/// How many schedules are run twice.
const SCHEDULES_REPEATED: u64 = 500;

#[test]
fn no_schedule_breaks_a_promise() {
    let seed = variable("REFOLD_SIM_SEED");
    let first = seed.unwrap_or(1);
    let count = variable("REFOLD_SIM_SCHEDULES").unwrap_or(if seed.is_some() { 1 } else { SCHEDULES });
    if let Some(seed) = first_failure(first, count) {
        panic!("{}", story(seed));
    }
}

#[test]
fn a_seed_is_a_history() {
    for seed in 1..=SCHEDULES_REPEATED {
        let (one, two) = (world::run(seed, false), world::run(seed, false));
        assert_eq!(one.digest, two.digest, "seed {seed}");
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs so many schedules on all processors; a seed that fails.
fn first_failure(first: u64, count: u64) -> Option<u64> {
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let work = || {
        while failed.load(Ordering::Relaxed) == u64::MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            let holds = catch_unwind(|| world::run(seed, false).broken.is_none());
            if !holds.unwrap_or(false) {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
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
        outcome.broken.unwrap_or_else(|| "nothing this time: the seed is not the whole history".into());
    let again = format!("REFOLD_SIM_SEED={seed} cargo test --workspace --lib simulation -- --nocapture");
    format!("{}\n\nbroken: {broken}\nagain: {again}", outcome.trace.join("\n"))
}
