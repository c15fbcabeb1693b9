//! A projection that cannot take an event leaves the live set, and nothing else does.

use crate::block_on;
use crate::driver::{Driver, projections, space};
use crate::logs::{Command, Commit, LOG, Reads, encode, event_of, genesis, introduction};
use jiff::Timestamp;
use refold_projections::catalogue::Projection;
use refold_projections::definition::{self, Definition};
use refold_projections::gate::Place;
use refold_projections::progress::Progress;
use refold_projections::query::{self, QueryError, Request};
use refold_projections::state::Broken;
use refold_projections::store::{Flush, Limit, MemoryStore, Space, Store};
use refold_projections::view::Query;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

const PLACE: Place = Place { log: LOG, partitions: 1, partition: 0 };

fn observe(seq: u64, foods: &[&str]) -> (u64, bytes::Bytes) {
    let event =
        |food: &&str| event_of("food.observed", None, format!(r#"{{"food":"{food}"}}"#), Reads::Always);
    let commands = vec![Command { guards: vec![], hash: None, events: foods.iter().map(event).collect() }];
    let commit = Commit { writer: Uuid::from_u128(1), seq, time: Timestamp::UNIX_EPOCH, commands };
    (seq, encode(LOG, &commit).into())
}

fn named<'p>(projections: &'p [Projection], name: &str) -> &'p Projection {
    projections.iter().find(|projection| projection.definition.name == name).unwrap()
}

/// Makes the store hold so many pies that one more is too many.
async fn fill(driver: &mut Driver<'_>, projection: &Projection) {
    let before = space(driver.store, 0, projection.space()).await;
    let cell = before.into_keys().next().unwrap();
    let mut head = driver.head.clone();
    head.position.offset += 10;
    let from = Some(driver.head.version());
    let mut flush = Flush { from, head: head.clone(), changes: BTreeMap::new() };
    flush.put(projection.space(), cell, Some(u64::MAX.to_string().into_bytes()));
    driver.store.flush(0, Arc::new(flush)).await.unwrap();
    driver.head = head;
}

async fn ask(store: &MemoryStore, projection: &Projection) -> Result<query::Page, QueryError> {
    let request = Request { query: Query::default(), cursor: None, limit: Limit::entries(10) };
    query::page(store, &Progress::new(LOG, 1), projection, &request, &query::Reached::default()).await
}

#[test]
fn a_projection_that_overflows_leaves_the_live_set_and_the_others_go_on() {
    block_on(async {
        let mut definitions = definition::defaults();
        let total = "name = 'total'\non = 'food.observed'\ncount = {}";
        definitions.push(Definition::parse("test", "total", total).unwrap());
        let projections = projections(definitions);
        let counts = projections.iter().find(|it| it.definition.name == "food_counts").unwrap();
        let total = projections.last().unwrap();
        let store = MemoryStore::default();
        let genesis = genesis(PLACE);
        let mut driver = Driver::start(PLACE, (0, &genesis), &store, &projections).await;
        driver.fold(&[observe(1, &["pie"])], false).await;
        fill(&mut driver, counts).await;
        let (before, cells) = (driver.head.clone(), space(&store, 0, counts.space()).await);

        let shifted = |(seq, bytes)| (seq + 100, bytes);
        let batch = [observe(2, &["cake"]), observe(3, &["cake", "pie", "cake"])].map(shifted);
        driver.fold(&batch, false).await;

        let broken = driver.head.projections["food_counts"].broken.clone();
        assert_eq!(
            broken,
            Some(Broken {
                position: before.position,
                event: format!("0.{}.3.0.1", Uuid::from_u128(1)),
                reason: "a count is over 2^64".into(),
            })
        );
        assert_ne!(driver.head.epoch, before.epoch);
        // What it holds is what it held at its own position.
        assert_eq!(space(&store, 0, counts.space()).await, cells);
        let answer = ask(&store, counts).await;
        let Err(QueryError::Broken { partition: 0, event, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(event, format!("0.{}.3.0.1", Uuid::from_u128(1)));
        assert_eq!(ask(&store, total).await.unwrap().data, [serde_json::json!({ "count": 5 })]);

        let epoch = driver.head.epoch;
        driver.fold(&[shifted(observe(4, &["pie", "tart"]))], false).await;
        assert_eq!(
            (driver.head.epoch, driver.head.projections["food_counts"].broken.clone()),
            (epoch, broken)
        );
        assert_eq!(space(&store, 0, counts.space()).await, cells);
        assert_eq!(ask(&store, total).await.unwrap().data, [serde_json::json!({ "count": 7 })]);
    });
}

#[test]
fn squares_that_add_up_to_too_much_break_stats_rather_than_to_lie() {
    block_on(async {
        let stats = "name = 'versions'\non = 'introduction.introduced'\nstats = { of = 'version' }";
        let projections = projections(vec![Definition::parse("test", "versions", stats).unwrap()]);
        let store = MemoryStore::default();
        let genesis = genesis(PLACE);
        let mut driver = Driver::start(PLACE, (0, &genesis), &store, &projections).await;
        let largest = i64::MAX.cast_unsigned();
        let introduce = |seq: u64| {
            let event = introduction("7", "introduction.introduced", None, largest);
            let commands = vec![Command { guards: vec![], hash: None, events: vec![event] }];
            let commit = Commit { writer: Uuid::from_u128(1), seq, time: Timestamp::UNIX_EPOCH, commands };
            (seq, encode(LOG, &commit).into())
        };
        driver.fold(&(1..=4).map(introduce).collect::<Vec<_>>(), false).await;
        let data = ask(&store, &projections[0]).await.unwrap().data;
        assert_eq!(
            data,
            [serde_json::json!({
                "count": 4, "average": 9_223_372_036_854_775_807_f64, "sum": "36893488147419103228",
                "min": largest, "max": largest, "stddev": 0.0, "p50": largest, "p90": largest, "p99": largest,
            })]
        );

        driver.fold(&[introduce(5)], false).await;

        let broken = driver.head.projections["versions"].broken.clone().unwrap();
        assert_eq!(broken.reason, "a sum of squares is over 2^128");
        assert!(matches!(ask(&store, &projections[0]).await, Err(QueryError::Broken { .. })));
    });
}

#[test]
fn a_view_is_not_answered_from_what_another_generation_folded() {
    block_on(async {
        let projections = projections(definition::defaults());
        let store = MemoryStore::default();
        let genesis = genesis(PLACE);
        let mut driver = Driver::start(PLACE, (0, &genesis), &store, &projections).await;
        let newer: Vec<_> =
            definition::defaults().into_iter().map(|definition| Projection::new(definition, 2)).collect();
        driver.projections = &newer;
        driver.fold(&[observe(1, &["pie"])], false).await;
        let answer = ask(&store, named(&newer, "food_counts")).await;
        assert!(matches!(answer, Err(QueryError::Failed(_))), "{answer:?}");
        assert!(space(&store, 0, Space::View("food_counts".into(), 2)).await.is_empty());
    });
}

#[test]
fn a_cell_that_cannot_be_read_breaks_only_its_view() {
    block_on(async {
        let projections = projections(definition::defaults());
        let store = MemoryStore::default();
        let genesis = genesis(PLACE);
        let mut driver = Driver::start(PLACE, (0, &genesis), &store, &projections).await;
        driver.fold(&[observe(1, &["pie"])], false).await;
        let counts = named(&projections, "food_counts");
        let cell = space(&store, 0, counts.space()).await.into_keys().next().unwrap();
        let from = Some(driver.head.version());
        driver.head.position.offset += 1;
        let mut flush = Flush { from, head: driver.head.clone(), changes: BTreeMap::new() };
        flush.put(counts.space(), cell, Some(b"many".to_vec()));
        store.flush(0, Arc::new(flush)).await.unwrap();
        let answer = ask(&store, counts).await;
        assert!(matches!(answer, Err(QueryError::Failed(_))), "{answer:?}");
        driver.fold(&[(9, observe(2, &["pie"]).1)], false).await;
        let reason = driver.head.projections["food_counts"].broken.clone().unwrap().reason;
        assert_eq!(reason, "a count in the store is no number: \"many\": invalid digit found in string");
    });
}
