//! The catalogue empties the store when a definition means something else, and only then.

use crate::driver::{Driver, space};
use crate::logs::{GENESIS, PLACE, genesis};
use crate::{block_on, redis};
use refold_projections::catalogue::{self, Projection};
use refold_projections::definition::Definition;
use refold_projections::store::{MemoryStore, SqliteStore, Store, Wanted};
use std::collections::BTreeMap;

fn definitions(texts: &[(&str, &str)]) -> Vec<Definition> {
    texts
        .iter()
        .map(|(name, text)| Definition::parse("test", name, &format!("name = '{name}'\n{text}")).unwrap())
        .collect()
}

async fn generations(store: &dyn Store, texts: &[(&str, &str)]) -> BTreeMap<String, u32> {
    let in_force = catalogue::open(store, definitions(texts)).await.unwrap();
    in_force.iter().map(|it| (it.definition.name.clone(), it.generation)).collect()
}

/// Puts something into the store, to see whether it stays.
async fn fold_something(store: &dyn Store) {
    let projections: Vec<Projection> = Vec::new();
    drop(Driver::start(PLACE, (GENESIS, &genesis(PLACE)), store, &projections).await);
}

async fn holds_something(store: &dyn Store) -> bool {
    store.load(PLACE.partition, Wanted::new()).await.unwrap().head.is_some()
}

const FOODS: (&str, &str) = ("foods", "on = 'food.observed'\ncount = { by = 'food' }");
const TOTAL: (&str, &str) = ("total", "on = 'food.observed'\ncount = {}");

pub(crate) async fn keeps_and_empties(store: &dyn Store) {
    assert_eq!(generations(store, &[FOODS, TOTAL]).await, named(&[("foods", 1), ("total", 1)]));
    fold_something(store).await;

    let commented = ("foods", "# counted\ntitle = 'Foods'\ncount.by = ['food']\non = ['food.observed']");
    for same in [[FOODS, TOTAL], [commented, TOTAL], [TOTAL, FOODS]] {
        assert_eq!(generations(store, &same).await, named(&[("foods", 1), ("total", 1)]));
        assert!(holds_something(store).await, "{same:?}");
    }

    let changed = ("foods", "on = 'food.observed'\nwhere = { food = 'pie' }\ncount = { by = 'food' }");
    assert_eq!(generations(store, &[changed, TOTAL]).await, named(&[("foods", 2), ("total", 1)]));
    assert!(!holds_something(store).await);

    fold_something(store).await;
    assert_eq!(generations(store, &[FOODS]).await, named(&[("foods", 3)]));
    assert!(!holds_something(store).await);
    fold_something(store).await;
    assert_eq!(generations(store, &[FOODS, TOTAL]).await, named(&[("foods", 3), ("total", 1)]));
    assert!(!holds_something(store).await);
}

fn named(generations: &[(&str, u32)]) -> BTreeMap<String, u32> {
    generations.iter().map(|(name, generation)| ((*name).to_owned(), *generation)).collect()
}

#[test]
fn a_changed_meaning_empties_the_store_and_a_changed_comment_does_not() {
    block_on(async {
        keeps_and_empties(&MemoryStore::default()).await;
        let dir = tempfile::tempdir().unwrap();
        keeps_and_empties(&SqliteStore::open(dir.path()).unwrap()).await;
        keeps_and_empties(&redis::store().await).await;
    });
}

#[test]
fn who_does_not_fold_puts_nothing_in_force() {
    block_on(async {
        let store = MemoryStore::default();
        catalogue::agree(&store, &definitions(&[FOODS])).await.unwrap();
        catalogue::open(&store, definitions(&[FOODS])).await.unwrap();
        catalogue::agree(&store, &definitions(&[FOODS])).await.unwrap();
        let error = catalogue::agree(&store, &definitions(&[FOODS, TOTAL])).await.unwrap_err();
        assert!(error.to_string().contains("total"), "{error:#}");
        assert_eq!(generations(&store, &[FOODS]).await, named(&[("foods", 1)]));
    });
}

#[test]
fn a_catalogue_that_cannot_be_read_is_an_error_and_costs_nothing() {
    block_on(async {
        let store = MemoryStore::default();
        store.reset(b"{".to_vec()).await.unwrap();
        fold_something(&store).await;
        let error = catalogue::open(&store, definitions(&[FOODS])).await.unwrap_err();
        assert!(error.to_string().contains("catalogue"), "{error:#}");
        assert!(holds_something(&store).await);
        assert!(space(&store, PLACE.partition, refold_projections::store::Space::Writers).await.is_empty());
    });
}
