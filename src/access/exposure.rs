//! Views that tell more people what happened than the routes of its system do.
//!
//! An operator's own definition may count what only users may see: then its view is for them, too, unless the table has an
//! entry that says otherwise. Perhaps the counts are for everybody: so that is told and not refused.

use super::table::{Entry, Route, Table};
use crate::http::templates::segments;
use crate::settings::access::{Access, Need};
use anyhow::Result;
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

/// The table of these settings, in which a view without an entry of its own needs what the events need that it is made of.
///
/// # Errors
/// As [`Table::new`].
pub fn closed<'d>(
    access: &Access,
    routes: &[Route],
    definitions: impl Iterator<Item = &'d Definition>,
) -> Result<Table> {
    let table = Table::new(access, routes)?;
    let mut access = access.clone();
    for definition in definitions {
        for view in VIEWS {
            let path = view.replace("{name}", &definition.name);
            let needed = definition.on.iter().map(|kind| needed(&table, kind)).max();
            let shown = table.need(&Method::GET, &path);
            if let Some(needed) = needed.filter(|needed| shown < Some(*needed)) {
                access.entry(format!("GET {path}")).or_insert(needed);
            }
        }
    }
    Table::new(&access, routes)
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
        let own = own.iter().map(|(name, text)| Definition::parse("file", name, text).unwrap());
        let all: Vec<_> = definition::defaults().into_iter().chain(own).collect();
        risks(&closed(&access, &known_routes(), all.iter()).unwrap(), all.iter())
    }

    const OWN: (&str, &str) =
        ("by_model", "name = 'by_model'\non = 'vehicle.detected'\ncount.by = ['model']");
    const ALSO_FOODS: (&str, &str) =
        ("all", "name = 'all'\non = ['food.observed', 'vehicle.detected']\nrows = {}");
    const USERS: (&str, &str) = ("people", "name = 'people'\non = 'user.registered'\nrows = {}");
    const FOODS: (&str, &str) = ("foods", "name = 'foods'\non = 'food.observed'\nrows = {}");

    #[test]
    fn a_view_needs_what_its_events_need() {
        let own = [OWN, ALSO_FOODS, FOODS, USERS];
        let own = own.map(|(name, text)| Definition::parse("file", name, text).unwrap());
        let access = Settings::load(&["config/default.toml".into()]).unwrap().access;
        let table = closed(&access, &known_routes(), own.iter()).unwrap();
        let needs = own.iter().map(|own| table.need(&Method::GET, &format!("/views/{}", own.name)).unwrap());
        assert_eq!(needs.collect::<Vec<_>>(), [Need::User, Need::User, Need::Open, Need::Admin]);
        let live = table.need(&Method::GET, "/views/people/live");
        assert_eq!(live, Some(Need::Admin));
    }

    #[test]
    fn a_view_that_is_opened_by_an_entry_is_a_risk() {
        let usual = ("GET /stats", Need::User);
        assert_eq!(risks_with(usual, &[FOODS, OWN, USERS]), []);
        let opened = risks_with(("GET /views/by_model", Need::Open), &[OWN]);
        assert_eq!(opened.len(), 1, "its stream is not open: {opened:?}");
        assert!(opened[0].found.contains("vehicle.detected"), "{opened:?}");
        assert!(opened[0].remedy.contains("\"GET /views/by_model\" = \"user\""), "{opened:?}");
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
