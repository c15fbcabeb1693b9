//! One suite for all brokers: each promise of `EventLog` against each log in [`brokers::BROKERS`].

#![expect(clippy::unwrap_used, reason = "a helper that unwraps fails the test it helps")]

mod brokers;
mod embedded;
mod missing;
mod order;
mod reopening;
mod tailing;
