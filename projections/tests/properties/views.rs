//! Views answer as the naive ones do, however their events are split into batches, partitions and pages.

use crate::driver::{Driver, projections};
use crate::logs::{Command, Commit, Event, LOG, Reads, encode, event_of, genesis, introduction, purchase};
use crate::model::Happened;
use crate::naive::{Shape, VIEWS, View};
use crate::{block_on, cases, redis};
use jiff::Timestamp;
use proptest::prelude::*;
use refold_domain::receipt::{EventId, Receipt};
use refold_domain::stream;
use refold_projections::catalogue::Projection;
use refold_projections::definition::Definition;
use refold_projections::gate::Place;
use refold_projections::progress::Progress;
use refold_projections::query::{self, QueryError, Request};
use refold_projections::store::{Limit, MemoryStore, Store};
use refold_projections::view::Query;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use uuid::Uuid;

const PARTITIONS: u32 = 3;
const FOODS: [&str; 5] = ["pie", "pi", "p\\u0000ie", "p", "\u{10ffff}"];

/// An event, and where it comes to stand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) event: Event,
    pub(crate) partition: u32,
    /// Whether a new commit begins with it, of this writer and time.
    pub(crate) fresh: bool,
    pub(crate) writer: u128,
    pub(crate) nanos: i128,
}

fn plan() -> impl Strategy<Value = Plan> {
    // Few times, so that there are ties, some of them told apart by less than a key can tell.
    let nanos = (-3i128..4, 0i128..3).prop_map(|(seconds, nanos)| seconds * 1_000_000_000 + nanos * 400);
    (event(), 0..PARTITIONS, any::<bool>(), 1u128..3, nanos).prop_map(
        |(event, partition, fresh, writer, nanos)| {
            let by_key = event.kind.starts_with("introduction");
            let key = by_key.then(|| event.key.as_deref().unwrap_or_default());
            let partition =
                key.map_or(partition, |key| stream::partition(&format!("intro:{key}"), PARTITIONS));
            Plan { event, partition, fresh, writer, nanos }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let food = prop::sample::select(&FOODS[..])
        .prop_map(|food| event_of("food.observed", None, format!(r#"{{"food":"{food}"}}"#), Reads::Always));
    let kinds = ["introduction.introduced", "introduction.revised", "introduction.withdrawn"];
    let emails = [None, Some("a@example.org"), Some("b@example.org")];
    let introduction =
        (0u8..4, prop::sample::select(kinds.to_vec()), prop::sample::select(emails.to_vec()), 0u64..3)
            .prop_map(|(key, kind, email, version)| introduction(&key.to_string(), kind, email, version));
    let purchase = (0u8..3, -3i64..4).prop_map(|(shop, seconds)| purchase(shop, seconds * 1_000_000));
    prop_oneof![food, introduction, purchase]
}

/// The events, folded into a store of several partitions.
struct Folded {
    store: Box<dyn Store>,
    projections: Vec<Projection>,
    events: Vec<Happened>,
}

/// On Redis for one of two.
async fn fold(plans: &[Plan], sizes: &[usize]) -> Folded {
    let definition = |view: &View| Definition::parse("test", view.name, &view.definition()).unwrap();
    let projections = projections(VIEWS.iter().map(definition).collect());
    let store: Box<dyn Store> = if plans.len().is_multiple_of(2) {
        Box::new(MemoryStore::default())
    } else {
        Box::new(redis::store().await)
    };
    let mut events = Vec::new();
    for partition in 0..PARTITIONS {
        let place = Place { log: LOG, partitions: PARTITIONS, partition };
        let mut commits = commits(plans.iter().filter(|plan| plan.partition == partition));
        events.extend(happened(partition, &commits));
        let genesis = genesis(place);
        let mut driver = Driver::start(place, (0, &genesis), store.as_ref(), &projections).await;
        let records: Vec<_> =
            (1..).zip(commits.drain(..)).map(|(offset, it)| (offset, encode(LOG, &it).into())).collect();
        let split: Vec<_> = sizes.iter().map(|size| (*size, false)).collect();
        driver.fold_in(&records, &split).await;
    }
    Folded { store, projections, events }
}

pub(crate) fn commits<'p>(plans: impl Iterator<Item = &'p Plan>) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    let mut last = BTreeMap::<_, u64>::new();
    for plan in plans {
        let command = Command { guards: vec![], hash: None, events: vec![plan.event.clone()] };
        match commits.last_mut().filter(|_| !plan.fresh) {
            // Into the last command or into one of its own, so that both numbers come up.
            Some(commit) if plan.nanos % 2 == 0 => commit.commands.push(command),
            Some(commit) => commit.commands.last_mut().unwrap().events.extend(command.events),
            None => {
                let writer = Uuid::from_u128(plan.writer);
                let seq = last.entry(writer).or_default();
                *seq += 1;
                let time = Timestamp::from_nanosecond(plan.nanos).unwrap();
                commits.push(Commit { writer, seq: *seq, time, commands: vec![command] });
            }
        }
    }
    commits
}

pub(crate) fn happened(partition: u32, commits: &[Commit]) -> Vec<Happened> {
    let mut events = Vec::new();
    for Commit { writer, seq, time, commands } in commits {
        for (command, told) in (0..).zip(commands) {
            let receipt = Receipt { partition, writer: *writer, seq: *seq, command };
            let happened = |(index, event): (u32, &Event)| Happened {
                id: EventId { receipt, index },
                time: *time,
                event: event.clone(),
            };
            events.extend((0..).zip(&told.events).map(happened));
        }
    }
    events
}

impl Folded {
    async fn page(&self, at: usize, request: &Request) -> Result<query::Page, QueryError> {
        query::page(
            self.store.as_ref(),
            &progress(),
            &self.projections[at],
            request,
            &query::Reached::default(),
        )
        .await
    }

    async fn answer(&self, at: usize, query: &Query) -> Vec<Json> {
        let request = Request { query: query.clone(), cursor: None, limit: Limit::entries(usize::MAX) };
        let page = self.page(at, &request).await.unwrap();
        assert_eq!(page.next, None);
        page.data
    }
}

fn progress() -> Progress {
    Progress::new(LOG, PARTITIONS)
}

/// What is asked: values for the first key fields, and times.
#[derive(Debug, Clone)]
struct Question {
    fields: usize,
    values: Vec<usize>,
    from: Option<i64>,
    until: Option<i64>,
    oldest_first: bool,
}

fn question() -> impl Strategy<Value = Question> {
    let second = || prop::option::of(-3i64..4);
    (0usize..3, prop::collection::vec(0usize..9, 2), second(), second(), any::<bool>()).prop_map(
        |(fields, values, from, until, oldest_first)| Question { fields, values, from, until, oldest_first },
    )
}

impl Question {
    fn of(&self, view: &View) -> Query {
        let own_key = matches!(view.shape, Shape::Latest(_)) && view.by.is_empty();
        let fields = if own_key { &["key"][..] } else { view.by };
        let by = fields.iter().zip(&self.values).take(self.fields);
        let by: BTreeMap<_, _> =
            by.map(|(field, value)| ((*field).to_owned(), asked(field, *value))).collect();
        let has_times = matches!(view.shape, Shape::Rows(_)) && by.len() == fields.len();
        let time = |seconds: Option<i64>| {
            seconds.filter(|_| has_times).map(|seconds| Timestamp::from_second(seconds).unwrap())
        };
        let (from, until) = (time(self.from), time(self.until));
        let oldest_first = self.oldest_first && matches!(view.shape, Shape::Rows(_));
        Query { by, from, until, oldest_first, fill: false }
    }
}

fn asked(field: &str, value: usize) -> String {
    let small = i64::try_from(value % 7).unwrap();
    match field {
        "food" => {
            FOODS.get(value).map_or("nothing", |food| if *food == FOODS[2] { "p\0ie" } else { food }).into()
        }
        "email" => ["a@example.org", "b@example.org", "c@example.org"][value % 3].into(),
        "version" => (value % 4).to_string(),
        "shop_id" => format!("shop {}", value % 4),
        "timestamp" => Timestamp::from_second(small - 3).unwrap().to_string(),
        _ => (value % 5).to_string(),
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn any_split_merges_to_the_naive_answer(
        plans in prop::collection::vec(plan(), 0..60),
        sizes in prop::collection::vec(1usize..9, 1..9),
        questions in prop::collection::vec(question(), 4),
    ) {
        block_on(async {
            let folded = fold(&plans, &sizes).await;
            for (at, view) in VIEWS.iter().enumerate() {
                let whole = folded.answer(at, &Query::default()).await;
                prop_assert_eq!(whole, view.answer(&folded.events, &Query::default()), "{}", view.name);
                for question in &questions {
                    let query = question.of(view);
                    let answer = folded.answer(at, &query).await;
                    prop_assert_eq!(answer, view.answer(&folded.events, &query), "{}: {:?}", view.name, query);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn pages_put_together_are_the_whole(
        plans in prop::collection::vec(plan(), 0..40),
        limit in 1usize..9,
        bytes in prop_oneof![0usize..2_000, Just(usize::MAX)],
        question in question(),
    ) {
        block_on(async {
            let folded = fold(&plans, &[usize::MAX]).await;
            for (at, view) in VIEWS.iter().enumerate() {
                let query = question.of(view);
                let whole = folded.answer(at, &query).await;
                let mut request = Request { query, cursor: None, limit: Limit { entries: limit, bytes } };
                let mut pages = Vec::new();
                loop {
                    let page = folded.page(at, &request).await.unwrap();
                    let is_full = page.data.len() == limit || (bytes < usize::MAX && !page.data.is_empty());
                    prop_assert!(page.data.len() <= limit && (is_full || page.next.is_none()));
                    let is_last = page.next.is_none();
                    pages.extend(page.data);
                    prop_assert!(is_last == (pages.len() == whole.len()), "no page comes after the last cell");
                    request.cursor = page.next;
                    if is_last {
                        break;
                    }
                }
                prop_assert_eq!(pages, whole, "{}", view.name);
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_text_is_taken_for_a_cursor(
        plans in prop::collection::vec(plan(), 0..10),
        cursors in prop::collection::vec(prop_oneof!["[A-Za-z0-9_-]{0,12}", ".*"], 8),
        question in question(),
    ) {
        block_on(async {
            let folded = fold(&plans, &[usize::MAX]).await;
            for (at, view) in VIEWS.iter().enumerate() {
                for cursor in &cursors {
                    let request = Request { query: question.of(view), cursor: Some(cursor.clone()), limit: Limit::entries(2) };
                    let page = folded.page(at, &request).await;
                    prop_assert!(matches!(page, Err(QueryError::Bad(_))), "{page:?}");
                }
            }
            Ok(())
        })?;
    }
}

fn place_of(name: &str) -> usize {
    VIEWS.iter().position(|view| view.name == name).unwrap()
}

fn query_by(fields: &[(&str, &str)]) -> Query {
    let by = fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
    Query { by, ..Query::default() }
}

#[test]
fn a_cursor_of_another_question_is_refused() {
    let food = |food: &str| Plan {
        event: event_of("food.observed", None, format!(r#"{{"food":"{food}"}}"#), Reads::Always),
        partition: 0,
        fresh: true,
        writer: 1,
        nanos: 0,
    };
    let plans = ["pie", "pie", "pi"].map(food);
    block_on(async {
        let mut folded = fold(&plans, &[usize::MAX]).await;
        let at = place_of("sweets");
        let pies = Request { query: query_by(&[("food", "pie")]), cursor: None, limit: Limit::entries(1) };
        let cursor = folded.page(at, &pies).await.unwrap().next;
        let next = folded.page(at, &Request { cursor: cursor.clone(), ..pies.clone() }).await.unwrap();
        assert_eq!((next.data.len(), next.next), (1, None));
        let other_food = query_by(&[("food", "pi")]);
        // These hold the key where the cursor stands, too.
        let later = Query { until: Some(Timestamp::from_second(9).unwrap()), ..pies.query.clone() };
        let turned = Query { oldest_first: true, ..pies.query.clone() };
        for query in [other_food, Query::default(), later, turned] {
            let refused =
                folded.page(at, &Request { query, cursor: cursor.clone(), limit: Limit::entries(1) }).await;
            assert!(matches!(refused, Err(QueryError::Bad(_))), "{refused:?}");
        }
        let asked = Request { cursor, ..pies };
        let other_log = Progress::new(Uuid::from_u128(9), PARTITIONS);
        let nowhere = query::Reached::default();
        let refused =
            query::page(folded.store.as_ref(), &other_log, &folded.projections[at], &asked, &nowhere).await;
        assert!(matches!(refused, Err(QueryError::Bad(_))), "{refused:?}");
        folded.projections[at].generation += 1;
        let refused = folded.page(at, &asked).await;
        assert!(matches!(refused, Err(QueryError::Bad(_))), "{refused:?}");
    });
}

#[test]
fn a_wrong_question_is_answered_with_what_is_wrong() {
    block_on(async {
        let folded = fold(&[], &[1]).await;
        let noon = Some(Timestamp::UNIX_EPOCH);
        for (view, query, told) in [
            ("food_counts", query_by(&[("fodo", "pie")]), "fodo: unknown key field \"fodo\""),
            ("addresses", query_by(&[("version", "1")]), "version: can be given only together with email"),
            ("addresses", query_by(&[("email", "a"), ("version", "x")]), "version: must be a whole number"),
            (
                "moments",
                query_by(&[("shop_id", "a"), ("timestamp", "noon")]),
                "timestamp: \"noon\" is not a time",
            ),
            ("introductions", query_by(&[("id", "7")]), "id: unknown key field \"id\""),
            (
                "purchases_by_day",
                Query { from: noon, ..Query::default() },
                "from: can be given only together with shop_id",
            ),
            (
                "food_counts",
                Query { from: noon, ..Query::default() },
                "from: can be given only for a view of rows",
            ),
            (
                "introductions",
                Query { until: noon, ..Query::default() },
                "until: can be given only for a view of rows",
            ),
            (
                "newest_purchase",
                Query { until: noon, ..Query::default() },
                "until: can be given only for a view of rows",
            ),
            ("food_counts", Query { fill: true, ..Query::default() }, "fill: can be given only for a series"),
            ("diary", Query { fill: true, ..Query::default() }, "fill: can be given only for a series"),
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
fn a_view_that_is_not_folded_to_its_target_has_no_answer() {
    block_on(async {
        let definition = Definition::parse("test", "total", &VIEWS[0].definition()).unwrap();
        let projections = projections(vec![definition]);
        let store = MemoryStore::default();
        let request = Request { query: Query::default(), cursor: None, limit: Limit::entries(1) };
        let progress = Progress::new(LOG, 2);
        let place = Place { log: LOG, partitions: 2, partition: 1 };
        let genesis = genesis(place);
        drop(Driver::start(place, (3, &genesis), &store, &projections).await);
        let missing =
            query::page(&store, &progress, &projections[0], &request, &query::Reached::default()).await;
        assert!(matches!(missing, Err(QueryError::Folding { done: 0, target: 0 })), "{missing:?}");
    });
}
