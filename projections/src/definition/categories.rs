//! The categories of suspicious vehicles: what is set takes the place of what the built-in definition says.

use refold_domain::detections::NAME_CHARS;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The definition that watches for them.
pub(super) const WATCHING: &str = "suspicious_vehicles";
/// What it says unless something is set.
const BUILT_IN: &str = "SUV";
/// How many categories may be watched for.
const CATEGORIES_MAX: usize = 100;

/// Categories of vehicles, sorted, each once; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categories(Vec<String>);

/// What a text of categories must be, in words for people.
pub const EXPECTED: &str = "a category of vehicles such as \"SUV\", or at most 100 with commas between them, each of 1 to 200 \
                            characters";

impl Categories {
    /// Whether these are the ones that the built-in definition names by itself.
    pub(super) fn are_built_in(&self) -> bool {
        *self == Self::default()
    }

    /// The text of a built-in definition, which names these categories if it is the one that watches for some.
    pub(super) fn named_in<'t>(&self, name: &str, text: &'t str) -> Cow<'t, str> {
        if name != WATCHING || self.are_built_in() {
            return Cow::Borrowed(text);
        }
        let line = |categories: toml::Value| format!("category = {categories}");
        let these: Vec<_> = self.0.iter().map(String::as_str).collect();
        Cow::Owned(text.replace(&line(BUILT_IN.into()), &line(these.into())))
    }
}

impl Default for Categories {
    fn default() -> Self {
        Self(vec![BUILT_IN.to_owned()])
    }
}

impl FromStr for Categories {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut categories: Vec<_> = text.split(',').map(|category| category.trim().to_owned()).collect();
        categories.sort_unstable();
        categories.dedup();
        let fits = |category: &String| {
            NAME_CHARS.contains(&category.chars().count()) && !category.chars().any(char::is_control)
        };
        let fit = categories.len() <= CATEGORIES_MAX && categories.iter().all(fits);
        fit.then_some(Self(categories)).ok_or(EXPECTED)
    }
}

impl fmt::Display for Categories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::load;

    fn meaning(text: &str) -> String {
        let loaded = load(None, &text.parse().unwrap()).unwrap();
        loaded.iter().find(|definition| definition.name == WATCHING).unwrap().to_string()
    }

    #[test]
    fn what_is_set_is_watched_for() {
        let on = "on vehicle.detected where category =";
        assert_eq!(meaning("SUV"), format!("{on} \"SUV\": rows"));
        assert_eq!(meaning(" Coupe "), format!("{on} \"Coupe\": rows"));
        assert_eq!(meaning(r#"a "b" \ {c}"#), format!(r#"{on} "a \"b\" \\ {{c}}": rows"#));
        // In whichever order, and however often: it is the same definition, and nothing is folded again.
        assert_eq!(meaning("Van/Minivan,SUV"), meaning("SUV, Van/Minivan,SUV"));
        assert_eq!(meaning("b,a"), format!("{on} \"a\" or \"b\": rows"));
    }

    #[test]
    fn what_no_vehicle_can_be_is_refused() {
        let many = (0..=CATEGORIES_MAX).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
        for bad in ["", " ", "SUV,", ",SUV", "a\nb", &"x".repeat(201), &many] {
            assert!(bad.parse::<Categories>().is_err(), "{bad:?}");
        }
    }
}
