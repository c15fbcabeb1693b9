//! The newest records of a partition in memory, shared by the one who writes them and those who read them.

use super::reader::{CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX, Chunk};
use bytes::Bytes;
use refold_domain::log::Offset;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// How many bytes of a partition's newest records are kept in memory.
const TAIL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What keeping a record costs beside its bytes, about, so that tiny records are bounded too.
const RECORD_COST_BYTES: usize = 64;

/// The offsets that a partition holds: from `first`, up to but without `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: Offset,
    pub(super) next: Offset,
}

impl Span {
    /// The offset of the newest record.
    pub(super) fn last(self) -> Option<Offset> {
        (self.first < self.next).then(|| self.next - 1)
    }
}

/// Where the writer of a partition puts what it has committed. The one sender of the span: when the writer
/// ends, its readers hear of it.
#[derive(Debug)]
pub(super) struct Head {
    ring: Arc<Mutex<Ring>>,
    span: watch::Sender<Span>,
}

/// Where the readers of a partition take it from.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    ring: Arc<Mutex<Ring>>,
    span: watch::Receiver<Span>,
}

/// What a tail has at some offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// These records.
    Records(Chunk),
    /// It is older than what is kept in memory.
    Older,
    /// It is yet to come.
    Nothing,
}

/// Both sides of a partition that holds `span`, with nothing of it in memory yet.
pub(super) fn new(span: Span) -> (Head, Tail) {
    let ring = Arc::new(Mutex::new(Ring::starting_at(span.next)));
    let (sender, receiver) = watch::channel(span);
    (Head { ring: Arc::clone(&ring), span: sender }, Tail { ring, span: receiver })
}

impl Head {
    /// The offset of the next record.
    pub(super) fn next(&self) -> Offset {
        self.span.borrow().next
    }

    /// Takes a committed record; readers that wait hear of it by [`Head::announce`].
    pub(super) fn push(&self, record: Bytes) {
        lock(&self.ring).push(record);
    }

    /// Tells the readers what has been pushed.
    pub(super) fn announce(&self) {
        let next = lock(&self.ring).next();
        self.span.send_if_modified(|span| std::mem::replace(&mut span.next, next) != next);
    }

    /// Takes over what the file says, where it is not what was expected.
    pub(super) fn reset(&self, span: Span) {
        if *self.span.borrow() != span {
            *lock(&self.ring) = Ring::starting_at(span.next);
            self.span.send_replace(span);
        }
    }
}

impl Tail {
    /// What the partition holds.
    pub(super) fn span(&self) -> Span {
        *self.span.borrow()
    }

    /// The records at and after `from`, as many as a chunk takes.
    pub(super) fn take(&self, from: Offset) -> Found {
        lock(&self.ring).take(from)
    }

    /// Returns when the record at `offset` is there; false if it never will be, as the log was closed.
    pub(super) async fn reaches(&mut self, offset: Offset) -> bool {
        self.span.wait_for(|span| span.next > offset).await.is_ok()
    }
}

/// Records with offsets that follow each other, the oldest dropped when they get too large.
#[derive(Debug)]
struct Ring {
    first: Offset,
    records: VecDeque<Bytes>,
    cost: usize,
}

impl Ring {
    fn starting_at(first: Offset) -> Self {
        Self { first, records: VecDeque::new(), cost: 0 }
    }

    fn next(&self) -> Offset {
        self.first + self.records.len() as u64
    }

    fn push(&mut self, record: Bytes) {
        self.cost += cost(&record);
        self.records.push_back(record);
        while self.cost > TAIL_BYTES_MAX {
            let oldest = self.records.pop_front().expect("an empty ring costs nothing");
            self.cost -= cost(&oldest);
            self.first += 1;
        }
    }

    fn take(&self, from: Offset) -> Found {
        if from >= self.next() {
            return Found::Nothing;
        }
        let Some(skip) = from.checked_sub(self.first) else {
            return Found::Older;
        };
        let skip = usize::try_from(skip).expect("an index into the ring");
        let mut bytes = 0;
        let fits = |record: &&Bytes| {
            let is_first = bytes == 0;
            bytes += cost(record);
            is_first || bytes <= CHUNK_BYTES_MAX
        };
        let records = self.records.iter().skip(skip).take(CHUNK_RECORDS_MAX).take_while(fits);
        Found::Records((from..).zip(records.cloned()).collect())
    }
}

fn cost(record: &Bytes) -> usize {
    record.len() + RECORD_COST_BYTES
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().expect("nobody panics while holding a ring")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(found: &Found) -> Vec<Offset> {
        match found {
            Found::Records(chunk) => chunk.iter().map(|(offset, _)| *offset).collect(),
            _ => panic!("no records: {found:?}"),
        }
    }

    #[test]
    fn tells_older_from_newer() {
        let (head, tail) = new(Span { first: 0, next: 5 });
        head.push("five".into());
        head.push("six".into());
        assert_eq!(tail.take(4), Found::Older);
        assert_eq!(tail.take(6), Found::Records(vec![(6, "six".into())]));
        assert_eq!(offsets(&tail.take(5)), [5, 6]);
        assert_eq!(tail.take(7), Found::Nothing);
    }

    #[test]
    fn drops_the_oldest_when_full() {
        let mut ring = Ring::starting_at(0);
        for _ in 0..5 {
            ring.push(vec![0; 1024 * 1024].into());
        }
        assert_eq!((ring.first, ring.next()), (2, 5));
        assert_eq!(ring.take(1), Found::Older);
        ring.push(vec![0; TAIL_BYTES_MAX].into());
        assert_eq!((ring.first, ring.records.len(), ring.cost), (6, 0, 0));
        assert_eq!(ring.take(5), Found::Older);
    }

    #[test]
    fn a_chunk_is_bounded_but_never_empty() {
        let mut ring = Ring::starting_at(0);
        (0..CHUNK_RECORDS_MAX + 1).for_each(|_| ring.push(Bytes::new()));
        assert_eq!(offsets(&ring.take(0)).len(), CHUNK_RECORDS_MAX);
        let mut ring = Ring::starting_at(0);
        (0..2).for_each(|_| ring.push(vec![0; CHUNK_BYTES_MAX / 4 * 3].into()));
        assert_eq!(offsets(&ring.take(0)), [0]);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_writer() {
        let (head, mut tail) = new(Span { first: 0, next: 0 });
        head.push("zero".into());
        head.announce();
        assert!(tail.reaches(0).await);
        drop(head);
        assert!(!tail.reaches(1).await);
    }
}
