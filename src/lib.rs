//! Refold, put together: the settings so far.

pub mod settings;
