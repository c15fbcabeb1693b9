//! The OpenAPI document: as the library writes it, and what it has no words for.

use poem::http::header;
use poem::{Endpoint, Response, get};
use serde_json::{Value, json};

/// The document, which also says that bodies may have no other fields than those named.
///
/// # Panics
/// Where `written` is no OpenAPI document.
pub fn complete(written: &str) -> String {
    let mut document: Value = serde_json::from_str(written).expect("the library writes JSON");
    let mut names = Vec::new();
    let operations = document["paths"].as_object().into_iter().flat_map(serde_json::Map::values);
    for operation in operations.filter_map(Value::as_object).flat_map(serde_json::Map::values) {
        reach(&document, &operation["requestBody"], &mut names);
    }
    for name in names {
        document["components"]["schemas"][name]["additionalProperties"] = json!(false);
    }
    document.to_string()
}

/// Gathers the names of all schemas that `part` refers to.
fn reach(document: &Value, part: &Value, names: &mut Vec<String>) {
    match part {
        Value::Object(fields) => fields.values().for_each(|field| reach(document, field, names)),
        Value::Array(items) => items.iter().for_each(|item| reach(document, item, names)),
        Value::String(text) => {
            let Some(name) = text.strip_prefix("#/components/schemas/") else {
                return;
            };
            let schema = &document["components"]["schemas"][name];
            if schema["type"] == "object" && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
                reach(document, schema, names);
            }
        }
        _ => {}
    }
}

/// Serves the document.
pub fn endpoint(document: String) -> impl Endpoint {
    get(poem::endpoint::make_sync(move |_| {
        Response::builder().header(header::CONTENT_TYPE, "application/json").body(document.clone())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bodies_are_made_of_is_closed() {
        let written = json!({
            "paths": {"/a": {"post": {
                "requestBody": {"content": {"j": {"schema": {"$ref": "#/components/schemas/A"}}}},
                "responses": {"200": {"schema": {"$ref": "#/components/schemas/C"}}},
            }, "get": {}}},
            "components": {"schemas": {
                "A": {"type": "object", "properties": {"b": {"items": {"$ref": "#/components/schemas/B"}}}},
                "B": {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}},
                "C": {"type": "object"},
            }},
        });
        let document: Value = serde_json::from_str(&complete(&written.to_string())).unwrap();
        let closed =
            |name: &str| document["components"]["schemas"][name].get("additionalProperties").cloned();
        assert_eq!((closed("A"), closed("B"), closed("C")), (Some(json!(false)), Some(json!(false)), None));
    }
}
