//! The service: everything between an HTTP request and the log, and back from the store.
//!
//! In reading order: [`cli`] is what can be typed and [`settings`] what can be set; [`app`] is built from them and
//! runs until it is stopped. A request enters through [`http`]; [`commands`] looks at the store, has the domain
//! decide and waits for the verdict; the [`writer`] packs commands into commits and appends them to the log that
//! [`genesis`] opened. The [`tail`] reads back what
//! happened for all who follow it. The [`workers`] fold the log, each process its share. [`service`] holds all of it together; [`health`] and [`telemetry`] tell how it is doing,
//! and [`process`] asks the system for what it needs.

pub mod access;
pub mod app;
pub mod cli;
pub mod commands;
pub mod genesis;
pub mod health;
pub mod http;
pub mod inspection;
mod plain;
pub mod process;
pub mod service;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod tail;
pub mod telemetry;
pub mod workers;
pub mod writer;
