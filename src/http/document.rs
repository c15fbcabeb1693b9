//! The OpenAPI document: as the library writes it, and what it has no words for.

use super::headers::{IF_MATCH, KEY, POSITION, PREFER, RECEIPT};
use super::typed::{Key, Typed};
use poem::http::header;
use poem::{Endpoint, Response, get};
use poem_openapi::registry::MetaSchemaRef;
use poem_openapi::types::Type;
use serde_json::{Map, Value, json};

/// The headers of answers, spelt as they are known, with what they are good for.
const HEADERS: [(&str, &str); 6] = [
    (RECEIPT, "The command's place in the log; a query that brings it back sees what was written"),
    (
        POSITION,
        "How far the views had come in each partition, as `LOG:OFFSET,OFFSET,...`; `-` where nothing is folded yet",
    ),
    ("ETag", "The version, to be sent back as `If-Match` with a change"),
    ("Location", "Where it can be read"),
    ("Link", "Where the rest is"),
    ("Cache-Control", "Who may keep it: nobody"),
];

/// Where schemas stand.
const SCHEMAS: &str = "#/components/schemas/";

/// What no list of parameters can name: the fields of whichever view is asked for.
const FIELDS_AT: [&str; 2] = ["/views/{name}", "/views/{name}/live"];

/// The document, which also says that bodies may have no other fields than those named, and what headers mean.
///
/// # Panics
/// Where `written` is no OpenAPI document.
pub fn complete(written: &str) -> String {
    let mut document: Value = serde_json::from_str(written).expect("the library writes JSON");
    let mut names = Vec::new();
    let operations = document["paths"].as_object().into_iter().flat_map(Map::values);
    for operation in operations.filter_map(Value::as_object).flat_map(Map::values) {
        reach(&document, &operation["requestBody"], &mut names);
    }
    let schemas = document["components"]["schemas"].clone();
    each_operation(&mut document, |operation| {
        declare_headers(operation);
        show_lines(operation, &schemas);
        explain_headers(operation);
        explain_forms(operation);
    });
    for path in FIELDS_AT {
        if let Some(parameters) = document["paths"][path]["get"]["parameters"].as_array_mut() {
            // After the name of the view, whose fields they are.
            parameters.insert(1, fields());
        }
    }
    for name in names {
        let schema = &mut document["components"]["schemas"][name];
        // A choice between objects has no properties of its own.
        if schema["type"] == "object" && schema["oneOf"].is_null() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document.to_string()
}

fn fields() -> Value {
    json!({
        "name": "fields", "in": "query", "style": "form", "explode": true, "required": false,
        "description": "Values of the view's key fields, each a parameter of its own: `food=pie`; on this page an object, `{\"food\": \"pie\"}`. `/views` names the fields",
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        "example": {},
    })
}

/// Says which headers a request may bring. Its answers tell: a receipt is that of a command, which takes a key; who is
/// told how far the views had come could have waited for receipts; who may lack a version can say it. So no handler
/// has to declare what all of its kind read.
fn declare_headers(operation: &mut Value) {
    let (text, key) = (String::schema_ref(), Typed::<Key>::schema_ref());
    let mut taken = Vec::new();
    if !operation["responses"]["428"].is_null() {
        taken.push(taken_header(IF_MATCH, "The ETag of the version that you know", &text));
    }
    if answers_with(operation, RECEIPT) {
        let meaning = "Makes a repeat answer what the first request did";
        taken.push(taken_header(KEY, meaning, &key));
    }
    if answers_with(operation, POSITION) {
        let meaning = "Waits until the commands of these receipts can be seen";
        taken.push(taken_header(RECEIPT, meaning, &text));
        let meaning = "How long to wait for them: `wait=SECONDS`, 2 unless said, at most 30";
        taken.push(taken_header(PREFER, meaning, &text));
    }
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) => parameters.extend(taken),
        None if taken.is_empty() => {}
        None => operation["parameters"] = taken.into(),
    }
}

fn taken_header(name: &str, meaning: &str, schema: &MetaSchemaRef) -> Value {
    json!({
        "name": name, "schema": schema, "in": "header", "description": meaning,
        "required": false, "deprecated": false, "explode": true,
    })
}

/// Whether an answer of an operation has this header.
fn answers_with(operation: &Value, header: &str) -> bool {
    let mut responses = operation["responses"].as_object().into_iter().flat_map(Map::values);
    responses.any(|response| !response["headers"][header.to_uppercase()].is_null())
}

fn each_operation(document: &mut Value, mut change: impl FnMut(&mut Value)) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(&mut change);
}

/// Swagger UI would send the array that stands for lines: it is given lines to show.
fn show_lines(operation: &mut Value, schemas: &Value) {
    let Some(lines) = operation.pointer_mut("/requestBody/content/application~1x-ndjson") else {
        return;
    };
    if let Some(example) = example(&lines["schema"]["items"], schemas) {
        lines["example"] = json!(format!("{example}\n"));
    }
}

/// The example of a schema, or of the first of those that it is a choice of.
fn example<'s>(schema: &'s Value, schemas: &'s Value) -> Option<&'s Value> {
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix(SCHEMAS));
    let schema = named.map_or(schema, |name| &schemas[name]);
    let first = schema["oneOf"].get(0).and_then(|first| example(first, schemas));
    schema.get("example").or(first)
}

/// Swagger UI shows what a parameter is for, but not what its schema says it must be.
fn explain_forms(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let (meaning, form) = (&parameter["description"], &parameter["schema"]["description"]);
        if let (Some(meaning), Some(form)) = (meaning.as_str(), form.as_str()) {
            parameter["description"] = json!(format!("{meaning}: {form}"));
        }
    }
}

/// The library writes the names of headers in capitals, and most without a word.
fn explain_headers(operation: &mut Value) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let responses = responses.into_iter().flat_map(Map::values_mut);
    for headers in responses.filter_map(|response| response.get_mut("headers")?.as_object_mut()) {
        for (name, meaning) in HEADERS {
            if let Some(mut header) = headers.remove(&name.to_uppercase()) {
                if header["description"].is_null() {
                    header["description"] = json!(meaning);
                }
                headers.insert(name.to_owned(), header);
            }
        }
    }
}

/// Gathers the names of all schemas that `part` refers to.
fn reach(document: &Value, part: &Value, names: &mut Vec<String>) {
    match part {
        Value::Object(fields) => fields.values().for_each(|field| reach(document, field, names)),
        Value::Array(items) => items.iter().for_each(|item| reach(document, item, names)),
        Value::String(text) => {
            let Some(name) = text.strip_prefix(SCHEMAS) else {
                return;
            };
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
                reach(document, &document["components"]["schemas"][name], names);
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
                "requestBody": {"content": {"j": {"schema": {"$ref": "#/components/schemas/AorD"}}}},
                "responses": {"200": {"schema": {"$ref": "#/components/schemas/C"}}},
            }, "get": {}}},
            "components": {"schemas": {
                "A": {"type": "object", "properties": {"b": {"items": {"$ref": "#/components/schemas/B"}}}},
                "B": {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}},
                "C": {"type": "object"},
                "AorD": {"type": "object", "oneOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/D"}]},
                "D": {"type": "object"},
            }},
        });
        let document: Value = serde_json::from_str(&complete(&written.to_string())).unwrap();
        let closed =
            |name: &str| document["components"]["schemas"][name].get("additionalProperties").cloned();
        assert_eq!(
            (closed("A"), closed("B"), closed("D")),
            (Some(json!(false)), Some(json!(false)), Some(json!(false)))
        );
        assert_eq!((closed("AorD"), closed("C")), (None, None));
    }

    #[test]
    fn lines_are_shown_as_lines() {
        let array = json!({"type": "array", "items": {"$ref": "#/components/schemas/A"}});
        let content = json!({"application/x-ndjson": {"schema": array}});
        let written = json!({
            "paths": {"/a": {"post": {"requestBody": {"content": content}}}},
            "components": {"schemas": {
                "A": {"type": "object", "oneOf": [{"$ref": "#/components/schemas/B"}]},
                "B": {"type": "object", "example": {"b": 1}},
            }},
        });
        let document: Value = serde_json::from_str(&complete(&written.to_string())).unwrap();
        let shown =
            &document["paths"]["/a"]["post"]["requestBody"]["content"]["application/x-ndjson"]["example"];
        assert_eq!(*shown, json!("{\"b\":1}\n"));
    }

    #[test]
    fn headers_are_spelt_as_they_are_known_and_explained() {
        let headers =
            json!({"REFOLD-RECEIPT": {"required": true}, "LINK": {"description": "More"}, "Retry-After": {}});
        let written =
            json!({"paths": {"/a": {"get": {"responses": {"200": {"headers": headers}, "204": {}}}}}});
        let document: Value = serde_json::from_str(&complete(&written.to_string())).unwrap();
        let told = json!({
            "Retry-After": {},
            "Refold-Receipt": {"required": true, "description": HEADERS[0].1},
            "Link": {"description": "More"},
        });
        assert_eq!(document["paths"]["/a"]["get"]["responses"], json!({"200": {"headers": told}, "204": {}}));
    }

    #[test]
    fn what_is_answered_tells_what_may_be_sent() {
        let of = |operation: Value| {
            let written = json!({"paths": {"/a": {"get": operation}}});
            let document: Value = serde_json::from_str(&complete(&written.to_string())).unwrap();
            document["paths"]["/a"]["get"].clone()
        };
        let taken = |responses: Value| {
            let parameters = of(json!({"parameters": [{"name": "id"}], "responses": responses}));
            let parameters = parameters["parameters"].as_array().unwrap().iter();
            parameters.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let with = |name: &str| json!({"headers": {name: {"required": true}}});
        let (receipt, position) = (with("REFOLD-RECEIPT"), with("REFOLD-POSITION"));
        assert_eq!(taken(json!({"201": receipt, "400": {}})), ["id", KEY]);
        assert_eq!(taken(json!({"200": receipt, "428": {}})), ["id", IF_MATCH, KEY]);
        assert_eq!(taken(json!({"200": position})), ["id", RECEIPT, PREFER]);
        assert_eq!(taken(json!({"200": {}})), ["id"]);
        let bare = json!({"responses": {"200": {}}});
        assert_eq!(of(bare.clone()), bare, "and nothing else is added");
    }
}
