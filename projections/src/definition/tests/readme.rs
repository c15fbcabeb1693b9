//! What the package's README tells: every example in it can be used, and every key has one.

use super::super::{check, view};
use super::*;
use std::collections::BTreeSet;

const README: &str = include_str!("../../../README.md");

/// The texts between the marks of a block of TOML.
fn examples() -> Vec<&'static str> {
    let blocks = README.split("```toml\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("a block has an end").0).collect()
}

fn name(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with("name")).expect("an example has a name");
    line.split('"').nth(1).expect("a name is a text")
}

#[test]
fn every_example_is_a_definition() {
    let examples = examples();
    assert!(examples.len() >= view::KINDS.len());
    let mut names = BTreeSet::new();
    for text in examples {
        if let Err(errors) = Definition::parse("README.md", name(text), text) {
            panic!("{errors}\n{text}");
        }
        assert!(names.insert(name(text)), "{} is there twice", name(text));
    }
}

#[test]
fn every_key_has_an_example() {
    let mut keys = check::KEYS.to_vec();
    keys.extend(["by", "of", "every", "sum", "time", "remove_on", "min", "max", "from", "until"]);
    let examples = examples().concat();
    for key in keys {
        assert!(examples.contains(&format!("{key} = ")) || examples.contains(&format!("{key}  ")), "{key}");
    }
}

#[test]
fn every_kind_of_view_says_how_it_merges() {
    for kind in view::KINDS {
        let row = README.lines().find(|line| line.starts_with(&format!("| `{kind}` ")));
        assert!(row.is_some_and(|row| row.matches('|').count() == 5), "{kind}: {row:?}");
    }
}
