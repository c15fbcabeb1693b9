//! From the log to read models: what counts, what it adds up to, and where that is kept.
//!
//! A record's journey, in reading order: the [`projector`] takes a batch of records from the log and has the
//! [`batch`] read; the [`gate`] decides, in log order, which commands count; [`view`]s fold the events of those
//! that do; the [`store`] takes views, gate and position in one atomic step, told to everybody who waits by the
//! [`progress`]. Which events feed which view is said by a [`definition`], and the [`catalogue`] gives each
//! definition the generation that queries are served from. [`state`] is what a partition remembers besides
//! its views, and [`query`] reads views back, a page at a time from [`cursor`] to
//! cursor; [`events`] reads back from the log what counts. Where several processes work on one store, they share the
//! partitions and tell each other what was flushed through their [`peers`], by [`bulletin`]s.

pub mod batch;
pub mod bulletin;
pub mod catalogue;
pub mod cursor;
pub mod definition;
pub mod events;
pub mod gate;
pub mod peers;
pub mod progress;
pub mod projector;
pub mod query;
pub mod state;
pub mod store;
pub mod view;
