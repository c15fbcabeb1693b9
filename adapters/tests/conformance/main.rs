//! One suite for all brokers: each promise of `EventLog` against each log in [`kinds::BROKERS`], on real servers.
//!
//! A case is named `broker::case`; the arguments are those of any test binary. `REFOLD_TEST_BROKERS` names the brokers to
//! be tested, with commas, where not all of them are meant; with `@` and a release where it is not the usual one.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics fails the test it helps")]

mod behind;
mod brokers;
mod case;
mod disturbed;
mod kinds;
#[path = "../servers/rabbit.rs"]
mod management;
mod order;
mod records;
mod reopening;
#[path = "../servers/mod.rs"]
#[expect(dead_code, reason = "it serves other tests, too")]
mod servers;
mod tailing;

use brokers::{Ground, UnderTest};
use case::Case;
use kinds::Broker;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::sync::Arc;

/// How many cases run at a time unless it is said: most of them wait for a server most of the time.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials = Vec::new();
    // Lives until all is done: what a server needs to be ended is the end of this process.
    let mut grounds = Vec::new();
    for broker in brokers::chosen() {
        let all = [order::CASES, reopening::CASES, tailing::CASES, disturbed::CASES, behind::CASES];
        let cases = all.into_iter().flatten().filter(|case| !case.needs_server || broker.server.is_some());
        let cases: Vec<_> = cases.filter(|case| is_asked_for(&arguments, &name(broker, case))).collect();
        if cases.is_empty() {
            continue;
        }
        let ground = Arc::new(Ground::new(broker, !arguments.list));
        trials.extend(cases.into_iter().map(|case| trial(&ground, *case)));
        grounds.push(ground);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(grounds);
    conclusion.exit_code()
}

fn trial(ground: &Arc<Ground>, case: Case) -> Trial {
    let ground = Arc::clone(ground);
    Trial::test(name(ground.broker, &case), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async { (case.run)(UnderTest::new(&ground, case.disturbs).await).await });
        Ok(())
    })
}

fn name(broker: &Broker, case: &Case) -> String {
    format!("{}::{}", broker.name, case.name)
}

/// As the library sees it, so that no server is started for nothing.
fn is_asked_for(arguments: &Arguments, name: &str) -> bool {
    let matches =
        |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    arguments.filter.iter().all(matches) && !arguments.skip.iter().any(matches)
}
