//! The service: everything between an HTTP request and the log, and back from the store.
//!
//! A command's journey, in reading order: [`commands`] looks at the store, has the domain decide and waits for
//! the verdict; the [`writer`] packs commands into commits and appends them; [`genesis`] made the log that they
//! go to. [`cli`] is what can be typed, and [`settings`] what can be set.

pub mod cli;
pub mod commands;
pub mod genesis;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod writer;
