//! Views that tell more people what happened than the routes of its system do.
//!
//! An operator's own definition may count what only users may see. Perhaps the counts are for everybody: so it is told
//! and not refused.

use super::table::{Entry, Table};
use crate::http::templates::segments;
use crate::settings::access::Need;
use poem::http::Method;
use refold_domain::nearest;
use refold_domain::schema::EventType;
use refold_projections::definition::{self, Definition};

/// Where each system's events are read, by the first word of their types.
const READ_AT: [(&str, &str); 6] = [
    ("food", "/aggregated"),
    ("introduction", "/introductions"),
    ("picture", "/pictures/stats"),
    ("purchase", "/purchases/{shop_id}"),
    ("user", "/users"),
    ("vehicle", "/detections"),
];
/// Where views are read.
const VIEWS: [&str; 2] = ["/views/{name}", "/views/{name}/live"];

/// Something about the table that may do harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

/// What may do harm where these definitions are folded.
pub fn risks<'d>(table: &Table, definitions: impl Iterator<Item = &'d Definition>) -> Vec<Risk> {
    let definitions: Vec<_> = definitions.collect();
    let views = definitions.iter().flat_map(|definition| VIEWS.map(|view| (definition, view)));
    let too_open = views.filter_map(|(definition, view)| too_open(table, definition, view));
    too_open.chain(without_view(table, &definitions)).collect()
}

/// A view that is read more easily than the events that it is made of.
fn too_open(table: &Table, definition: &Definition, view: &str) -> Option<Risk> {
    let path = view.replace("{name}", &definition.name);
    let shown = table.need(&Method::GET, &path)?;
    let needs = definition.on.iter().map(|kind| (needed(table, kind), kind.name));
    let (needed, kind) = needs.max()?;
    (shown < needed).then(|| Risk {
        found: format!("GET {path} is {shown}, and {kind}, of which it is made, is for the role {needed}"),
        remedy: format!(
            "set \"GET {path}\" = \"{needed}\" in [access], unless what it tells is for everybody"
        ),
    })
}

/// What is needed to read events of a type: everything, where nobody says.
fn needed(table: &Table, kind: &EventType) -> Need {
    let system = kind.name.split('.').next();
    let path = READ_AT.iter().find(|(known, _)| Some(*known) == system).map(|(_, path)| *path);
    path.and_then(|path| table.need(&Method::GET, path)).unwrap_or(Need::Admin)
}

/// Entries about views that are none: slips, which protect nothing. A built-in view may be switched off.
fn without_view(table: &Table, definitions: &[&Definition]) -> Vec<Risk> {
    let built_in = definition::defaults();
    let names = definitions.iter().map(|definition| definition.name.as_str());
    let known = names.clone().chain(built_in.iter().map(|definition| definition.name.as_str()));
    let slip = |entry: &Entry| {
        let name = segments(&entry.path).nth(1)?;
        let is_slip = !name.starts_with('{') && !known.clone().any(|known| known == name);
        is_slip.then(|| Risk {
            found: format!("[access] \"{entry}\": {}", nearest::unknown("view", name, names.clone())),
            remedy: "correct the name: the entry is about nothing".into(),
        })
    };
    table
        .entries()
        .iter()
        .filter(|entry| VIEWS.contains(&entry.route.path.as_str()))
        .filter_map(slip)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::known_routes;
    use crate::settings::Settings;
    use refold_domain::schema::EVENT_TYPES;

    /// The risks of the usual table with this entry besides, where these definitions are folded, too.
    fn risks_with(entry: (&str, Need), own: &[(&str, &str)]) -> Vec<Risk> {
        let mut access = Settings::load(&["config/default.toml".into()]).unwrap().access;
        access.insert(entry.0.to_owned(), entry.1);
        let table = Table::new(&access, &known_routes()).unwrap();
        let own = own.iter().map(|(name, text)| Definition::parse("file", name, text).unwrap());
        let all: Vec<_> = definition::defaults().into_iter().chain(own).collect();
        risks(&table, all.iter())
    }

    const OWN: (&str, &str) =
        ("by_model", "name = 'by_model'\non = 'vehicle.detected'\ncount.by = ['model']");
    const ALSO_FOODS: (&str, &str) =
        ("all", "name = 'all'\non = ['food.observed', 'vehicle.detected']\nrows = {}");
    const FOODS: (&str, &str) = ("foods", "name = 'foods'\non = 'food.observed'\nrows = {}");

    #[test]
    fn an_open_view_of_what_is_protected_is_a_risk() {
        let usual = ("GET /stats", Need::User);
        assert_eq!(risks_with(usual, &[FOODS]), []);
        for own in [OWN, ALSO_FOODS] {
            let found = risks_with(usual, &[own]);
            assert_eq!(found.len(), 2, "the view and its stream: {found:?}");
            assert!(found[0].found.contains("vehicle.detected"), "{found:?}");
        }
        let closed = risks_with(("GET /views/by_model", Need::User), &[OWN]);
        assert_eq!(closed.len(), 1, "only its stream is open: {closed:?}");
        assert!(closed[0].remedy.contains("\"GET /views/by_model/live\" = \"user\""), "{closed:?}");
        assert_eq!(risks_with(("GET /views/{name}/live", Need::User), &[OWN]).len(), 1);
    }

    #[test]
    fn an_entry_about_no_view_is_a_risk() {
        let found = risks_with(("GET /views/detection", Need::Admin), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].found.contains("did you mean \"detections\"?"), "{found:?}");
    }

    #[test]
    fn every_system_says_where_its_events_are_read() {
        for kind in EVENT_TYPES {
            assert!(
                READ_AT.iter().any(|(system, _)| kind.name.starts_with(&format!("{system}."))),
                "{}",
                kind.name
            );
        }
    }
}
