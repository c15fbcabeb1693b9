//! What all queries share: first they wait for the receipts that the client brings, last they say how far they saw.

use super::headers::{receipts, wait};
use super::problem::Problem;
use crate::service::Service;
use futures::future::try_join_all;
use poem::Request;
use refold_domain::receipt::Receipt;
use refold_projections::query;
use refold_projections::state::Verdict;
use refold_projections::view::Query;

/// How many items a page has unless told otherwise.
pub const PAGE_DEFAULT: u32 = 100;
/// How many items a page has at most.
pub const PAGE_MAX: u32 = 1_000;

/// Waits until everything that the client wrote can be seen.
///
/// # Errors
/// 400 for a malformed receipt, 503 where it takes too long, 500 where the broker lost a commit.
pub async fn wait_for_receipts(service: &Service, request: &Request) -> Result<(), Problem> {
    let receipts = receipts(request, service.progress.partitions())?;
    if receipts.is_empty() {
        return Ok(());
    }
    let folded = try_join_all(receipts.iter().map(|receipt| folded(service, receipt)));
    match tokio::time::timeout(wait(request), folded).await {
        Ok(outcome) => outcome.map(drop),
        Err(_) => {
            let detail = "a command named by Refold-Receipt is not folded yet; ask again, or wait longer with Prefer: wait=SECONDS";
            Err(Problem::unavailable("not-folded", "What you wrote cannot be seen yet", detail))
        }
    }
}

async fn folded(service: &Service, receipt: &Receipt) -> Result<(), Problem> {
    match service.progress.verdict(service.store.as_ref(), receipt).await {
        Ok(Verdict::Accepted | Verdict::Void) => Ok(()),
        Ok(Verdict::Lost) => {
            Err(Problem::lost(format!("the commit of {receipt} was acknowledged and then lost")))
        }
        Err(error) => Err(query::QueryError::Failed(error).into()),
    }
}

/// A page of at most `limit` items.
pub fn page(query: Query, cursor: Option<String>, limit: Option<u32>) -> query::Request {
    let limit = limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX) as usize;
    query::Request { query, cursor, limit }
}
