//! What Refold knows without touching the world: events, commands, decisions and the form of the log.
//!
//! A command's journey starts here and ends here. In reading order:
//! [`validation`] turns a request body into a command or names every bad field;
//! [`introductions`], [`foods`], [`purchases`], [`detections`], [`pictures`] and [`users`] each make a [`decision`], purely: which
//! events a command causes;
//! [`schema`] says what each event looks like, and reads it back;
//! [`lines`] are the many commands of one request;
//! [`commit`] is the record that carries commands to the log, and [`stream`] names what its guards protect;
//! [`log`] is the contract every broker has to keep;
//! [`receipt`] names a place in the log: what a writer is given, and what a reader asks for; [`reading`] is a place
//! exact to the event;
//! [`options`] are what is set for a server alone; [`nearest`] answers an unknown name with the known ones, and [`rule`] lists the rules that all promises rest on;
//! [`metric`] names everything that is counted on the way.

pub mod commit;
pub mod decision;
pub mod detections;
pub mod foods;
pub mod hash;
pub mod introductions;
pub mod lines;
pub mod log;
pub mod metric;
pub mod nearest;
pub mod options;
pub mod pictures;
pub mod purchases;
pub mod reading;
pub mod receipt;
pub mod rule;
pub mod schema;
pub mod stream;
pub mod time;
pub mod users;
pub mod validation;
