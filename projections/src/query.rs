//! Reads a view back: the partitions' cells in one order, merged where they share a key, a page at a time.

use crate::catalogue::Projection;
use crate::cursor::Question;
use crate::progress::{Condition, Progress, State};
use crate::state::{Broken, Head};
use crate::store::damage::Damaged;
use crate::store::{Blob, Limit, Scanned, Store};
use crate::view::{Gaps, Query, Selection};
use anyhow::Context;
use refold_domain::log::Offset;
use refold_domain::receipt::{Position, log_digits};
use refold_domain::rule::{self, Rule};
use refold_domain::validation::FieldError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use uuid::Uuid;

/// A page of a view.
#[derive(Debug)]
pub struct Page {
    /// The cells, as JSON.
    pub data: Vec<serde_json::Value>,
    /// Where the next page starts, if there is one.
    pub next: Option<String>,
    /// How far each partition had come when it was read.
    pub position: Position,
}

/// What a page is made of.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked of the view.
    pub query: Query,
    /// Where to go on, as an earlier page said.
    pub cursor: Option<String>,
    /// How much to answer at most: so many cells, and so many bytes of the store's in all partitions together.
    pub limit: Limit,
}

/// How far the store was seen to stand, by partition. It may be emptied or rolled back after that; what is then
/// read must not show less.
#[derive(Debug, Clone, Default)]
pub struct Reached(BTreeMap<u32, Offset>);

/// Why a view has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A part of the question is wrong.
    #[error("{}: {}", .0.field, .0.reason)]
    Bad(FieldError),
    /// The view is being folded.
    #[error("the view is being folded: {}", share(*done, *target))]
    Folding {
        /// Records passed in all partitions.
        done: u64,
        /// Records that were there when the folding began.
        target: u64,
    },
    /// The log was not compared with the store yet.
    #[error(
        "the view is not there yet: the service has just started and still compares the store with the log"
    )]
    Starting,
    /// The store has gone on past what this process could compare with the log.
    #[error("the view is ahead of what this process has compared with the log{}", .0.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Ahead(Option<String>),
    /// A partition stopped until somebody acts, so that its part of the view may be wrong.
    #[error("partition {partition} stopped: {reason}; {remedy}")]
    Stopped {
        /// The partition.
        partition: u32,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// An event broke the view in a partition.
    #[error("the view broke in partition {partition} at event {event}: {reason}")]
    Broken {
        /// The partition.
        partition: u32,
        /// The event's id.
        event: String,
        /// What went wrong.
        reason: String,
    },
    /// The store cannot be read.
    #[error("cannot read the store: {0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Reached {
    /// Notes that a partition's store was seen at `offset`.
    pub fn note(&mut self, partition: u32, offset: Offset) {
        let farthest = self.0.entry(partition).or_default();
        *farthest = offset.max(*farthest);
    }

    /// Notes how far every partition's store was seen.
    pub fn note_all(&mut self, position: &Position) {
        let seen = (0..).zip(&position.offsets);
        seen.for_each(|(partition, offset)| offset.iter().for_each(|offset| self.note(partition, *offset)));
    }

    /// Whether a partition's store at `offset` shows no less than was seen.
    pub fn is_met(&self, partition: u32, offset: Offset) -> bool {
        self.0.get(&partition).is_none_or(|seen| *seen <= offset)
    }

    /// How far a head has to be to be read from.
    fn target(&self, partition: u32, head: &Head) -> Offset {
        let target = if rule::holds(Rule::AnswersWaitForTheTarget) { head.target } else { 0 };
        let seen = self.0.get(&partition).filter(|_| rule::holds(Rule::ReadersSeeWhatTheyReached));
        seen.map_or(target, |seen| target.max(*seen))
    }
}

/// Reads a page of a projection's view, as it stands after what was `reached`.
///
/// # Errors
/// [`QueryError`]
pub async fn page(
    store: &dyn Store,
    progress: &Progress,
    projection: &Projection,
    request: &Request,
    reached: &Reached,
) -> Result<Page, QueryError> {
    let selection = projection.view.select(&request.query).map_err(QueryError::Bad)?;
    let space = projection.space();
    let question = Question { log: progress.log(), space: &space, selection: &selection };
    let open = |cursor| question.open(cursor).ok_or_else(not_ours);
    let after = request.cursor.as_deref().map(open).transpose()?;
    let share = request.limit.bytes / progress.partitions().max(1) as usize;
    let range = selection.range(space.clone(), after.clone(), Limit { bytes: share, ..request.limit });
    let scanned = store.scan_all(progress.partitions(), range).await?;
    let heads = ready(projection, &scanned, reached)?;
    let position = position(progress.log(), heads.iter());
    let end = common_end(&scanned, selection.reverse);
    let limit = request.limit.entries;
    let mut merged =
        merge(projection, scanned, |key| end.as_deref().is_none_or(|end| !selection.is_after(key, end)))?;
    // One more than is wanted tells whether there is another page.
    let gaps = Gaps { after: after.as_deref(), is_all: end.is_none(), limit: limit.saturating_add(1) };
    projection.view.fill(&request.query, &gaps, &mut merged);
    let is_more = end.is_some() || merged.len() > limit;
    let (data, last) = first(projection, &selection, merged, limit)?;
    let next = last.filter(|_| is_more).map(|key| question.seal(&key));
    Ok(Page { data, next, position })
}

/// Whether this process has seen that the log holds what the store has folded, in each partition.
///
/// # Errors
/// That it has not yet, or that the log does not.
pub fn verified(progress: &Progress) -> Result<(), QueryError> {
    let mut is_known = true;
    for partition in 0..progress.partitions() {
        let State { head, condition, .. } = progress.state(partition);
        if let Condition::Stopped { reason, remedy } = condition {
            return Err(QueryError::Stopped { partition, reason, remedy });
        }
        is_known &= head.is_some();
    }
    is_known.then_some(()).ok_or(QueryError::Starting)
}

/// How far the store has come in every partition, where it has everything that the log held when it was created and
/// what was `reached`.
///
/// # Errors
/// [`QueryError`]
pub fn passed(progress: &Progress, reached: &Reached) -> Result<Position, QueryError> {
    verified(progress)?;
    let heads = (0..progress.partitions()).map(|partition| progress.state(partition).head);
    let heads = heads.collect::<Option<Vec<_>>>().ok_or(QueryError::Starting)?;
    let targets = (0..).zip(&heads).map(|(partition, head)| reached.target(partition, head));
    let heads: Vec<(&Head, Offset)> = heads.iter().map(AsRef::as_ref).zip(targets).collect();
    come_far_enough(&heads)?;
    Ok(position(progress.log(), heads.iter().map(|(head, _)| *head)))
}

/// The partitions' heads, if the view has an answer in each.
fn ready(projection: &Projection, scanned: &[Scanned], reached: &Reached) -> Result<Vec<Head>, QueryError> {
    let mut heads = Vec::with_capacity(scanned.len());
    for (partition, scanned) in (0..).zip(scanned) {
        if let Some(head) = &scanned.head {
            live(projection, partition, head)?;
            heads.push((head, reached.target(partition, head)));
        }
    }
    if heads.len() < scanned.len() {
        return Err(folding(&heads));
    }
    come_far_enough(&heads)?;
    Ok(heads.into_iter().map(|(head, _)| head.clone()).collect())
}

/// Whether each head has reached its target.
fn come_far_enough(heads: &[(&Head, Offset)]) -> Result<(), QueryError> {
    let is_behind = heads.iter().any(|(head, target)| head.position.offset < *target);
    if is_behind { Err(folding(heads)) } else { Ok(()) }
}

fn folding(heads: &[(&Head, Offset)]) -> QueryError {
    let passed = |head: &Head, offset: Offset| offset.saturating_sub(head.genesis.offset);
    let done = heads.iter().map(|(head, target)| passed(head, head.position.offset.min(*target))).sum();
    let target = heads.iter().map(|(head, target)| passed(head, *target)).sum();
    QueryError::Folding { done, target }
}

fn share(done: u64, target: u64) -> String {
    if target == 0 {
        "it has not begun yet".to_owned()
    } else {
        format!("{done} of {target} records are done")
    }
}

/// Whether the projection is in the live set of a partition.
fn live(projection: &Projection, partition: u32, head: &Head) -> Result<(), QueryError> {
    let name = &projection.definition.name;
    let live = head.live(name, projection.generation).with_context(|| {
        format!("generation {} of {name} is not folded in partition {partition}", projection.generation)
    })?;
    match live.broken.clone() {
        Some(Broken { event, reason, .. }) => Err(QueryError::Broken { partition, event, reason }),
        None => Ok(()),
    }
}

fn position<'h>(log: Uuid, heads: impl Iterator<Item = &'h Head>) -> Position {
    let offsets = heads.map(|head| Some(head.position.offset)).collect();
    Position { log: log_digits(log), offsets }
}

/// The last key up to which every partition was read, `None` where each was read to its end. What one has beyond it
/// another may have, too, and the page must not show half of it.
fn common_end(scanned: &[Scanned], reverse: bool) -> Option<Blob> {
    let stopped = scanned.iter().filter(|scanned| scanned.more);
    let last = stopped.filter_map(|scanned| scanned.entries.last()).map(|(key, _)| key);
    if reverse { last.max() } else { last.min() }.cloned()
}

fn merge(
    projection: &Projection,
    scanned: Vec<Scanned>,
    is_read: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<BTreeMap<Blob, Blob>> {
    let mut merged = BTreeMap::new();
    let entries = scanned.into_iter().flat_map(|scanned| scanned.entries);
    for (key, value) in entries.filter(|(key, _)| is_read(key)) {
        match merged.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(value);
            }
            Entry::Occupied(mut occupied) => {
                let one = std::mem::take(occupied.get_mut());
                occupied.insert(
                    projection.view.merge(one, value).context(Damaged("two cells cannot be merged"))?,
                );
            }
        }
    }
    Ok(merged)
}

/// The first cells in the order of the selection, as JSON, and the key of the last of them.
fn first(
    projection: &Projection,
    selection: &Selection,
    merged: BTreeMap<Blob, Blob>,
    limit: usize,
) -> anyhow::Result<(Vec<serde_json::Value>, Option<Blob>)> {
    let mut cells: Vec<(Blob, Blob)> = if selection.reverse {
        merged.into_iter().rev().take(limit).collect()
    } else {
        merged.into_iter().take(limit).collect()
    };
    let shown = cells.iter().filter_map(|(key, value)| projection.view.show(key, value).transpose());
    let data = shown.collect::<Result<_, _>>().context(Damaged("a cell cannot be shown"))?;
    Ok((data, cells.pop().map(|(key, _)| key)))
}

/// That a cursor belongs to another question.
pub fn not_ours() -> QueryError {
    let reason = "is not one that this query answered; leave it out to start from the beginning";
    QueryError::Bad(FieldError { field: "cursor".into(), reason: reason.into() })
}
