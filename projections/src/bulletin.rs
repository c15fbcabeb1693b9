//! What a flush has brought, in the form in which processes on one store tell each other.
//!
//! A bulletin is a hint: it may be lost, or come late. Whoever has missed one knows of fewer commits how they were judged, and
//! looks those up in the store.

use crate::batch::News;
use crate::state::{Epoch, Head, Mark, Seen, Verdict};
use refold_domain::log::Offset;
use refold_domain::rule::{self, Rule};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many commands' verdicts one bulletin has at most; where a flush has judged more, whoever waits for one of them looks
/// at the store.
const COMMANDS_MAX: usize = 8_192;

/// What a flush has brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bulletin {
    epoch: Epoch,
    /// Where the store stood before.
    from: Offset,
    position: Mark,
    keys: u64,
    swept: u64,
    seen: Seen,
    /// Each admitted commit; `None` where there were too many.
    news: Option<Vec<Judged>>,
}

/// A commit's writer and number, and a letter for each of its commands.
type Judged = (Uuid, u64, String);

impl Bulletin {
    /// What a flush has brought that led to `head` from where the store stood before.
    pub fn new(from: Offset, head: &Head, news: &[News]) -> Self {
        let commands: usize = news.iter().map(|commit| commit.verdicts.len()).sum();
        let news = (commands <= COMMANDS_MAX).then(|| news.iter().map(judged).collect());
        let Head { epoch, position, keys, swept, seen, .. } = *head;
        Self { epoch, from, position, keys, swept, seen, news }
    }

    /// Whether it tells of the same live set, so that nothing but what it has is new.
    pub fn is_of(&self, head: &Head) -> bool {
        self.epoch == head.epoch
    }

    /// What the store holds after it, if that is more than `head`; and what was judged since then, if it says all of that.
    pub fn after(&self, head: &Head) -> Option<(Head, Option<Vec<News>>)> {
        if !self.is_of(head) || self.position.offset <= head.position.offset {
            return None;
        }
        let Self { position, keys, swept, seen, .. } = *self;
        let is_next = self.from <= head.position.offset || !rule::holds(Rule::MissedVerdictsAreLookedUp);
        let news = self.news.as_ref().filter(|_| is_next).and_then(|news| news.iter().map(read).collect());
        Some((Head { position, keys, swept, seen, ..head.clone() }, news))
    }
}

fn judged(News { writer, seq, verdicts }: &News) -> Judged {
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Accepted => 'a',
        Verdict::Void => 'v',
        Verdict::Lost => 'l',
    };
    (*writer, *seq, verdicts.iter().map(letter).collect())
}

fn read((writer, seq, letters): &Judged) -> Option<News> {
    let verdict = |letter| match letter {
        'a' => Some(Verdict::Accepted),
        'v' => Some(Verdict::Void),
        'l' => Some(Verdict::Lost),
        _ => None,
    };
    let verdicts = letters.chars().map(verdict).collect::<Option<_>>()?;
    Some(News { writer: *writer, seq: *seq, verdicts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use refold_domain::hash::Hash;

    fn head(offset: u64) -> Head {
        let at = |offset| Mark { offset, hash: Hash(offset) };
        Head { position: at(offset), ..Head::first(Uuid::nil(), at(0), 0, [].into()) }
    }

    fn commit(seq: u64, commands: usize) -> News {
        let verdicts = [Verdict::Accepted, Verdict::Void, Verdict::Lost];
        News { writer: Uuid::max(), seq, verdicts: verdicts.into_iter().cycle().take(commands).collect() }
    }

    fn sent(bulletin: &Bulletin) -> Bulletin {
        serde_json::from_slice(&serde_json::to_vec(bulletin).unwrap()).unwrap()
    }

    #[test]
    fn whoever_stands_farther_back_knows_all_of_it() {
        let before = head(3);
        let seen = Seen { accepted: 4, ..Seen::default() };
        let after = Head { keys: 7, swept: 2, seen, position: head(9).position, ..before.clone() };
        let news = vec![commit(1, 5), commit(2, 0)];
        let bulletin = sent(&Bulletin::new(3, &after, &news));
        assert_eq!(bulletin.after(&before), Some((after.clone(), Some(news))));
        assert_eq!(bulletin.after(&after), None);
        assert!(bulletin.is_of(&after));
    }

    #[test]
    fn whoever_has_missed_one_does_not_know_all_of_it() {
        let before = head(3);
        let after = Head { position: head(9).position, ..before.clone() };
        let bulletin = sent(&Bulletin::new(5, &after, &[commit(1, 5)]));
        assert_eq!(bulletin.after(&before), Some((after.clone(), None)));
        // Somebody who has looked at the store meanwhile knows more, and no less.
        let between = Head { position: head(7).position, ..before };
        assert_eq!(bulletin.after(&between), Some((after, Some(vec![commit(1, 5)]))));
    }

    #[test]
    fn another_live_set_must_be_looked_at() {
        let bulletin = Bulletin::new(3, &head(9), &[]);
        assert!(!bulletin.is_of(&head(3)));
        assert_eq!(bulletin.after(&head(3)), None);
    }

    #[test]
    fn more_verdicts_than_it_may_have_are_left_out() {
        let before = head(3);
        let after = Head { position: head(9).position, ..before.clone() };
        let bulletin = sent(&Bulletin::new(3, &after, &[commit(1, COMMANDS_MAX), commit(2, 1)]));
        assert_eq!(bulletin.after(&before), Some((after, None)));
    }
}
