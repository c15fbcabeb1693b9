//! Many commands of one request, a line each, and how plain facts among them are cut into chunks.
//!
//! Each line is kept as the canonical JSON of its command, one after the other in one buffer: that takes about as much
//! memory as the body did. A chunk of facts is one command on the log. Where a body is cut is part of the format: each
//! chunk is guarded by an idempotency key of its own, so two processes that cut the same body differently would record
//! it twice.

use crate::hash::Hash;
use serde::Serialize;
use std::ops::Range;

/// How many facts a chunk has at most.
pub const CHUNK_LINES_MAX: usize = 1_024;
/// How many bytes the data of a chunk's facts has at most; one that has more is a chunk of its own.
pub const CHUNK_BYTES_MAX: usize = 128 << 10;

/// Commands, a line each.
#[derive(Debug, Default)]
pub struct Lines {
    text: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// Where its text ends, without the line feed.
    end: u32,
    /// Which line of the body it was.
    number: u32,
}

impl Lines {
    /// Adds the command that stood on the body's line `number`.
    ///
    /// # Panics
    /// Where all together have more than 4 GiB, which no bound on a body allows.
    pub fn push(&mut self, number: u32, command: &impl Serialize) {
        serde_json::to_writer(&mut self.text, command).expect("a command serialises to JSON");
        let end = u32::try_from(self.text.len()).expect("bodies are far smaller than 4 GiB");
        self.text.push(b'\n');
        self.lines.push(Line { end, number });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The canonical JSON of a line, counted from 0 without those that were blank.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.text[self.start(index)..self.lines[index].end as usize]
    }

    /// Which line of the body it was, from 1.
    pub fn number(&self, index: usize) -> u32 {
        self.lines[index].number
    }

    /// The hash of all lines together: blanks, and the order of fields in an object, make no difference to it.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.text)
    }

    /// The chunks, each with its lines.
    pub fn chunks(&self) -> Vec<Range<usize>> {
        let mut chunks = Vec::new();
        let mut first = 0;
        for next in 1..=self.len() {
            if next == self.len() || !self.fit(first..next + 1) {
                chunks.push(first..next);
                first = next;
            }
        }
        chunks
    }

    /// Whether these lines fit into one chunk.
    fn fit(&self, lines: Range<usize>) -> bool {
        let line_feeds = lines.len() - 1;
        let bytes = self.lines[lines.end - 1].end as usize - self.start(lines.start) - line_feeds;
        lines.len() <= CHUNK_LINES_MAX && bytes <= CHUNK_BYTES_MAX
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.lines[before].end as usize + 1)
    }
}

/// The hash of a chunk as a command, where all lines together have the hash `lines`: another body under the same key is
/// another command in each of its chunks.
pub fn chunk_hash(lines: Hash, chunk: u32) -> Hash {
    Hash::of_command(&(lines, chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foods::Food;
    use proptest::prelude::*;

    /// Lines of so many bytes each.
    fn lines(lengths: &[usize]) -> Lines {
        let mut lines = Lines::default();
        for (number, length) in (1..).zip(lengths) {
            // The quotes count, too.
            lines.push(number, &"x".repeat(length - 2));
        }
        lines
    }

    #[test]
    fn a_body_is_cut_alike_for_ever() {
        assert_eq!((CHUNK_LINES_MAX, CHUNK_BYTES_MAX), (1_024, 131_072));
        let cut = |lengths: &[usize]| lines(lengths).chunks().iter().map(Range::len).collect::<Vec<_>>();
        assert_eq!(cut(&[]), [0; 0]);
        assert_eq!(cut(&[16]), [1]);
        assert_eq!(cut(&[16; 1_024]), [1_024]);
        assert_eq!(cut(&[16; 2_500]), [1_024, 1_024, 452]);
        assert_eq!(cut(&[128; 1_025]), [1_024, 1]);
        assert_eq!(cut(&[129; 1_024]), [1_016, 8]);
        assert_eq!(cut(&[65_536; 5]), [2, 2, 1]);
        assert_eq!(cut(&[131_072, 2, 131_073, 131_072]), [1, 1, 1, 1]);
    }

    #[test]
    fn a_body_has_the_same_hash_for_ever() {
        let mut lines = Lines::default();
        for (number, food) in [(1, "pie"), (7, "soup")] {
            lines.push(number, &Food { food: food.into() });
        }
        assert_eq!(lines.text, b"{\"food\":\"pie\"}\n{\"food\":\"soup\"}\n");
        assert_eq!(lines.hash().to_string(), "fea560ab79e50625");
        assert_eq!(chunk_hash(lines.hash(), 0).to_string(), "de5ff076dcb46081");
        assert_eq!(chunk_hash(lines.hash(), 1).to_string(), "4b7481261893494e");
        assert_eq!((lines.get(1), lines.number(1)), (br#"{"food":"soup"}"#.as_slice(), 7));
    }

    proptest! {
        #[test]
        fn chunks_hold_every_line_once_and_are_as_full_as_they_may_be(
            lengths in prop::collection::vec(prop_oneof![2..300_usize, 2..140_000_usize], 0..200)
        ) {
            let lines = lines(&lengths);
            let chunks = lines.chunks();
            let all: Vec<usize> = chunks.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            for chunk in &chunks {
                let bytes: usize = lengths[chunk.clone()].iter().sum();
                prop_assert!(chunk.len() == 1 || (chunk.len() <= CHUNK_LINES_MAX && bytes <= CHUNK_BYTES_MAX));
                let and_next = bytes + lengths.get(chunk.end).unwrap_or(&usize::MAX).min(&CHUNK_BYTES_MAX);
                prop_assert!(
                    chunk.end == lengths.len() || chunk.len() == CHUNK_LINES_MAX || and_next > CHUNK_BYTES_MAX
                        || lengths[chunk.end] > CHUNK_BYTES_MAX
                );
            }
            for (index, length) in lengths.iter().enumerate() {
                prop_assert_eq!(lines.get(index).len(), *length);
            }
        }
    }
}
