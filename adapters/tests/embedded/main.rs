//! What only the embedded log can show: its file, a full disk, a broken write, files that are taken away.

#![expect(clippy::unwrap_used, reason = "a helper that unwraps fails the test it helps")]

#[path = "../conformance/records.rs"]
mod records;

mod file;
mod missing;
