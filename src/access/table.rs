//! The table of the settings that says what each route needs, as requests are looked up in it.
//!
//! It has an entry for every route, and no other: neither a new route nor a slip in a file can open anything by itself.

use crate::http::templates::Templates;
use crate::settings::access::{Access, Need};
use anyhow::{Result, ensure};
use poem::http::Method;
use refold_domain::nearest;
use std::collections::HashMap;
use std::fmt;

/// The only parameter that a value may take the place of: the name of a view. It is compared as it is written, while an id
/// or a user's name may be written in several ways, and an entry about one would let in who writes it in another.
const VALUED: &str = "{name}";

/// What each route needs.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    by_method: HashMap<Method, Templates<Need>>,
}

/// A route, as the OpenAPI document names it: `GET /views/{name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with its parameters in braces.
    pub path: String,
}

/// What a route needs, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The route that it is about.
    pub route: Route,
    /// The path; with a value in the place of a parameter where it is about that one only.
    pub path: String,
    /// What it needs.
    pub need: Need,
}

impl Table {
    /// The table of these settings for these routes.
    ///
    /// # Errors
    /// Names every entry that is about no route, and every route without an entry.
    pub fn new(access: &Access, routes: &[Route]) -> Result<Self> {
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        for (key, need) in access {
            match routes.iter().find(|route| route.has(key)) {
                Some(route) => {
                    let path = key[route.method.as_str().len() + 1..].to_owned();
                    entries.push(Entry { route: route.clone(), path, need: *need });
                }
                None => problems.push(unknown(key, routes)),
            }
        }
        let lacks = |route: &&Route| !entries.iter().any(|entry| entry.is_about_all_of(route));
        let missing = routes.iter().filter(lacks);
        problems.extend(missing.map(|route| format!("\"{route}\" is missing: it needs open, user or admin")));
        ensure!(problems.is_empty(), "the table [access] cannot be used:\n  {}", problems.join("\n  "));
        // A value wins over the parameter that it takes the place of.
        entries.sort_by_key(|entry| entry.path.matches('{').count());
        let mut by_method = HashMap::<_, Vec<_>>::new();
        for Entry { route, path, need } in &entries {
            by_method.entry(route.method.clone()).or_default().push((path.as_str(), *need));
        }
        let by_method =
            by_method.into_iter().map(|(method, paths)| (method, Templates::new(paths))).collect();
        Ok(Self { entries, by_method })
    }

    /// What a request needs; none where there is no such route.
    pub fn need(&self, method: &Method, path: &str) -> Option<Need> {
        // Who asks for the head of an answer asks for the answer.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.by_method.get(method)?.find(path).map(|found| *found.known)
    }

    /// All entries, those about single values first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries about a route: of all of it, and of single values.
    pub fn of(&self, route: &Route) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.route == *route)
    }
}

impl Entry {
    fn is_about_all_of(&self, route: &Route) -> bool {
        self.route == *route && self.path == route.path
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.route.method, self.path)
    }
}

impl Route {
    /// Whether a key of the table is about it.
    fn has(&self, key: &str) -> bool {
        let Some((method, path)) = key.split_once(' ') else {
            return false;
        };
        let is_plain = |segment: &str| !segment.is_empty() && !segment.contains(['{', '}', '%']);
        let fits = |(own, segment): (&str, &str)| own == segment || own == VALUED && is_plain(segment);
        // As the document writes it: what is trimmed or decoded where requests are looked up would be a second entry.
        let (own, given) = (self.path.split('/'), path.split('/'));
        method == self.method.as_str()
            && own.clone().count() == given.clone().count()
            && own.zip(given).all(fits)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

fn unknown(key: &str, routes: &[Route]) -> String {
    let known: Vec<_> = routes.iter().map(Route::to_string).collect();
    nearest::unknown("route", key, known.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Vec<Route> {
        let route = |(method, path): (Method, &str)| Route { method, path: path.to_owned() };
        let all = [
            (Method::GET, "/a"),
            (Method::POST, "/a"),
            (Method::GET, "/v/{name}"),
            (Method::GET, "/v/{name}/live"),
            (Method::GET, "/u/{id}"),
        ];
        all.map(route).to_vec()
    }

    /// The table with these entries besides one that opens each route.
    fn table(entries: &[(&str, Need)]) -> Result<Table> {
        let mut access: Access = routes().iter().map(|route| (route.to_string(), Need::Open)).collect();
        access.extend(entries.iter().map(|(key, need)| ((*key).to_owned(), *need)));
        Table::new(&access, &routes())
    }

    #[test]
    fn each_method_of_a_path_has_its_own_need() {
        let table = table(&[("POST /a", Need::Admin), ("GET /a", Need::User)]).unwrap();
        let need = |method: &Method, path| table.need(method, path);
        assert_eq!(
            (need(&Method::GET, "/a"), need(&Method::POST, "/a/")),
            (Some(Need::User), Some(Need::Admin))
        );
        assert_eq!(
            need(&Method::HEAD, "/a"),
            Some(Need::User),
            "the head is told to those only who may read all"
        );
        assert_eq!((need(&Method::PUT, "/a"), need(&Method::GET, "/b")), (None, None));
    }

    #[test]
    fn a_value_wins_over_its_parameter_however_it_is_written() {
        let table = table(&[("GET /v/secret", Need::Admin), ("GET /v/{name}/live", Need::User)]).unwrap();
        for (path, need) in [
            ("/v/secret", Need::Admin),
            ("/v/secret/", Need::Admin),
            ("/v/%73ecre%74", Need::Admin),
            ("/v/other", Need::Open),
            ("/v/Secret", Need::Open),
            ("/v/secret/live", Need::User),
            ("/%76/x/li%76e", Need::User),
        ] {
            assert_eq!(table.need(&Method::GET, path), Some(need), "{path}");
        }
        // A slash in a value is no other path.
        assert_eq!(table.need(&Method::GET, "/v/a%2Flive"), Some(Need::Open));
    }

    #[test]
    fn what_is_no_route_is_told_with_the_nearest() {
        for (key, told) in [
            ("GET /aa", r#"unknown route "GET /aa": did you mean "GET /a"?"#),
            ("get /a", r#"unknown route "get /a": did you mean "GET /a"?"#),
            ("PUT /a", "known: GET /a, POST /a, GET /v/{name}"),
            ("GET /v/{nam}", r#"did you mean "GET /v/{name}"?"#),
            ("GET /v/", "unknown route"),
            ("GET /a/", r#"did you mean "GET /a"?"#),
            ("GET //a", r#"did you mean "GET /a"?"#),
            ("GET /v/secre%74", "unknown route"),
            ("GET /u/7", "unknown route"),
            ("GET a", "unknown route"),
            ("GET", "unknown route"),
            ("", "unknown route"),
        ] {
            let refused = table(&[(key, Need::User)]).unwrap_err().to_string();
            assert!(refused.contains(told), "{key}: {refused}");
        }
    }

    #[test]
    fn a_route_without_an_entry_is_told() {
        let refused = Table::new(&Access::new(), &routes()).unwrap_err().to_string();
        assert_eq!(refused.matches(" is missing").count(), routes().len(), "{refused}");
        let only_a_value = Access::from([("GET /v/x".to_owned(), Need::Open)]);
        assert!(
            Table::new(&only_a_value, &routes())
                .unwrap_err()
                .to_string()
                .contains("\"GET /v/{name}\" is missing")
        );
    }
}
