//! Whether what the store holds of a partition was folded from this log.

use super::halt::{Halt, stopped};
use crate::state::Head;
use refold_domain::log::Bounds;
use uuid::Uuid;

/// Refuses what was folded from another log, or from one whose beginning is gone.
pub(super) fn belongs(log: Uuid, head: &Head, bounds: Bounds) -> Result<(), Halt> {
    if head.log != log {
        return Err(stopped(
            format!("the store belongs to the log {}, not to {log}", head.log),
            "run `refold store empty`, or give each log a data directory of its own (on Redis: a log.name)",
        ));
    }
    if bounds.first != Some(head.genesis.offset) {
        return Err(stopped(
            format!(
                "the log begins at offset {:?}, not at its genesis at {}: history was deleted",
                bounds.first, head.genesis.offset
            ),
            "restore the log from a backup and take away whatever deletes its records",
        ));
    }
    Ok(())
}
