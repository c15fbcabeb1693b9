//! What operators rely on: health, readiness, metrics, the API's document and its page.

use crate::client::Client;
use crate::foods::observe;
use crate::server::{Server, in_time};
use refold_domain::metric;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The sum of a metric over all its labels.
pub(crate) fn total(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter_map(sample).filter(|(found, _)| *found == name);
    samples.map(|(_, value)| value).sum()
}

/// Waits until the samples of a metric come to so much.
pub(crate) async fn until_total(client: &Client, name: &str, wanted: f64) {
    let reached = async {
        while total(&client.get("/metrics").send().await.text, name) != wanted {
            tokio::task::yield_now().await;
        }
    };
    in_time(name, reached).await;
}

/// The name and value of a line that is a sample.
fn sample(line: &str) -> Option<(&str, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let name = series.split('{').next()?;
    (!line.starts_with('#')).then(|| (name, value.parse().unwrap_or_else(|_| panic!("{line}"))))
}

#[tokio::test]
async fn it_is_healthy_and_ready() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/healthz", "/healthz/"] {
        assert_eq!(client.get(path).send().await.is(200).text, "\"ok\"");
    }
    let ready = client.get("/readyz").send().await.is(200).json();
    assert_eq!(ready["ready"], true);
    let dependencies = ready["dependencies"].as_array().unwrap();
    let names: Vec<_> = dependencies.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["log", "store", "partition 0"]);
    assert_eq!(names.len(), 2 + 8);
    for one in dependencies {
        assert_eq!(one["up"], true, "{one}");
        assert!(one["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{one}");
    }
}

#[tokio::test]
async fn metrics_are_in_the_format_of_prometheus() {
    let server = Server::start().await;
    let client = server.client();
    let receipt = observe(&client, "pie").send().await.is(201).receipt();
    client.get("/aggregated").after(receipt).send().await.is(200);

    let answer = client.get("/metrics").send().await.is(200);

    assert!(answer.header("Content-Type").starts_with("text/plain"));
    let mut typed = BTreeSet::new();
    for line in answer.text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# TYPE ") {
            Some(kind) => assert!(typed.insert(kind.split(' ').next().unwrap()), "twice: {line}"),
            None if line.starts_with("# HELP ") => {}
            None => {
                let (name, _) = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                assert!(typed.contains(name) || base.is_some_and(|base| typed.contains(base)), "{line}");
            }
        }
    }
    // One that counts failures appears with the first.
    let silent = [metric::LOG_READ_ERRORS];
    for metric in metric::ALL.iter().filter(|metric| !silent.contains(&metric.name)) {
        assert!(typed.contains(metric.name), "{} is missing", metric.name);
    }
    assert_eq!(total(&answer.text, metric::GATE_ACCEPTED), 1.0);
    assert_eq!(total(&answer.text, metric::PROJECTOR_LAG), 0.0);
    assert!(typed.iter().any(|name| name.starts_with("process_")));
}

#[tokio::test]
async fn projections_tell_where_they_are() {
    let server = Server::start().await;
    let client = server.client();
    let receipt = observe(&client, "pie").send().await.is(201).receipt();
    client.get("/aggregated").after(receipt).send().await.is(200);
    let standing = client.get("/projections").send().await.is(200).json();
    let names: Vec<_> = standing.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    let expected = [
        "detections",
        "food_counts",
        "introduction_history",
        "introductions",
        "picture_weights",
        "purchases_by_day",
        "revenue_by_day",
        "scoops_by_day",
        "suspicious_vehicles",
        "vehicles_per_make",
    ];
    assert_eq!(json!(names), json!(expected));
    for one in standing.as_array().unwrap() {
        assert_eq!((&one["state"], &one["generation"]), (&json!("live"), &json!(1)));
        let partitions = one["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 8);
        assert!(partitions.iter().all(|partition| partition["lag"] == 0 && partition["problem"].is_null()));
    }
    let views = client.get("/views").send().await.is(200).json();
    let named: Vec<_> = views.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(json!(named), json!(expected));
    let missing = client.get("/views/food_count").send().await.problem(404, "not-found");
    assert!(missing.contains("food_counts"), "the nearest is named: {missing}");
}

#[tokio::test]
async fn the_document_is_sound() {
    let server = Server::start().await;
    let document = server.client().get("/openapi.json").send().await.is(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    let mut ids = BTreeSet::new();
    let operations = document["paths"].as_object().unwrap().iter();
    for (path, operation) in operations.flat_map(|(path, item)| {
        let methods = ["get", "post", "put", "delete"].into_iter();
        methods.filter_map(move |method| Some((format!("{method} {path}"), item.get(method)?)))
    }) {
        ids.insert(path.clone());
        let statuses = operation["responses"].as_object().unwrap();
        assert!(statuses.keys().any(|status| status.starts_with('2')), "{path}");
        assert!(operation["summary"].is_string(), "{path}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let headers = statuses.values().filter_map(|response| response["headers"].as_object()).flatten();
        for explained in parameters.chain(statuses.values()).chain(headers.map(|(_, header)| header)) {
            assert!(
                explained["description"].as_str().is_some_and(|words| !words.is_empty()),
                "{path}: {explained}"
            );
        }
    }
    for (body, path) in [
        ("Food", "/foods"),
        ("Introduction", "/introductions"),
        ("Purchase", "/purchases"),
        ("Detection", "/detections"),
        ("ProducersDetection", "/detections"),
        ("Picture", "/pictures"),
    ] {
        let example = &document["components"]["schemas"][body]["example"];
        server.client().post(path, example).send().await.is(201);
    }
    for wanted in [
        "post /foods",
        "get /aggregated",
        "post /purchases",
        "get /purchases/{shop_id}",
        "put /introductions/{id}",
        "post /detections",
        "get /detections",
        "get /stats",
        "get /alerts",
        "post /pictures",
    ] {
        assert!(ids.contains(wanted), "{wanted} is missing: {ids:?}");
    }
    references_resolve(&document, &document);
    // What the document says is what the page at /docs tries.
    let docs = server.client().get("/docs").send().await.is(200).text;
    assert_eq!(document["components"]["schemas"]["Food"]["additionalProperties"], false);
    assert!(docs.contains(&document.to_string()));
}

fn references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            fields.values().for_each(|field| references_resolve(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| references_resolve(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn the_docs_load_nothing_from_elsewhere() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/docs", "/docs/"] {
        let page = client.get(path).send().await.is(200);
        assert!(page.header("Content-Type").starts_with("text/html"));
        for attribute in ["src", "href", "action"] {
            for quote in ['"', '\''] {
                for start in ["http:", "https:", "//"] {
                    let loaded = format!("{attribute}={quote}{start}");
                    assert!(!page.text.contains(&loaded), "{path} has {loaded}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_query_waits_for_receipts_and_tells_its_position() {
    let server = Server::start().await;
    let client = server.client();
    let document = client.get("/openapi.json").send().await.is(200).json();
    let paths = document["paths"].as_object().unwrap().iter();
    for (path, get) in paths.filter_map(|(path, item)| Some((path, item.get("get")?))) {
        // A stream goes on by itself, and says with each message how far it has come.
        let is_stream = !get["responses"]["200"]["content"]["text/event-stream"].is_null();
        if get["tags"] == json!(["Operations"]) || is_stream {
            continue;
        }
        let parameters = get["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str());
        let parameters: Vec<_> = parameters.map(Option::unwrap).collect();
        assert!(["Refold-Receipt", "Prefer"].iter().all(|name| parameters.contains(name)), "{path}");
        assert_eq!(get["responses"]["200"]["headers"]["Refold-Position"]["required"], true, "{path}");
    }
    for path in ["/views", "/projections"] {
        let receipt = observe(&client, "pie").send().await.is(201).receipt();
        let position =
            client.get(path).after(&receipt).send().await.is(200).header("Refold-Position").to_owned();
        let found = client.get("/views/food_counts").send().await.is(200);
        assert_eq!(found.header("Refold-Position"), position, "{path}");
        let unknown = format!("0.{}.1.0", uuid::Uuid::nil());
        let unknown = client.get(path).header("Refold-Receipt", unknown).header("Prefer", "wait=0");
        unknown.send().await.problem(503, "not-folded");
    }
}
