//! Answers an unknown name with the known ones and the one that was probably meant.

use strsim::damerau_levenshtein;

/// How many characters of an unknown name are repeated in an answer.
pub(crate) const SHOWN_CHARS: usize = 80;

/// A sentence about a name that is not known: `unknown field "fod": did you mean "food"? known: food, shop`.
pub fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    format!("unknown {what} {}: {}", quoted(name), hint(name, known))
}

/// The second half of [`unknown`], for callers that can say more than that a name is unknown.
pub fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let all = known.clone().collect::<Vec<_>>().join(", ");
    match nearest(name, known) {
        _ if all.is_empty() => "there is none to choose".into(),
        Some(meant) => format!("did you mean {meant:?}? known: {all}"),
        None => format!("known: {all}"),
    }
}

/// The known name that `name` is probably a slip of: at most a third of its characters, or one, differ.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let distance = |candidate: &'a str| {
        let candidate_length = candidate.chars().count();
        let limit = (candidate_length / 3).max(1);
        // The distance is at least the difference in length, so absurdly long names cost nothing.
        let near = length.abs_diff(candidate_length) <= limit;
        let distance = near.then(|| damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()))?;
        (distance <= limit).then_some((distance, candidate))
    };
    known.filter_map(distance).min().map(|(_, candidate)| candidate)
}

/// A name in quotes, cut where it is absurdly long.
pub fn quoted(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: [&str; 4] = ["food", "shop_id", "timestamp", "id"];

    #[test]
    fn slips_are_recognised() {
        for (name, meant) in [
            ("fod", Some("food")),
            ("FOOD", Some("food")),
            ("shop-id", Some("shop_id")),
            ("tiemstamp", Some("timestamp")),
            ("time", None),
            ("", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, KNOWN.into_iter()), meant, "{name}");
        }
    }

    #[test]
    fn the_sentence_names_all_that_is_known() {
        let sentence = |name| unknown("field", name, KNOWN.into_iter());
        assert_eq!(
            sentence("fod"),
            r#"unknown field "fod": did you mean "food"? known: food, shop_id, timestamp, id"#
        );
        assert_eq!(sentence("colour"), r#"unknown field "colour": known: food, shop_id, timestamp, id"#);
        assert_eq!(unknown("field", "a", [].into_iter()), r#"unknown field "a": there is none to choose"#);
    }

    proptest! {
        #[test]
        fn any_name_is_answered_shortly(name: String) {
            prop_assert!(unknown("key", &name.repeat(100), KNOWN.into_iter()).len() < 1_200);
        }
    }
}
