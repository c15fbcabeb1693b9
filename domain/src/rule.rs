//! The rules that the promises rest on, by name, so that a test can switch one off and see itself fail.
//!
//! Without the feature `sabotage`, which only tests switch on, every rule holds and the questions below are
//! constants. With it, a rule can be off for the present thread. A simulation that does not notice a missing
//! rule proves nothing.

/// A rule whose absence loses something or counts it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Genesis: whoever opens a log takes the id that stands on it, not the one that it wanted.
    GenesisIsReadBack,
    /// Gate: a commit that was written for another log is void.
    OtherLogsAreVoid,
    /// Gate: a commit whose number is not above its writer's last is void.
    DuplicatesAreVoid,
    /// Gate: a commit that was lost is void when it arrives late.
    LateIsVoid,
    /// Gate: a command counts only if all its guards hold.
    GuardsMustHold,
    /// Gate: an old idempotency key is absent by its number, deleted yet or not.
    OldKeysAreAbsent,
    /// Writer: nothing is acknowledged before the log's confirm.
    ConfirmBeforeAnswer,
    /// Writer: an unknown outcome is retried with the same bytes.
    SameBytesOnRetry,
    /// Writer: after a refusal a partition goes on under a fresh id.
    FreshIdAfterRefusal,
    /// Writer: a refusal after an unknown outcome leaves the outcome unknown.
    RefusedAfterUnknownIsUnknown,
    /// Projector: a re-delivered offset is dropped.
    RedeliveryIsDropped,
    /// Projector: reading starts at the last record passed, and its hash is compared.
    StartComparesRecord,
    /// Projector: waiters are served only after a flush succeeded.
    FlushBeforeNews,
    /// Projector: after a refused flush everything is read again from the store.
    RefusedFlushStartsAgain,
    /// Projector: with nothing to fold, it looks now and then whether the store still stands where it left it.
    IdleLooksAtTheStore,
    /// Follower: where something of what another process has flushed was not heard, verdicts are looked up in the store.
    MissedVerdictsAreLookedUp,
    /// Store: a flush compares the position.
    FlushComparesPosition,
    /// Store: a flush compares the epoch.
    FlushComparesEpoch,
    /// Store: a flush writes everything or nothing.
    FlushIsAtomic,
    /// Query: a store that has not reached what was on the log when it was created does not answer.
    AnswersWaitForTheTarget,
    /// Query: a store that was put back behind what its reader had waited for does not answer.
    ReadersSeeWhatTheyReached,
    /// Commands: a void command is decided anew, not reported as done.
    VoidIsNoSuccess,
    /// Commands: a rejection waits until the store has passed the log's end.
    RejectionsWaitForTheEnd,
    /// Commands: a rejection is not made from a store that was put back behind that end.
    RejectionsCompareThePosition,
    /// Commands: a repeat under an idempotency key gets the first answer.
    RepeatsGetTheFirstAnswer,
    /// Commands: of many facts under a key the first chunk counts before the others are sent.
    FirstChunkGoesAhead,
}

/// Every rule.
pub const ALL: &[Rule] = &[
    Rule::GenesisIsReadBack,
    Rule::OtherLogsAreVoid,
    Rule::DuplicatesAreVoid,
    Rule::LateIsVoid,
    Rule::GuardsMustHold,
    Rule::OldKeysAreAbsent,
    Rule::ConfirmBeforeAnswer,
    Rule::SameBytesOnRetry,
    Rule::FreshIdAfterRefusal,
    Rule::RefusedAfterUnknownIsUnknown,
    Rule::RedeliveryIsDropped,
    Rule::StartComparesRecord,
    Rule::FlushBeforeNews,
    Rule::RefusedFlushStartsAgain,
    Rule::IdleLooksAtTheStore,
    Rule::MissedVerdictsAreLookedUp,
    Rule::FlushComparesPosition,
    Rule::FlushComparesEpoch,
    Rule::FlushIsAtomic,
    Rule::AnswersWaitForTheTarget,
    Rule::ReadersSeeWhatTheyReached,
    Rule::VoidIsNoSuccess,
    Rule::RejectionsWaitForTheEnd,
    Rule::RejectionsCompareThePosition,
    Rule::RepeatsGetTheFirstAnswer,
    Rule::FirstChunkGoesAhead,
];

/// Whether a rule holds: always, outside tests.
#[cfg(not(feature = "sabotage"))]
#[inline]
pub const fn holds(_rule: Rule) -> bool {
    true
}

#[cfg(feature = "sabotage")]
pub use sabotage::{Off, holds, keys_remembered, remember_keys, switch_off};

/// How many accepted keys of a partition an idempotency key is remembered for.
#[cfg(not(feature = "sabotage"))]
#[inline]
pub const fn keys_remembered() -> u64 {
    crate::stream::KEYS_REMEMBERED
}

#[cfg(feature = "sabotage")]
mod sabotage {
    use super::Rule;
    use crate::stream::KEYS_REMEMBERED;
    use std::cell::Cell;

    thread_local! {
        static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
        static KEYS: Cell<u64> = const { Cell::new(KEYS_REMEMBERED) };
    }

    /// Keeps a rule switched off until it is dropped.
    #[derive(Debug)]
    pub struct Off(());

    /// Switches a rule off for the present thread.
    pub fn switch_off(rule: Rule) -> Off {
        OFF.set(Some(rule));
        Off(())
    }

    /// Whether a rule holds on the present thread.
    pub fn holds(rule: Rule) -> bool {
        OFF.get() != Some(rule)
    }

    /// How many accepted keys of a partition an idempotency key is remembered for.
    pub fn keys_remembered() -> u64 {
        KEYS.get()
    }

    /// Shortens the memory for keys on the present thread, so that a short test sees them forgotten.
    pub fn remember_keys(count: u64) {
        KEYS.set(count);
    }

    impl Drop for Off {
        fn drop(&mut self) {
            OFF.set(None);
        }
    }
}
