//! What all queries share: first they wait for the receipts that the client brings, last they say how far they saw.

use super::connections::Stopping;
use super::headers::{receipts, wait};
use super::problem::Problem;
use crate::service::Service;
use futures::future::try_join_all;
use poem::Request;
use refold_domain::log::Offset;
use refold_domain::receipt::Receipt;
use refold_projections::query::{self, Reached};
use refold_projections::state::Verdict;
use refold_projections::store::Limit;
use refold_projections::view::Query;
use tokio::time::sleep;

/// How many items a page has unless told otherwise.
pub const PAGE_DEFAULT: u32 = 100;
/// How many items a page has at most.
pub const PAGE_MAX: u32 = 1_000;
/// How many bytes of the store's are enough for a page. Each partition may read its share of them, and goes over it by
/// at most one item, which is no larger than a body. So the pages under way hold `http.requests_max` times as much at
/// most, taken by their clients or not: 4 GiB with the defaults, if that many ask for the largest in the same moment.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// Waits until everything that the client wrote can be seen, and says how far the store had come then.
///
/// # Errors
/// 400 for a malformed receipt or preference, 503 where it takes too long or the service stops, 500 where the broker lost a commit.
pub async fn wait_for_receipts(service: &Service, request: &Request) -> Result<Reached, Problem> {
    let (receipts, longest) = (receipts(request, service.progress.partitions())?, wait(request)?);
    if receipts.is_empty() {
        return Ok(Reached::default());
    }
    let folded = try_join_all(receipts.iter().map(|receipt| folded(service, receipt)));
    tokio::select! {
        biased;
        places = folded => Ok(reached(&receipts, &places?)),
        () = Stopping::told(request).begun() => Err(not_folded("the service is stopping: ask again")),
        () = sleep(longest) => Err(not_folded(&still_waiting(service, &receipts))),
    }
}

/// What keeps a partition from folding a command, where that is known; otherwise what it may be.
fn still_waiting(service: &Service, receipts: &[Receipt]) -> String {
    let problem = |receipt: &Receipt| {
        Some((receipt.partition, service.progress.state(receipt.partition).condition.problem()?))
    };
    match receipts.iter().find_map(problem) {
        Some((partition, problem)) => format!("partition {partition} does not go on: {problem}"),
        None => "ask again, or wait longer with Prefer: wait=SECONDS; it never will be if the receipt is another log's, or from \
                 after the backup that this log was restored from"
            .to_owned(),
    }
}

fn not_folded(remedy: &str) -> Problem {
    let detail = format!("a command named by Refold-Receipt is not folded yet; {remedy}");
    Problem::unavailable("not-folded", "What you wrote cannot be seen yet", detail)
}

fn reached(receipts: &[Receipt], places: &[Offset]) -> Reached {
    let mut reached = Reached::default();
    receipts.iter().zip(places).for_each(|(receipt, at)| reached.note(receipt.partition, *at));
    reached
}

/// Where the store stands that has folded a command.
async fn folded(service: &Service, receipt: &Receipt) -> Result<Offset, Problem> {
    match service.progress.judged(service.store.as_ref(), receipt).await {
        Ok((Verdict::Accepted | Verdict::Void, at)) => {
            // The store may be ahead of what this process tells of it.
            service.progress.reach(receipt.partition, at).await;
            Ok(at)
        }
        Ok((Verdict::Lost, _)) => {
            Err(Problem::lost(format!("the commit of {receipt} was acknowledged and then lost")))
        }
        Err(error) => {
            service.progress.note(&error);
            Err(query::QueryError::Failed(error).into())
        }
    }
}

/// A page of at most `limit` items; fewer, where they are large.
pub fn page(query: Query, cursor: Option<String>, limit: Option<u32>) -> query::Request {
    let entries = limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX) as usize;
    query::Request { query, cursor, limit: Limit { entries, bytes: PAGE_BYTES_MAX } }
}
