//! The names of all metrics, in one place: what a dashboard may rely on.
//!
//! Prometheus conventions: the prefix `refold_`, the unit at the end, `_total` for counters. Labels take few
//! values; whatever grows with the data (keys, streams, writers) is never one.

/// A metric as `/metrics` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name, as in the constants below.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// What one of it is.
    pub unit: Unit,
    /// What it tells, in a sentence.
    pub help: &'static str,
}

/// How a metric's values behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution over buckets.
    Histogram,
}

/// What a metric counts or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

// Labels that several metrics share.

/// Which broker: `embedded`, `kafka`, `rabbit` or `nats`.
pub const BROKER: &str = "broker";

/// How it came out; the metric says which words there are.
pub const OUTCOME: &str = "outcome";

// The log. All carry `broker`.

/// Appends that ended, by `outcome`: `confirmed`, `refused` or `unknown`.
pub const LOG_APPENDS: &str = "refold_log_appends_total";

/// Seconds from asking for an append to its outcome.
pub const LOG_APPEND_SECONDS: &str = "refold_log_append_duration_seconds";

/// Bytes of the records that were confirmed.
pub const LOG_APPENDED_BYTES: &str = "refold_log_appended_bytes_total";

/// Records read; one that is read again counts again.
pub const LOG_READ_RECORDS: &str = "refold_log_read_records_total";

/// Bytes of the records read.
pub const LOG_READ_BYTES: &str = "refold_log_read_bytes_total";

/// Times that reading failed, or asking for the bounds, or checking.
pub const LOG_READ_ERRORS: &str = "refold_log_read_errors_total";

/// Every metric, as the recorder is told of it at start.
pub const ALL: &[Metric] = &[
    Metric {
        name: LOG_APPENDS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "appends to the log that ended, by outcome",
    },
    Metric {
        name: LOG_APPEND_SECONDS,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "time from asking for an append to its outcome",
    },
    Metric {
        name: LOG_APPENDED_BYTES,
        kind: Kind::Counter,
        unit: Unit::Bytes,
        help: "bytes of the records that the log confirmed",
    },
    Metric {
        name: LOG_READ_RECORDS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "records read from the log, repeats included",
    },
    Metric {
        name: LOG_READ_BYTES,
        kind: Kind::Counter,
        unit: Unit::Bytes,
        help: "bytes of the records read from the log",
    },
    Metric {
        name: LOG_READ_ERRORS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "failed reads of the log, its bounds or its settings",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_described_once() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        let constants = include_str!("metric.rs").matches("= \"refold_").count();
        assert_eq!((names.len(), constants), (ALL.len(), ALL.len()));
    }

    #[test]
    fn names_follow_the_conventions() {
        for Metric { name, kind, unit, .. } in ALL {
            assert!(name.starts_with("refold_"), "{name}");
            let base = name.strip_suffix("_total");
            assert_eq!(base.is_some(), *kind == Kind::Counter, "{name}");
            let ending = match unit {
                Unit::Count => continue,
                Unit::Bytes => "_bytes",
                Unit::Seconds => "_seconds",
            };
            assert!(base.unwrap_or(name).ends_with(ending), "{name}");
        }
    }
}
