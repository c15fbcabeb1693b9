//! The most frequent of what a view counts, as routes answer them that take no pages.

use crate::service::Service;
use anyhow::bail;
use refold_domain::receipt::Position;
use refold_projections::query::{QueryError, Reached};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How many are answered at most, and unless told otherwise.
pub const FREQUENT_MAX: u32 = 100_000;

/// A view that counts by one text.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// The view's name.
    pub view: &'static str,
    /// The field by which it counts.
    pub by: &'static str,
}

/// The most frequent texts of a view.
#[derive(Debug)]
pub struct MostFrequent {
    /// Each with its count: the most frequent first, those that are equally frequent by name.
    pub counts: Vec<(String, u64)>,
    /// How far the view had come.
    pub position: Position,
    /// A `Link` to all of them, if there are more.
    pub all: Option<String>,
}

impl Counted {
    /// Reads the most frequent texts, `limit` of them or [`FREQUENT_MAX`], after what was `reached`.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn most_frequent(
        self,
        service: &Service,
        limit: Option<u32>,
        reached: Reached,
    ) -> Result<MostFrequent, QueryError> {
        let mut most = Most::new(limit.unwrap_or(FREQUENT_MAX));
        let add = |row: Value| {
            let (Some(text), Some(count)) = (row[self.by].as_str(), row["count"].as_u64()) else {
                bail!("a row of the view {} is no count by {}: {row}", self.view, self.by);
            };
            most.add(text, count);
            Ok(())
        };
        let position = service.every(self.view, reached, add).await?;
        let all = most.is_cut.then(|| format!("</views/{}>; rel=\"collection\"", self.view));
        Ok(MostFrequent { counts: most.in_order(), position, all })
    }
}

/// The most frequent of all that are added, and no more of them than were asked for.
struct Most {
    limit: usize,
    /// The least frequent one is on top.
    kept: BinaryHeap<(Reverse<u64>, String)>,
    is_cut: bool,
}

impl Most {
    fn new(limit: u32) -> Self {
        Self { limit: limit as usize, kept: BinaryHeap::new(), is_cut: false }
    }

    fn add(&mut self, text: &str, count: u64) {
        self.kept.push((Reverse(count), text.to_owned()));
        if self.kept.len() > self.limit {
            self.kept.pop();
            self.is_cut = true;
        }
    }

    fn in_order(self) -> Vec<(String, u64)> {
        let kept = self.kept.into_sorted_vec().into_iter();
        kept.map(|(Reverse(count), text)| (text, count)).collect()
    }
}
