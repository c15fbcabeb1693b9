//! Stats, series and what is made of the objects in arrays: any split into batches and partitions comes to the naive
//! answer, in every store, and to the same bytes.

use crate::driver::{Driver, dump, projections};
use crate::logs::{Event, LOG, Reads, encode, event_of, genesis, introduction, purchase_of};
use crate::model::Happened;
use crate::naive_numbers::{Shape, VIEWS, View};
use crate::views::{Plan, commits, happened};
use crate::{block_on, cases, redis};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use refold_domain::stream;
use refold_projections::catalogue::Projection;
use refold_projections::definition::Definition;
use refold_projections::gate::Place;
use refold_projections::progress::Progress;
use refold_projections::query::{self, QueryError, Reached, Request};
use refold_projections::store::{Blob, Limit, MemoryStore, SqliteStore, Store};
use refold_projections::view::Query;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

const PARTITIONS: u32 = 3;
const FLAVOURS: [&str; 3] = ["banana", "lemon", "vanilla"];

fn plan() -> impl Strategy<Value = Plan> {
    let seconds = prop_oneof![-30_000i128..30_000, -200i128..200];
    (event(), 0..PARTITIONS, any::<bool>(), 1u128..3, seconds).prop_map(
        |(event, partition, fresh, writer, seconds)| {
            let key = event.key.as_deref().filter(|_| event.kind.starts_with("introduction"));
            let partition =
                key.map_or(partition, |key| stream::partition(&format!("intro:{key}"), PARTITIONS));
            Plan { event, partition, fresh, writer, nanos: seconds * 1_000_000_000 }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let food = Just(event_of("food.observed", None, r#"{"food":"pie"}"#.into(), Reads::Always));
    let emails = [None, Some("a@example.org"), Some("b@example.org")];
    let introduction =
        (0u8..4, prop::sample::select(emails.to_vec()), 0u64..1_000_000).prop_map(|(key, email, version)| {
            introduction(&key.to_string(), "introduction.introduced", email, version)
        });
    let quantity = prop_oneof![1u32..5, 800u32..=1_000_000];
    let price = prop_oneof![1u32..=300, 1u32..=1_000_000_000];
    let scoop =
        (prop::sample::select(&FLAVOURS[..]), quantity, price).prop_map(|(flavour, quantity, price)| {
            format!(r#"{{"type":"{flavour}","quantity":{quantity},"price":{price}}}"#)
        });
    let seconds = prop_oneof![-30_000i64..30_000, -10_000_000i64..10_000_000];
    let purchase = (0u8..2, seconds, prop::collection::vec(scoop, 0..4))
        .prop_map(|(shop, seconds, scoops)| purchase_of(shop, seconds * 1_000_000, &scoops.join(",")));
    prop_oneof![1 => food, 1 => introduction, 3 => purchase]
}

/// The events, folded into a store of so many partitions.
struct Folded<'s> {
    store: &'s dyn Store,
    partitions: u32,
    projections: Vec<Projection>,
    events: Vec<Happened>,
}

async fn fold<'s>(store: &'s dyn Store, partitions: u32, plans: &[Plan], sizes: &[usize]) -> Folded<'s> {
    let definition = |view: &View| Definition::parse("test", view.name, &view.definition()).unwrap();
    let projections = projections(VIEWS.iter().map(definition).collect());
    let mut events = Vec::new();
    for partition in 0..partitions {
        let place = Place { log: LOG, partitions, partition };
        let commits = commits(plans.iter().filter(|plan| plan.partition % partitions == partition));
        events.extend(happened(partition, &commits));
        let genesis = genesis(place);
        let mut driver = Driver::start(place, (0, &genesis), store, &projections).await;
        let records: Vec<_> =
            (1..).zip(commits).map(|(offset, it)| (offset, encode(LOG, &it).into())).collect();
        let split: Vec<_> = sizes.iter().map(|size| (*size, false)).collect();
        driver.fold_in(&records, &split).await;
    }
    Folded { store, partitions, projections, events }
}

impl Folded<'_> {
    async fn page(&self, at: usize, request: &Request) -> Result<query::Page, QueryError> {
        let progress = Progress::new(LOG, self.partitions);
        query::page(self.store, &progress, &self.projections[at], request, &Reached::default()).await
    }

    async fn answer(&self, at: usize, query: &Query) -> Vec<Json> {
        self.in_pages(at, query, Limit::entries(usize::MAX)).await
    }

    async fn in_pages(&self, at: usize, query: &Query, limit: Limit) -> Vec<Json> {
        let mut request = Request { query: query.clone(), cursor: None, limit };
        let mut pages = Vec::new();
        loop {
            let page = self.page(at, &request).await.unwrap();
            let is_full =
                page.data.len() == limit.entries || (limit.bytes < usize::MAX && !page.data.is_empty());
            assert!(page.data.len() <= limit.entries && (is_full || page.next.is_none()));
            pages.extend(page.data);
            request.cursor = page.next;
            if request.cursor.is_none() {
                return pages;
            }
        }
    }

    async fn views(&self, partition: u32) -> BTreeMap<String, BTreeMap<Blob, Blob>> {
        let mut held = dump(self.store, partition, &self.projections).await;
        held.retain(|space, _| space.starts_with("view/"));
        held
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn any_split_comes_to_the_naive_answer_in_every_store(
        plans in prop::collection::vec(plan(), 0..60),
        sizes in prop::collection::vec(1usize..9, 1..9),
        limit in 1usize..7,
        bytes in prop_oneof![0usize..2_000, Just(usize::MAX)],
    ) {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (memory, sqlite) = (MemoryStore::default(), SqliteStore::open(dir.path()).unwrap());
            let redis = redis::store().await;
            for store in [&memory as &dyn Store, &sqlite, &redis] {
                let folded = fold(store, PARTITIONS, &plans, &sizes).await;
                for (at, view) in VIEWS.iter().enumerate() {
                    let answer = folded.answer(at, &Query::default()).await;
                    let groups = view.groups(&folded.events);
                    prop_assert_eq!(answer.len(), groups.len(), "{}", view.name);
                    for (cell, (group, numbers)) in answer.iter().zip(&groups) {
                        prop_assert!(view.is_told(cell, group, numbers), "{}: {cell} for {group:?} {numbers:?}", view.name);
                    }
                    prop_assert_eq!(folded.in_pages(at, &Query::default(), Limit { entries: limit, bytes }).await, answer, "{}", view.name);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_split_leaves_the_same_bytes(
        mut plans in prop::collection::vec(plan(), 0..60),
        sizes in prop::collection::vec(1usize..9, 1..9),
    ) {
        // An event's time is that of its commit: with commits of their own, it does not depend on the partition.
        plans.iter_mut().for_each(|plan| plan.fresh = true);
        block_on(async {
            let (one, other, single) = (MemoryStore::default(), MemoryStore::default(), MemoryStore::default());
            let split = fold(&one, PARTITIONS, &plans, &sizes).await;
            let at_once = fold(&other, PARTITIONS, &plans, &[usize::MAX]).await;
            for partition in 0..PARTITIONS {
                prop_assert_eq!(split.views(partition).await, at_once.views(partition).await);
            }
            let alone = fold(&single, 1, &plans, &sizes).await;
            for (at, view) in VIEWS.iter().enumerate() {
                // Fractions and quantiles, too: what they are made of is exact.
                let whole = Query::default();
                prop_assert_eq!(split.answer(at, &whole).await, alone.answer(at, &whole).await, "{}", view.name);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_line_is_selected_by_its_fields_and_times_and_filled_with_zeros(
        plans in prop::collection::vec(plan(), 0..60),
        flavour in 0..FLAVOURS.len(),
        from in prop::option::of(-30_000i64..30_000),
        length in prop::option::of(1i64..60_000),
        limit in 1usize..50,
        bytes in prop_oneof![0usize..500, Just(usize::MAX)],
    ) {
        block_on(async {
            let store = MemoryStore::default();
            let folded = fold(&store, PARTITIONS, &plans, &[5]).await;
            for (at, view) in VIEWS.iter().enumerate() {
                let Shape::Series(_, step, _) = view.shape else { continue };
                let value = |field: &str| if field == "type" { FLAVOURS[flavour] } else { "shop 1" };
                let by: BTreeMap<_, _> = view.by.iter().map(|it| ((*it).to_owned(), value(it).to_owned())).collect();
                let time = |seconds| Timestamp::from_second(seconds).unwrap();
                let until = length.map(|length| time(from.unwrap_or(-9_000) + length));
                let query = Query { by, from: from.map(time), until, ..Query::default() };
                let groups = view.groups(&folded.events).into_iter().filter_map(|(mut group, numbers)| {
                    let start: Timestamp = group.pop()??.parse().ok()?;
                    let is_line = view.by.iter().zip(&group).all(|(field, it)| it.as_deref() == Some(value(field)));
                    let is_within = query.from.is_none_or(|from| start >= from) && query.until.is_none_or(|until| start < until);
                    (is_line && is_within).then(|| (start, numbers.iter().sum::<u64>()))
                });
                let mut expected: BTreeMap<Timestamp, u64> = groups.collect();
                let told = |expected: &BTreeMap<Timestamp, u64>| {
                    expected.iter().map(|(start, sum)| (start.to_string(), *sum)).collect::<Vec<_>>()
                };
                prop_assert_eq!(shown(&folded.answer(at, &query).await), told(&expected), "{}", view.name);

                fill(&mut expected, step, query.from, query.until);
                let filled = Query { fill: true, ..query };
                prop_assert_eq!(shown(&folded.answer(at, &filled).await), told(&expected), "{}", view.name);
                prop_assert_eq!(shown(&folded.in_pages(at, &filled, Limit { entries: limit, bytes }).await), told(&expected), "{}", view.name);
            }
            Ok(())
        })?;
    }
}

fn shown(cells: &[Json]) -> Vec<(String, u64)> {
    let cell = |cell: &Json| (cell["from"].as_str().unwrap().to_owned(), cell["value"].as_u64().unwrap());
    cells.iter().map(cell).collect()
}

/// Zeros for every minute at which a step of this many characters begins and nothing is said.
fn fill(
    steps: &mut BTreeMap<Timestamp, u64>,
    chars: usize,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) {
    let last = steps.last_key_value().map(|(last, _)| *last + 1.second());
    let first = steps.first_key_value().map(|(first, _)| *first);
    let (Some(from), Some(until)) = (from.or(first), until.or(last)) else { return };
    let mut minute = Timestamp::from_second(from.as_second().div_euclid(60) * 60).unwrap();
    while minute < until {
        let rest = &"-01T00:00:00Z"[chars - 7..];
        if minute >= from && minute.to_string().ends_with(rest) {
            steps.entry(minute).or_insert(0);
        }
        minute += 1.minute();
    }
}

fn place_of(name: &str) -> usize {
    VIEWS.iter().position(|view| view.name == name).unwrap()
}

#[test]
fn what_a_series_and_stats_refuse() {
    block_on(async {
        let store = MemoryStore::default();
        let folded = fold(&store, PARTITIONS, &[], &[1]).await;
        let noon = Some(Timestamp::UNIX_EPOCH);
        let flavour = BTreeMap::from([("type".to_owned(), "lemon".to_owned())]);
        for (view, query, told) in [
            (
                "prices",
                Query { from: noon, ..Query::default() },
                "from: can be given only for a view of rows or a series",
            ),
            ("prices", Query { fill: true, ..Query::default() }, "fill: can be given only for a series"),
            (
                "hours",
                Query { until: noon, ..Query::default() },
                "until: can be given only together with shop_id",
            ),
            (
                "scoops_by_day",
                Query { fill: true, ..Query::default() },
                "fill: can be given only together with shop_id, type",
            ),
            (
                "scoops_by_day",
                Query { by: flavour.clone(), ..Query::default() },
                "type: can be given only together with shop_id",
            ),
            (
                "minutes",
                Query { by: flavour, ..Query::default() },
                "type: unknown key field \"type\": there is none",
            ),
        ] {
            let request = Request { query, cursor: None, limit: Limit::entries(1) };
            match folded.page(place_of(view), &request).await {
                Err(error @ QueryError::Bad(_)) => assert!(error.to_string().starts_with(told), "{error}"),
                other => panic!("{view}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_page_of_zeros_is_as_long_as_asked_and_no_longer() {
    block_on(async {
        let store = MemoryStore::default();
        let folded = fold(&store, PARTITIONS, &[], &[1]).await;
        let time = |text: &str| Some(text.parse().unwrap());
        let query = Query {
            from: time("0000-01-01T00:00:30Z"),
            until: time("9999-12-30T00:00:00Z"),
            fill: true,
            ..Query::default()
        };
        let minutes = place_of("minutes");
        let mut request = Request { query, cursor: None, limit: Limit::entries(1_000) };
        let page = folded.page(minutes, &request).await.unwrap();
        assert_eq!(
            (page.data.len(), &page.data[0]),
            (1_000, &json!({"from": "0000-01-01T00:01:00Z", "value": 0}))
        );
        request.cursor = page.next;
        let next = folded.page(minutes, &request).await.unwrap();
        assert_eq!(next.data[0], json!({"from": "0000-01-01T16:41:00Z", "value": 0}));
        request.query.from = time("9999-12-29T23:58:00Z");
        request.cursor = None;
        let last = folded.page(minutes, &request).await.unwrap();
        assert_eq!((last.data.len(), last.next), (2, None));
    });
}
