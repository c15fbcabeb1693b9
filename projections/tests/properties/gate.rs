//! The gate judges as the naive model does, whatever batches the log comes in.

use crate::driver::{Driver, dump, projections};
use crate::logs::{GENESIS, KEYS_REMEMBERED, PLACE, Sent, genesis, log};
use crate::model::Model;
use crate::naive::VIEWS;
use crate::{block_on, cases};
use async_trait::async_trait;
use proptest::prelude::*;
use refold_domain::rule::{self, Rule};
use refold_projections::batch::refused_key;
use refold_projections::definition;
use refold_projections::gate::{Duplicate, Void};
use refold_projections::progress::Progress;
use refold_projections::query::{self, Request};
use refold_projections::state::{Head, StreamEntry, Verdict, WriterEntry};
use refold_projections::store::{
    Blob, Flush, Flushed, Limit, Loaded, MemoryStore, Range, Scanned, Store, Wanted,
};
use refold_projections::view::Query;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// How a log is cut into batches, and with which of them old keys are swept.
fn split() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((1usize..12, any::<bool>()), 1..20)
}

/// What a run came to.
struct Run {
    head: Head,
    held: BTreeMap<String, BTreeMap<Blob, Blob>>,
    verdicts: Vec<(Uuid, u64, Vec<Verdict>)>,
    views: BTreeMap<String, Vec<serde_json::Value>>,
}

async fn run(log: &[Sent], split: &[(usize, bool)]) -> Run {
    rule::remember_keys(KEYS_REMEMBERED);
    let store = MemoryStore::default();
    let projections = projections(definition::defaults());
    let genesis = (GENESIS, genesis(PLACE));
    let mut driver = Driver::start(PLACE, (genesis.0, &genesis.1), &store, &projections).await;
    let records: Vec<_> = log.iter().map(|sent| (sent.offset, sent.bytes.clone().into())).collect();
    driver.fold_in(&records, split).await;
    let news = std::mem::take(&mut driver.news).into_iter();
    let mut views = BTreeMap::new();
    for projection in &projections {
        let request = Request { query: Query::default(), cursor: None, limit: Limit::entries(usize::MAX) };
        // The other partitions have no state; this one is looked at alone.
        let progress = Progress::new(PLACE.log, 1);
        let alone = Alone(&store);
        let page =
            query::page(&alone, &progress, projection, &request, &query::Reached::default()).await.unwrap();
        views.insert(projection.definition.name.clone(), page.data);
    }
    Run {
        head: driver.head.clone(),
        held: dump(&store, PLACE.partition, &projections).await,
        verdicts: news.map(|it| (it.writer, it.seq, it.verdicts.to_vec())).collect(),
        views,
    }
}

/// Shows the judged partition as a log's only one.
struct Alone<'s>(&'s MemoryStore);

#[async_trait]
impl Store for Alone<'_> {
    async fn load(&self, _: u32, wanted: Wanted) -> anyhow::Result<Loaded> {
        self.0.load(PLACE.partition, wanted).await
    }

    async fn scan(&self, _: u32, range: Range) -> anyhow::Result<Scanned> {
        self.0.scan(PLACE.partition, range).await
    }

    async fn flush(&self, _: u32, flush: Arc<Flush>) -> anyhow::Result<Flushed> {
        self.0.flush(PLACE.partition, flush).await
    }

    async fn catalogue(&self) -> anyhow::Result<Option<Blob>> {
        self.0.catalogue().await
    }

    async fn reset(&self, catalogue: Blob) -> anyhow::Result<()> {
        self.0.reset(catalogue).await
    }
}

impl Run {
    fn space<T: DeserializeOwned>(&self, space: &str) -> BTreeMap<Blob, T> {
        let parse = |(key, value): (&Blob, &Blob)| (key.clone(), serde_json::from_slice(value).unwrap());
        self.held[space].iter().map(parse).collect()
    }

    fn streams(&self) -> BTreeMap<String, StreamEntry> {
        let mut streams = self.space::<StreamEntry>("streams");
        streams.retain(|_, entry| entry.is_remembered(self.head.keys));
        streams.into_iter().map(|(key, entry)| (String::from_utf8(key).unwrap(), entry)).collect()
    }

    fn writers(&self) -> BTreeMap<Uuid, WriterEntry> {
        let writers = self.space("writers").into_iter();
        writers.map(|(key, entry)| (Uuid::from_slice(&key).unwrap(), entry)).collect()
    }

    /// The reasons under keys of one length: an offset alone, or with a command's place.
    fn voids<T: DeserializeOwned>(&self, length: usize) -> BTreeMap<Blob, T> {
        let of_length = self.held["voids"].iter().filter(|(key, _)| key.len() == length);
        of_length.map(|(key, value)| (key.clone(), serde_json::from_slice(value).unwrap())).collect()
    }
}

fn command_place((offset, command): &(u64, u32)) -> Blob {
    [offset.to_be_bytes().as_slice(), command.to_be_bytes().as_slice()].concat()
}

fn agree(run: &Run, model: &Model, log: &[Sent]) -> Result<(), TestCaseError> {
    prop_assert_eq!(&run.verdicts, &model.verdicts);
    prop_assert_eq!(run.head.seen, model.seen);
    prop_assert_eq!(run.head.keys, model.keys());
    prop_assert_eq!(run.head.position.offset, log.last().map_or(GENESIS, |sent| sent.offset));
    prop_assert_eq!(run.streams(), model.streams());
    prop_assert_eq!(run.writers(), model.writers());
    let duplicates = model.duplicates.iter().map(|(offset, it)| (offset.to_be_bytes().to_vec(), *it));
    prop_assert_eq!(run.voids::<Duplicate>(8), duplicates.collect());
    let voids = model.voids.iter().map(|(place, it)| (command_place(place), it.clone()));
    prop_assert_eq!(run.voids::<Void>(12), voids.collect());
    let refused = model.verdicts.iter().flat_map(|(writer, seq, verdicts)| {
        let void = (0..).zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Void);
        void.map(|(command, _)| refused_key(*writer, *seq, command))
    });
    let mut refused: Vec<_> = refused.collect();
    refused.sort();
    prop_assert_eq!(run.held["refused"].keys().cloned().collect::<Vec<_>>(), refused);
    for view in VIEWS {
        if let Some(answer) = run.views.get(view.name) {
            prop_assert_eq!(answer, &view.answer(&model.events, &Query::default()), "{}", view.name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_gate_judges_as_the_naive_model_does(log in log(), split in split()) {
        let mut model = Model::new(PLACE, KEYS_REMEMBERED);
        log.iter().for_each(|sent| model.pass(sent));
        agree(&block_on(run(&log, &split)), &model, &log)?;
    }

    #[test]
    fn the_split_into_batches_changes_nothing(log in log(), split in split()) {
        let unswept: Vec<_> = split.iter().map(|(size, _)| (*size, false)).collect();
        let one = block_on(run(&log, &[(usize::MAX, false)]));
        let other = block_on(run(&log, &unswept));
        prop_assert_eq!(one.held, other.held);
        prop_assert_eq!(one.verdicts, other.verdicts);
        prop_assert_eq!((one.head.seen, one.head.keys), (other.head.seen, other.head.keys));
    }
}

/// Logs to look at without a search.
fn some_logs(count: u32) -> impl Iterator<Item = Vec<Sent>> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(move |_| log().new_tree(&mut runner).unwrap().current())
}

#[test]
fn a_rule_switched_off_is_noticed() {
    for rule in [Rule::DuplicatesAreVoid, Rule::LateIsVoid, Rule::GuardsMustHold, Rule::OldKeysAreAbsent] {
        let off = rule::switch_off(rule);
        let notices = |log: Vec<Sent>| {
            let mut model = Model::new(PLACE, KEYS_REMEMBERED);
            log.iter().for_each(|sent| model.pass(sent));
            agree(&block_on(run(&log, &[(3, true)])), &model, &log).is_err()
        };
        assert!(some_logs(200).any(notices), "{rule:?}");
        drop(off);
    }
}

/// The generator is worth something only if all that it is meant to make does come up.
#[test]
fn the_random_logs_hold_everything() {
    let mut found = BTreeMap::<String, u32>::new();
    for log in some_logs(200) {
        let mut model = Model::new(PLACE, KEYS_REMEMBERED);
        log.iter().for_each(|sent| model.pass(sent));
        let voids = model.voids.values().map(|void| match void {
            Void::Guard { .. } => "guard".to_owned(),
            other => format!("{other:?}"),
        });
        let duplicates = model.duplicates.values().map(|it| format!("{it:?}"));
        let seen = model.seen;
        let tallies =
            [("gaps", seen.gaps), ("foreign", seen.foreign), ("unreadable", seen.unreadable)].into_iter();
        let tallies = tallies.filter(|(_, count)| *count > 0).map(|(name, _)| name.to_owned());
        let is_forgotten = model.keys() > KEYS_REMEMBERED;
        let forgotten = is_forgotten.then(|| "forgotten".to_owned());
        for name in voids.chain(duplicates).chain(tallies).chain(forgotten) {
            *found.entry(name).or_default() += 1;
        }
    }
    for wanted in [
        "guard",
        "Malformed",
        "Misrouted",
        "Repeated",
        "Fork",
        "Late",
        "gaps",
        "foreign",
        "unreadable",
        "forgotten",
    ] {
        assert!(found.get(wanted).is_some_and(|count| *count >= 20), "{wanted}: {found:?}");
    }
}
