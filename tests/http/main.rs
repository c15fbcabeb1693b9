//! Everything that is promised, shown on the real binary: through HTTP and the command line only.
//!
//! `server` runs the binary and `client` talks to it; the other modules are the cases, one file a subject.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that gives up fails the test it helps")]

mod alerts;
mod answers;
mod authorization;
mod backup;
mod bad_input;
mod brokers;
mod browsers;
mod checking;
mod cli;
mod client;
mod connections;
mod data;
mod definitions;
mod detections;
mod events;
mod feed;
mod foods;
mod full_disk;
mod introductions;
mod kills;
mod live;
mod logins;
mod lost_logs;
#[path = "../../adapters/tests/servers/rabbit.rs"]
mod management;
mod missing_log;
mod ndjson;
mod newer;
mod operations;
mod pictures;
mod purchases;
mod racing;
mod raw;
mod redis;
mod redis_cluster;
mod remote;
mod request_ids;
mod roles;
mod secrets;
mod server;
#[path = "../../adapters/tests/servers/mod.rs"]
#[expect(dead_code, reason = "some of it is for tests of the log alone")]
mod servers;
mod sse;
mod statistics;
mod stopping;
mod store;
mod tail;
mod tampering;
mod tokens;
mod user_cli;
mod users;
