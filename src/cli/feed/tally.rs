//! What became of all commands, by system: how many, how fast, and where the last of them are on the log.

use super::sender::Outcome;
use super::system::System;
use hdrhistogram::Histogram;
use refold_domain::receipt::Receipt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use uuid::Uuid;

/// The longest time that is told apart from a longer one.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// How many digits of a time are exact.
const LATENCY_DIGITS: u8 = 3;

/// Counts of commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// All that were sent: the sum of the others.
    pub(super) sent: u64,
    /// Recorded.
    pub(super) accepted: u64,
    /// Recorded before.
    pub(super) known: u64,
    /// Not taken.
    pub(super) rejected: u64,
    /// Not recorded for another reason, or perhaps recorded.
    pub(super) failed: u64,
}

/// What became of the commands of one system, or of all.
#[derive(Debug)]
struct Part {
    counts: Counts,
    /// In microseconds, a request each.
    latency: Histogram<u64>,
}

/// What became of all commands.
#[derive(Debug)]
pub(super) struct Tally {
    parts: BTreeMap<System, Part>,
    all: Part,
    repeats: u64,
    /// The last receipt of each writer in each partition.
    receipts: BTreeMap<(u32, Uuid), Receipt>,
}

/// The end of it all.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Whether everything was sent that was to be sent, and nothing of it was rejected or failed.
    pub(super) complete: bool,
    /// Why no more was sent, if it ended before its end.
    pub(super) ended: Option<String>,
    seconds: f64,
    /// Commands a second that are recorded.
    rate: f64,
    /// How many requests were sent again, each under its key.
    repeats: u64,
    total: Line,
    systems: BTreeMap<System, Line>,
    /// A query that carries these (`Refold-Receipt`) sees all that was accepted.
    receipts: Vec<String>,
}

/// The figures of one system, or of all.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    counts: Counts,
    /// Half of the requests were answered within so many milliseconds after they were due.
    p50_ms: f64,
    /// 99 of 100 were.
    p99_ms: f64,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        let Outcome { accepted, known, rejected, failed, .. } = outcome;
        self.sent += accepted + known + rejected + failed;
        self.accepted += accepted;
        self.known += known;
        self.rejected += rejected;
        self.failed += failed;
    }
}

impl Part {
    fn new() -> Self {
        let latency = Histogram::new_with_max(micros(LATENCY_MAX), LATENCY_DIGITS);
        Self { counts: Counts::default(), latency: latency.expect("the bounds of latencies are sound") }
    }

    fn add(&mut self, outcome: &Outcome, latency: Duration) {
        self.counts.add(outcome);
        self.latency.saturating_record(micros(latency));
    }

    fn line(&self) -> Line {
        // Microseconds up to ten minutes are exact as floats.
        let ms = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        Line { counts: self.counts, p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }
}

impl Tally {
    pub(super) fn new(systems: &[System]) -> Self {
        let parts = systems.iter().map(|system| (*system, Part::new())).collect();
        Self { parts, all: Part::new(), repeats: 0, receipts: BTreeMap::new() }
    }

    /// Notes what became of a request, and how long after it was due.
    pub(super) fn note(&mut self, system: System, outcome: &Outcome, latency: Duration) {
        self.parts.entry(system).or_insert_with(Part::new).add(outcome, latency);
        self.all.add(outcome, latency);
        self.repeats += outcome.repeats;
        let receipts = outcome.receipts.iter().flat_map(|receipts| receipts.split(','));
        for receipt in receipts.filter_map(|receipt| receipt.trim().parse::<Receipt>().ok()) {
            let known = self.receipts.entry((receipt.partition, receipt.writer)).or_insert(receipt);
            *known = receipt.max(*known);
        }
    }

    /// Of all systems.
    pub(super) fn counts(&self) -> Counts {
        self.all.counts
    }

    /// What it came to after such a time.
    pub(super) fn summary(&self, elapsed: Duration, ended: Option<String>) -> Summary {
        let Counts { accepted, known, rejected, failed, .. } = self.all.counts;
        Summary {
            complete: ended.is_none() && rejected == 0 && failed == 0,
            ended,
            seconds: elapsed.as_secs_f64(),
            rate: per_second(accepted + known, elapsed),
            repeats: self.repeats,
            total: self.all.line(),
            systems: self.parts.iter().map(|(system, part)| (*system, part.line())).collect(),
            receipts: self.receipts.values().map(Receipt::to_string).collect(),
        }
    }
}

impl Summary {
    /// For people.
    pub(super) fn text(&self) -> String {
        const COLUMNS: [&str; 7] = ["sent", "accepted", "known", "rejected", "failed", "p50 ms", "p99 ms"];
        let mut text = format!("{:13}", "");
        COLUMNS.iter().for_each(|column| write!(text, " {column:>11}").expect("a string takes everything"));
        let systems = self.systems.iter().map(|(system, line)| (system.name(), line));
        for (name, line) in systems.chain([("total", &self.total)]) {
            let Line { counts, p50_ms, p99_ms } = line;
            let Counts { sent, accepted, known, rejected, failed } = counts;
            write!(
                text,
                "\n{name:13} {sent:>11} {accepted:>11} {known:>11} {rejected:>11} {failed:>11} {p50_ms:>11.1} {p99_ms:>11.1}"
            )
            .expect("a string takes everything");
        }
        let Self { seconds, rate, repeats, .. } = self;
        write!(
            text,
            "\n\nin {seconds:.1} s: {rate:.0} commands a second; {repeats} requests were repeated\n"
        )
        .expect("a string takes everything");
        text
    }
}

/// So many in such a time.
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(f64::EPSILON)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
