//! Refold, put together: settings, the command line, and what they start.

pub mod cli;
pub mod settings;
