//! Switches the rules off, one by one: a simulation that does not notice proves nothing.

use super::world;
use refold_domain::rule::{self, Rule};

/// In how many schedules a missing rule has to be noticed.
const SCHEDULES: u64 = 10_000;

#[test]
fn a_missing_rule_is_noticed() {
    let unnoticed: Vec<_> = rule::ALL.iter().filter(|rule| noticed(**rule).is_none()).collect();
    assert!(unnoticed.is_empty(), "{SCHEDULES} schedules are fine without {unnoticed:?}");
}

/// The first seed that fails without the rule, and what it finds.
fn noticed(rule: Rule) -> Option<(u64, String)> {
    let _off = rule::switch_off(rule);
    let broken = |seed| world::run(seed, false).broken.map(|broken| (seed, broken));
    let found = (1..=SCHEDULES).find_map(broken);
    let shown = found.as_ref().map(|(seed, broken)| (*seed, broken.lines().next().unwrap_or_default()));
    println!("{rule:?}: {shown:.200?}");
    found
}
