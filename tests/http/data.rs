//! Real input where there is some, and a small sample of the project's own where not.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use std::path::Path;

fn read(file: &str) -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let dir = std::env::var_os("REFOLD_TEST_DATA").map_or(sample, Into::into);
    let path = dir.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each food and how often it must be counted, the most frequent first.
pub(crate) fn foods() -> Vec<(String, u64)> {
    let text = read("foods.csv");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("food,count"));
    let mut foods: Vec<(String, u64)> = lines.map(food).collect();
    foods.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    foods
}

/// A line of the file: the food may be quoted, with quotes doubled.
fn food(line: &str) -> (String, u64) {
    let (food, count) = line.rsplit_once(',').unwrap();
    let quoted = food.strip_prefix('"').and_then(|food| food.strip_suffix('"'));
    let food = quoted.map_or_else(|| food.to_owned(), |food| food.replace("\"\"", "\""));
    (food, count.parse().unwrap())
}

/// One observation a count, as they might have come: mixed, but the same way each time.
pub(crate) fn observations() -> Vec<String> {
    let repeat = |(food, count): (String, u64)| (0..count).map(move |_| food.clone());
    let mut observed: Vec<String> = foods().into_iter().flat_map(repeat).collect();
    observed.shuffle(&mut StdRng::seed_from_u64(1));
    observed
}

/// What `/aggregated` must answer for these counts.
pub(crate) fn aggregated(foods: &[(String, u64)]) -> Value {
    foods.iter().map(|(food, count)| json!({"food": food, "count": count})).collect()
}

/// Each detection as its producer sends it.
pub(crate) fn detections() -> Vec<Value> {
    read("detections.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_food_may_be_quoted() {
    assert_eq!(food("pie,36"), ("pie".into(), 36));
    assert_eq!(food(r#""fish, ""fresh""",2"#), (r#"fish, "fresh""#.into(), 2));
}
