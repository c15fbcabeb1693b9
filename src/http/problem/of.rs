//! Which problem each error of what lies below is: nobody else decides what becomes of one.

use super::Problem;
use crate::access::accounts::Unchecked;
use crate::commands::CommandError;
use crate::commands::chunks::Incomplete;
use crate::http::seldom::Seldom;
use poem::http::StatusCode;
use refold_domain::decision::Rejection;
use refold_domain::validation::FieldError;
use refold_domain::validation::json::Unreadable;
use refold_projections::query::QueryError;
use refold_projections::store::{Away, damage};

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Syntax(error) => Self::syntax(error.to_string()),
            Unreadable::Repeated(errors) => Self::validation(errors),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound(reason) => Self::not_found(reason),
            Rejection::Gone(reason) => Self::gone(reason),
            Rejection::Stale(reason) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "stale",
                "If-Match is not the present version",
                reason,
            ),
            Rejection::Conflict(reason) => {
                Self::new(StatusCode::CONFLICT, "conflict", "It clashes with what is recorded", reason)
            }
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Rejected(rejection) => rejection.into(),
            CommandError::KeyReused => {
                let title = "The Idempotency-Key was used for another command";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", title, detail)
            }
            CommandError::TooLarge(_) => Self::too_large(detail),
            CommandError::Overloaded(_) => {
                Self::unavailable("overloaded", "Too many commands are waiting", detail)
            }
            CommandError::NotRecorded(_) => {
                Self::unavailable("not-recorded", "The command was not recorded", detail)
            }
            CommandError::OutcomeUnknown(_) => Self::unavailable(
                "outcome-unknown",
                "Nobody knows yet whether the command counts",
                format!(
                    "{detail}; repeat it with the same Idempotency-Key, or with the id or If-Match that guards it: \
                     without any of these a repeat may count twice"
                ),
            ),
            CommandError::Behind(_) => Self::unavailable("behind", "The store has not caught up", detail),
            CommandError::Contended => {
                Self::new(StatusCode::CONFLICT, "contended", "Others were faster", detail)
            }
            CommandError::Lost(_) => Self::lost(detail),
            CommandError::Failed(error) => {
                static FAILED: Seldom = Seldom::new();
                if let Some(untold) = is_news(&error).then(|| FAILED.tell()).flatten() {
                    tracing::error!(untold, "a command failed: {error:#}");
                }
                Self::unavailable("store", "The command could not be decided", with_remedy(detail, &error))
            }
        }
    }
}

impl From<Unchecked> for Problem {
    fn from(unchecked: Unchecked) -> Self {
        match unchecked {
            Unchecked::TooMany(too_many) => {
                let seconds = too_many.seconds();
                Self::too_many(format!("too many logins: try again in {seconds} s"), seconds)
            }
            Unchecked::Full(full) => {
                Self::unavailable("overloaded", "Too many passwords are waiting", full.to_string())
            }
            Unchecked::Store(error) => error.into(),
        }
    }
}

impl From<Incomplete> for Problem {
    fn from(incomplete: Incomplete) -> Self {
        let Incomplete { cause, recorded, unknown, lines, has_key } = incomplete;
        let problem = Self::from(cause);
        if recorded + unknown == 0 {
            return problem;
        }
        let others = if unknown == 0 { String::new() } else { format!(", {unknown} others may be") };
        let remedy = if has_key {
            "repeat the request with the same Idempotency-Key: it records what is missing, and nothing twice"
        } else {
            "a repeat would record them again: with an Idempotency-Key it would not"
        };
        let detail =
            format!("{}; {recorded} of {lines} lines are recorded{others}; {remedy}", problem.detail);
        if problem.status == StatusCode::SERVICE_UNAVAILABLE {
            return Self::unavailable("partly-recorded", "Not all lines are known to be recorded", detail);
        }
        Self { detail, ..problem }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let detail = error.to_string();
        match error {
            QueryError::Bad(FieldError { field, reason }) => Self::parameter(&field, reason),
            QueryError::Starting | QueryError::Ahead(_) | QueryError::Folding { .. } => {
                Self::unavailable("folding", "The view is being folded", detail)
            }
            QueryError::Broken { .. } | QueryError::Stopped { .. } => {
                Self::unavailable("broken", "The view is broken", detail)
            }
            QueryError::Failed(error) => {
                static FAILED: Seldom = Seldom::new();
                if let Some(untold) = is_news(&error).then(|| FAILED.tell()).flatten() {
                    tracing::error!(untold, "a query failed: {error:#}");
                }
                Self::unavailable("store", "The store cannot be read", with_remedy(detail, &error))
            }
        }
    }
}

/// Whether it is told here: of a store that is away, the store tells itself.
fn is_news(error: &anyhow::Error) -> bool {
    !error.is::<Away>()
}

fn with_remedy(detail: String, error: &anyhow::Error) -> String {
    if damage::is_damage(error) { format!("{detail}; {}", damage::REMEDY) } else { detail }
}
