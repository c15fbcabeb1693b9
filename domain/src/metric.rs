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

/// An HTTP method: `GET`, `POST`, `PUT`, `DELETE` or `other`.
pub const METHOD: &str = "method";

/// A class of HTTP statuses: `2xx`, `4xx` and so on.
pub const STATUS: &str = "status";

/// Which partition, from 0.
pub const PARTITION: &str = "partition";

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

// The writer.

/// Commands that a commit carried.
pub const WRITER_COMMIT_COMMANDS: &str = "refold_writer_commit_commands";

// The gate, as the store's heads have it. All carry `partition`.

/// Commits admitted.
pub const GATE_COMMITS: &str = "refold_gate_commits_total";

/// Commands that count.
pub const GATE_ACCEPTED: &str = "refold_gate_commands_accepted_total";

/// Commands void because a guard did not hold.
pub const GATE_VOIDS: &str = "refold_gate_commands_void_total";

/// Commits void because they had been passed before.
pub const GATE_DUPLICATES: &str = "refold_gate_duplicates_total";

/// Duplicates with other bytes: two writers share an id.
pub const GATE_FORKS: &str = "refold_gate_forks_total";

/// Times that the broker lost acknowledged commits.
pub const LOG_GAPS: &str = "refold_log_gaps_total";

/// Records that are none of this log.
pub const GATE_FOREIGN: &str = "refold_gate_foreign_records_total";

/// Events that could not be read.
pub const GATE_UNREADABLE: &str = "refold_gate_unreadable_events_total";

// The projector.

/// Records on the log that are not folded yet, by partition.
pub const PROJECTOR_LAG: &str = "refold_projector_lag_records";

/// Records that a batch took from the log.
pub const PROJECTOR_BATCH_RECORDS: &str = "refold_projector_batch_records";

/// Time from handing a flush to the store to its outcome.
pub const PROJECTOR_FLUSH_SECONDS: &str = "refold_projector_flush_duration_seconds";

/// Partitions that this process folds: all of them, or its share.
pub const PROJECTOR_PARTITIONS: &str = "refold_projector_partitions";

// HTTP.

/// Requests answered, by method and status class.
pub const HTTP_REQUESTS: &str = "refold_http_requests_total";

/// Time from a request's head to its answer.
pub const HTTP_REQUEST_SECONDS: &str = "refold_http_request_duration_seconds";

/// Queries that were answered as before, for nothing had changed since.
pub const HTTP_ANSWERS_AGAIN: &str = "refold_http_answers_again_total";

/// Requests that hold one of the places that there are, until their answers have gone out.
pub const HTTP_REQUESTS_HELD: &str = "refold_http_requests_held";

/// Streams (SSE) that are open.
pub const HTTP_STREAMS: &str = "refold_http_streams";

/// Streams that were ended because their client took nothing, or too little, in time.
pub const HTTP_STREAMS_DROPPED: &str = "refold_http_streams_dropped_total";

// Users.

/// Logins that ended, by `outcome`: `ok`, `refused` or `limited`.
pub const LOGINS: &str = "refold_logins_total";

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
    Metric {
        name: WRITER_COMMIT_COMMANDS,
        kind: Kind::Histogram,
        unit: Unit::Count,
        help: "commands that a commit carried",
    },
    Metric { name: GATE_COMMITS, kind: Kind::Counter, unit: Unit::Count, help: "commits admitted" },
    Metric { name: GATE_ACCEPTED, kind: Kind::Counter, unit: Unit::Count, help: "commands that count" },
    Metric {
        name: GATE_VOIDS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "commands void because a guard did not hold",
    },
    Metric {
        name: GATE_DUPLICATES,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "commits void because they had been passed before",
    },
    Metric {
        name: GATE_FORKS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "duplicates with other bytes: two writers share an id",
    },
    Metric {
        name: LOG_GAPS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "times that the broker lost acknowledged commits",
    },
    Metric {
        name: GATE_FOREIGN,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "records that are none of this log",
    },
    Metric {
        name: GATE_UNREADABLE,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "events that could not be read",
    },
    Metric {
        name: PROJECTOR_LAG,
        kind: Kind::Gauge,
        unit: Unit::Count,
        help: "records on the log that are not folded yet, by partition",
    },
    Metric {
        name: PROJECTOR_BATCH_RECORDS,
        kind: Kind::Histogram,
        unit: Unit::Count,
        help: "records that a batch took from the log",
    },
    Metric {
        name: PROJECTOR_FLUSH_SECONDS,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "time from handing a flush to the store to its outcome",
    },
    Metric {
        name: PROJECTOR_PARTITIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        help: "partitions that this process folds: all of them, or its share",
    },
    Metric {
        name: HTTP_REQUESTS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "requests answered, by method and status class",
    },
    Metric {
        name: HTTP_REQUEST_SECONDS,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "time from a request's head to its answer",
    },
    Metric {
        name: HTTP_ANSWERS_AGAIN,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "queries that were answered as before, for nothing had changed since",
    },
    Metric {
        name: HTTP_REQUESTS_HELD,
        kind: Kind::Gauge,
        unit: Unit::Count,
        help: "requests whose answers have not gone out yet, of http.requests_max",
    },
    Metric { name: HTTP_STREAMS, kind: Kind::Gauge, unit: Unit::Count, help: "streams that are open" },
    Metric {
        name: HTTP_STREAMS_DROPPED,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "streams that were ended because their client was too slow",
    },
    Metric {
        name: LOGINS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "logins that ended, by outcome: ok, refused or limited",
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
