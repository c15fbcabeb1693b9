//! What the OpenAPI document says of who may ask, as the table has it.

use super::admission::ALWAYS;
use super::problem::CONTENT_TYPE;
use crate::access::table::{Entry, Route, Table};
use crate::settings::access::Need;
use serde_json::{Value, json};

/// The name of the scheme in which tokens are sent.
const TOKEN: &str = "token";
/// The name of the scheme in which they are asked for.
const LOGIN: &str = "login";
/// Where they are asked for.
const LOGIN_PATH: &str = "/login";

/// The document `written`, which also says what each operation needs, and what is answered to whom has it not.
///
/// # Panics
/// Where `written` is no OpenAPI document.
pub fn complete(written: &str, table: &Table) -> String {
    let mut document: Value = serde_json::from_str(written).expect("the library writes JSON");
    let has_login = !document["paths"][LOGIN_PATH].is_null();
    document["components"]["securitySchemes"] = schemes(has_login);
    for Entry { route, .. } in table.entries().iter().filter(|entry| entry.path == entry.route.path) {
        let operation = &mut document["paths"][&route.path][route.method.as_str().to_lowercase()];
        declare(operation, route, table, has_login);
    }
    document.to_string()
}

fn schemes(has_login: bool) -> Value {
    let mut schemes = json!({TOKEN: {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "A token of `POST /login`, or an operator's of `refold token`",
    }});
    if has_login {
        schemes[LOGIN] = json!({
            "type": "oauth2",
            "description": "Name and password of a user",
            "flows": {"password": {"tokenUrl": LOGIN_PATH, "scopes": {}}},
        });
    }
    schemes
}

fn declare(operation: &mut Value, route: &Route, table: &Table, has_login: bool) {
    let needs = || table.of(route).map(|entry| entry.need);
    let (least, most) = (needs().min().unwrap_or(Need::Admin), needs().max().unwrap_or(Need::Admin));
    if most == Need::Open && ALWAYS.contains(&route.path.as_str()) {
        return;
    }
    let ways = [Some(TOKEN), has_login.then_some(LOGIN)].into_iter().flatten();
    let without = (least == Need::Open).then(|| json!({}));
    let security = without.into_iter().chain(ways.map(|way| json!({way: []})));
    operation["security"] = security.collect();
    let responses = &mut operation["responses"];
    if responses["401"].is_null() {
        responses["401"] = problem("A token is needed, or the one that was sent is not taken");
    }
    // A token that is not taken is told in the same way wherever it is sent.
    responses["401"]["headers"]["WWW-Authenticate"] = json!({
        "description": "How to send a token; `error` where one was sent", "required": false, "schema": {"type": "string"},
    });
    if most == Need::Admin && responses["403"].is_null() {
        responses["403"] = problem("The token is not that of an admin");
    }
    let words = needs_in_words(route, table);
    if !words.is_empty() {
        let before = operation["description"].as_str().map(|text| format!("{text}\n\n")).unwrap_or_default();
        operation["description"] = json!(format!("{before}{words}"));
    }
}

fn problem(description: &str) -> Value {
    let content = json!({CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}});
    json!({"description": description, "content": content})
}

/// What is needed, unless it is nothing: `Needs an admin's token; /views/detections: a user's token.`
fn needs_in_words(route: &Route, table: &Table) -> String {
    let mut entries: Vec<_> = table.of(route).collect();
    entries.sort_by_key(|entry| entry.path != route.path);
    let sentence = |entry: &&Entry| {
        let words = words(entry.need);
        if entry.path == route.path { format!("Needs {words}") } else { format!("`{}`: {words}", entry.path) }
    };
    if entries.iter().all(|entry| entry.need == Need::Open) {
        return String::new();
    }
    format!("{}.", entries.iter().map(sentence).collect::<Vec<_>>().join("; "))
}

fn words(need: Need) -> &'static str {
    match need {
        Need::Open => "no token",
        Need::User => "a user's token",
        Need::Admin => "an admin's token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::access::Access;
    use poem::http::Method;

    fn document(entries: &[(&str, Need)]) -> Value {
        let route = |path: &str| Route { method: Method::GET, path: path.to_owned() };
        let access: Access = entries.iter().map(|(path, need)| (format!("GET {path}"), *need)).collect();
        let table = Table::new(&access, &[route("/v/{name}"), route("/healthz")]).unwrap();
        let written = json!({"paths": {
            "/v/{name}": {"get": {"description": "It is.", "responses": {"200": {}}}},
            "/healthz": {"get": {"responses": {"200": {}}}},
        }});
        serde_json::from_str(&complete(&written.to_string(), &table)).unwrap()
    }

    #[test]
    fn each_operation_says_what_it_needs() {
        let protected = document(&[("/v/{name}", Need::Admin), ("/healthz", Need::Open)]);
        let operation = &protected["paths"]["/v/{name}"]["get"];
        assert_eq!(operation["security"], json!([{"token": []}]));
        assert_eq!(operation["description"], "It is.\n\nNeeds an admin's token.");
        assert!(operation["responses"]["401"]["headers"]["WWW-Authenticate"].is_object());
        assert!(operation["responses"]["403"].is_object());
        assert_eq!(
            protected["paths"]["/healthz"]["get"],
            json!({"responses": {"200": {}}}),
            "who probes needs nothing"
        );
    }

    #[test]
    fn an_open_one_may_have_values_that_are_not() {
        let mixed = document(&[("/v/{name}", Need::Open), ("/v/x", Need::User), ("/healthz", Need::User)]);
        let operation = &mixed["paths"]["/v/{name}"]["get"];
        assert_eq!(operation["security"], json!([{}, {"token": []}]));
        assert_eq!(operation["description"], "It is.\n\nNeeds no token; `/v/x`: a user's token.");
        assert!(operation["responses"]["401"].is_object() && operation["responses"]["403"].is_null());
        assert_eq!(mixed["paths"]["/healthz"]["get"]["security"], json!([{"token": []}]));
    }
}
