//! From the log to the read models.
//!
//! In reading order: [`definition`] says which events feed which view.

pub mod definition;
