//! How often things go wrong in one schedule: some faults often, most of them not at all.

use rand::RngExt;
use rand::rngs::SmallRng;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often, in a thousand, each thing goes wrong when it could.
#[derive(Debug)]
pub(super) struct Faults {
    /// An append is refused: not stored, and never will be.
    pub refused: u32,
    /// It is not stored, and the writer does not learn that.
    pub never_stored: u32,
    /// It is stored later, whatever happens in between.
    pub stored_late: u32,
    /// It is stored, and the writer does not learn that.
    pub confirm_lost: u32,
    /// It is stored again later.
    pub duplicate: u32,
    /// A record that nobody asked for comes in between.
    pub strays: u32,
    /// Offsets are left out.
    pub holes: u32,
    /// A reader is given records again.
    pub redelivery: u32,
    /// A reader is cut off.
    pub broken_read: u32,
    /// The broker cannot tell where its end is.
    pub vague_end: u32,
    /// The broker does not answer.
    pub log_down: u32,
    /// The store does not answer.
    pub store_down: u32,
    /// A flush is not applied, and an error is answered.
    pub flush_fails: u32,
    /// A flush is applied, and an error is answered.
    pub flush_unheard: u32,
    /// What one process tells the others does not reach one of them.
    pub unheard: u32,
    /// An answer comes later than its effect.
    pub answers_late: u32,
    /// A process is killed.
    pub kill: u32,
    /// A process that is not there is started.
    pub start: u32,
    /// A process stands still for a while.
    pub pause: u32,
    /// The store is emptied.
    pub empty: u32,
    /// The store is brought back to how it stood before.
    pub roll_back: u32,
    /// The broker loses what it confirmed.
    pub lose: u32,
    healed: AtomicBool,
}

impl Faults {
    /// The faults of a schedule.
    pub(super) fn draw(rng: &mut SmallRng) -> Self {
        let mut some = |often: u32, per_mille: u32| {
            let is_on = rng.random_ratio(often, 100);
            if is_on { rng.random_range(1..=per_mille) } else { 0 }
        };
        // What was lost and comes back late is worth meeting more often than chance would have it.
        let lose = some(10, 12);
        let often = if lose > 0 { 90 } else { 33 };
        Self {
            refused: some(30, 150),
            never_stored: some(30, 300),
            stored_late: some(often, 300),
            confirm_lost: some(40, 400),
            duplicate: some(often, 400),
            strays: some(25, 200),
            holes: some(25, 300),
            redelivery: some(30, 400),
            broken_read: some(30, 200),
            vague_end: some(40, 1_000),
            log_down: some(25, 150),
            store_down: some(25, 150),
            flush_fails: some(30, 300),
            flush_unheard: some(35, 400),
            unheard: some(40, 500),
            answers_late: some(60, 800),
            kill: some(40, 10),
            start: some(100, 60).max(10),
            pause: some(45, 15),
            empty: some(25, 12),
            roll_back: some(30, 15),
            lose,
            healed: AtomicBool::new(false),
        }
    }

    /// How often it goes wrong now.
    pub(super) fn now(&self, per_mille: u32) -> u32 {
        if self.is_healed() { 0 } else { per_mille }
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }
}
