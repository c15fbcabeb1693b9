//! Bad input: answered 4xx with a sentence that helps, and nothing is recorded.

use crate::client::{Answer, Call, Client};
use crate::detections;
use crate::foods::observe;
use crate::introductions::ada;
use crate::pictures;
use crate::purchases::{SHOP, example};
use crate::raw::{Raw, exchange, status};
use crate::server::Server;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A service that is given nothing but bad input, and how far its log was before.
struct Target {
    server: Server,
    client: Client,
    positions: Vec<Value>,
}

impl Target {
    async fn start() -> Self {
        Self::of(Server::new()).await
    }

    async fn of(server: Server) -> Self {
        let server = server.ready().await;
        let client = server.client();
        observe(&client, "pie").send().await.is(201);
        client.post("/purchases", &example()).send().await.is(201);
        client.post("/introductions", &ada()).key("ada").send().await.is(201);
        client.post("/detections", &detections::example()).send().await.is(201);
        let positions = positions(&client).await;
        Self { server, client, positions }
    }

    /// The path of the only introduction.
    async fn ada(&self) -> String {
        let made = self.client.post("/introductions", &ada()).key("ada").send().await.is(201);
        made.header("Location").to_owned()
    }

    /// It is as well as before, and nothing was recorded.
    async fn unharmed(self) {
        self.client.get("/healthz").send().await.is(200);
        self.client.get("/readyz").send().await.is(200);
        assert_eq!(positions(&self.client).await, self.positions);
        let said = self.server.said();
        assert!(!said.contains("ERROR") && !said.contains("panicked"), "{said}");
    }
}

/// The last offset of each partition, folded or not.
async fn positions(client: &Client) -> Vec<Value> {
    let standing = client.get("/projections").send().await.is(200).json();
    let partitions = standing[0]["partitions"].as_array().unwrap().iter();
    partitions.map(|one| json!(one["position"].as_u64().unwrap() + one["lag"].as_u64().unwrap())).collect()
}

/// Every POST and PUT that takes a body.
async fn commands(target: &Target) -> Vec<Call> {
    let client = &target.client;
    let change = client.put(target.ada().await, &ada()).if_match("\"1\"");
    vec![
        observe(client, "pie"),
        client.post("/purchases", &example()),
        client.post("/introductions", &ada()),
        client.post("/detections", &detections::example()),
        client.post("/pictures", &pictures::example()),
        change,
    ]
}

/// That an answer is a problem with a sentence, and no 5xx.
#[track_caller]
fn assert_problem(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
    assert_eq!(answer.header("Content-Type"), "application/problem+json", "{what}: {answer:?}");
    assert!(!answer.json()["detail"].as_str().unwrap().is_empty(), "{what}: {answer:?}");
}

#[tokio::test]
async fn what_is_no_json() {
    let target = Target::start().await;
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let deeper = format!("{}1{}", "{\"food\":".repeat(50_000), "}".repeat(50_000));
    let bodies: [&[u8]; 17] = [
        b"",
        b" ",
        b"{",
        b"{\"food\": \"pie\"",
        b"{\"food\": \"pie\"}}",
        b"{\"food\": \"pie\",}",
        b"{'food': 'pie'}",
        b"{food: \"pie\"}",
        b"food=pie",
        b"\xef\xbb\xbf{\"food\": \"pie\"}",
        b"{\"food\": \"\xff\xfe\"}",
        b"{\"food\": \"\xc3\"}",
        b"{\"food\": \"a\nb\"}",
        b"{\"food\": \"\x00\"}",
        b"{\"food\": NaN}",
        &deep,
        deeper.as_bytes(),
    ];
    for call in commands(&target).await {
        for body in bodies {
            let answer = call.clone().bytes(body).send().await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_problem(&answer, &shown);
            answer.problem(400, "syntax");
        }
        for escape in [r#""\ud800""#, r#""\udc00\ud800""#, r#""\x00""#, "1e400", "-1e400"] {
            let answer = call.clone().bytes(format!("{{\"food\": {escape}}}")).send().await;
            answer.problem(400, "syntax");
        }
    }
    target.unharmed().await;
}

#[tokio::test]
async fn what_is_json_but_does_not_fit() {
    let target = Target::start().await;
    let numbers = [
        "1e308",
        "-0",
        "0",
        "-1",
        "1.5",
        "18446744073709551616",
        "9223372036854775808",
        "1e19",
        "123456789012345678901234567890",
    ];
    for call in commands(&target).await {
        assert_eq!(call.bytes("null").send().await.problem(422, "validation"), "the body must be an object");
    }
    for body in ["null", "true", "1", "\"pie\"", "[]", "[{\"food\": \"pie\"}]", "{}", "{\"x\": 1}", "-0.0"] {
        for call in commands(&target).await {
            call.bytes(body).send().await.problem(422, "validation");
        }
    }
    let wrong = [
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\" \"",
        "\"\\u200b\"",
        "\"\\u0000\"",
        "\"a\\u001fb\"",
        "\"a\\u0085b\"",
    ];
    let long = format!("\"{}\"", "x".repeat(10_001));
    for value in wrong.iter().chain(&numbers).copied().chain([long.as_str()]) {
        let food = format!("{{\"food\": {value}}}");
        refused(target.client.post("/foods", &Value::Null).bytes(food), "food").await;
        let introduction = format!("{{\"name\": {value}, \"message\": {value}}}");
        let call = target.client.post("/introductions", &Value::Null).bytes(introduction);
        refused(call, "message").await;
    }
    for (field, value) in fields_of_a_purchase(&numbers) {
        let mut purchase = example().to_string();
        let old = match field {
            "quantity" => "\"quantity\":2".to_owned(),
            "price" => "\"price\":200".to_owned(),
            "type" => "\"type\":\"chocolate\"".to_owned(),
            field => format!("\"{field}\":{}", example()[field]),
        };
        assert!(purchase.contains(&old), "{old}");
        purchase = purchase.replace(&old, &format!("\"{field}\":{value}"));
        refused(target.client.post("/purchases", &Value::Null).bytes(purchase), field).await;
    }
    for (path, good, field, value) in fields_of_facts(&numbers) {
        let mut body = good.to_string();
        let old = format!("\"{field}\":{}", good[field]);
        assert!(body.contains(&old), "{old}");
        body = body.replace(&old, &format!("\"{field}\":{value}"));
        refused(target.client.post(path, &Value::Null).bytes(body), field).await;
    }
    let mut both = detections::example();
    both["year"] = both["Year"].clone();
    refused(target.client.post("/detections", &both), "Year").await;
    target.unharmed().await;
}

fn fields_of_a_purchase<'n>(numbers: &[&'n str]) -> Vec<(&'static str, &'n str)> {
    let mut wrong = vec![
        ("shop_id", "\"\""),
        ("shop_id", "\"0f8fad5bd9cb469fa16570867728950e\""),
        ("purchase_id", "1"),
        ("purchase_id", "\"urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7\""),
        ("timestamp", "1640692800"),
        ("timestamp", "\"2021-12-28\""),
        ("timestamp", "\"2021-02-30 12:00:00\""),
        ("timestamp", "\"99999-12-28 12:00:00\""),
        ("timestamp", "\"2021-12-28 25:00:00\""),
        ("timestamp", "\"9999-12-31T23:59:59-23:00\""),
        ("timestamp", "\"12:00\""),
        ("scoops", "[]"),
        ("scoops", "{}"),
        ("scoops", "[null]"),
        ("scoops", "[[]]"),
        ("type", "\"mud\""),
        ("type", "\"Chocolate\""),
        ("quantity", "\"2\""),
        ("price", "1000000001"),
        ("price", "[200]"),
    ];
    wrong.extend(numbers.iter().map(|number| ("quantity", *number)));
    wrong.extend(numbers.iter().map(|number| ("price", *number)));
    wrong
}

/// A path, a body that it takes, one of its fields, and a value that is none of it.
fn fields_of_facts<'n>(numbers: &[&'n str]) -> Vec<(&'static str, Value, &'static str, &'n str)> {
    let (detection, picture) = (detections::example(), pictures::example());
    let mut wrong = Vec::new();
    for field in ["Make", "Model", "Category"] {
        let values = ["null", "1", "[]", "\"\"", "\"a\\u001fb\""];
        wrong.extend(values.map(|value| ("/detections", detection.clone(), field, value)));
    }
    for value in ["null", "\"2011\"", "1885", "2101", "2011.5"].iter().chain(numbers) {
        wrong.push(("/detections", detection.clone(), "Year", value));
    }
    for value in ["null", "\"1778\"", "1000000001", "[1778]"].iter().chain(numbers) {
        wrong.push(("/pictures", picture.clone(), "weight", value));
    }
    wrong.extend(["243626", "\"\"", "{}"].map(|value| ("/pictures", picture.clone(), "picture_id", value)));
    wrong
}

/// That a body is refused, with this field named.
async fn refused(call: Call, field: &str) {
    let answer = call.send().await;
    answer.problem(422, "validation");
    let errors = answer.json()["errors"].clone();
    let named = |error: &Value| error["field"].as_str().unwrap().contains(field);
    assert!(errors.as_array().unwrap().iter().any(named), "{field}: {errors}");
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let target = Target::start().await;
    let body = json!({"shop_id": 1, "timestamp": "noon", "scoops": [{"type": "mud", "price": 0, "x": 1}], "more": []});
    let answer = target.client.post("/purchases", &body).send().await;
    answer.problem(422, "validation");
    let errors = answer.json()["errors"].clone();
    let fields: Vec<_> =
        errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    for field in [
        "shop_id",
        "purchase_id",
        "timestamp",
        "scoops[0].type",
        "scoops[0].quantity",
        "scoops[0].price",
        "scoops[0].x",
        "more",
    ] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    target.unharmed().await;
}

/// Those in front of the service may have understood another request.
#[tokio::test]
async fn requests_without_one_host() {
    let target = Target::start().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET /aggregated HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = exchange(&target.client, request).await;
        assert!(status(&answer) == Some(400) && answer.contains("urn:refold:problem:parameter"), "{answer}");
    }
    let older = exchange(&target.client, "GET /aggregated HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&older), Some(200), "{older}");
    target.unharmed().await;
}

/// However much is wrong with a body, the answer stays small.
#[tokio::test]
async fn no_more_errors_are_named_than_anybody_reads() {
    const ANSWER_BYTES_MAX: usize = 64 << 10;
    let target = Target::start().await;
    let many: serde_json::Map<_, _> = (0..50_000).map(|number| (format!("x{number}"), json!(1))).collect();
    let mut purchase = example();
    purchase.as_object_mut().unwrap().extend(many);
    let long = json!({"x".repeat(500_000): 1, "timestamp": "9".repeat(500_000)});
    let scoops = json!({"scoops": vec![json!({"x": 1, "y": 2}); 1_000]});
    for body in [&purchase, &long, &scoops] {
        let answer = target.client.post("/purchases", body).send().await;
        assert!(answer.text.len() < ANSWER_BYTES_MAX, "{} bytes", answer.text.len());
        answer.problem(422, "validation");
    }
    let answer = target.client.post("/purchases", &purchase).send().await;
    let detail = answer.problem(422, "validation");
    assert!(detail.len() < 1_000 && detail.ends_with("the body has 49900 more bad fields"), "{detail}");
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 101);
    target.unharmed().await;
}

#[tokio::test]
async fn names_that_are_given_twice() {
    let target = Target::start().await;
    for call in commands(&target).await {
        let answer = call.bytes(r#"{"food": "pie", "food": "cake"}"#).send().await;
        assert_eq!(answer.problem(422, "validation"), "food: is given more than once");
    }
    let purchase = example().to_string().replace("\"quantity\":2", "\"quantity\":2,\"quantity\":2");
    refused(target.client.post("/purchases", &Value::Null).bytes(purchase), "scoops[0].quantity").await;
    target.unharmed().await;
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let target = Target::of(Server::new().with("HTTP__BODY_BYTES_MAX", "4096")).await;
    let large = format!("{{\"food\": \"{}\"}}", "x".repeat(100_000));
    for call in commands(&target).await {
        call.bytes(large.clone()).send().await.problem(413, "too-large");
    }
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3));
    assert_eq!(status(&exchange(&target.client, chunked).await), Some(413));
    for length in ["5000", "9223372036854775807"] {
        let declared = format!("{head}Content-Length: {length}\r\n\r\n{{");
        assert_eq!(status(&exchange(&target.client, declared).await), Some(413), "{length}");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn content_types_that_are_not_json() {
    let target = Target::start().await;
    for call in commands(&target).await {
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", "", "\u{e4}"]
        {
            let answer = call.clone().without("Content-Type").header("Content-Type", kind).send().await;
            answer.problem(415, "content-type");
        }
        call.without("Content-Type").send().await.problem(415, "content-type");
    }
    for (name, value) in
        [("Content-Encoding", "gzip"), ("Content-Type", "application/json; charset=\"utf-16\"")]
    {
        for call in commands(&target).await {
            call.without(name).header(name, value).send().await.problem(415, "content-type");
        }
    }
    for kind in
        ["application/json; charset=utf-8", "application/json; x=1; Charset=\"UTF-8\"", "Application/JSON"]
    {
        let call = observe(&target.client, "").without("Content-Type").header("Content-Type", kind);
        call.send().await.problem(422, "validation");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn idempotency_keys_that_cannot_be_read() {
    let target = Target::start().await;
    let mut calls = commands(&target).await;
    calls.push(target.client.delete(target.ada().await).if_match("\"1\""));
    for call in calls {
        for key in
            [b"".as_slice(), &[b'x'; 256], &[b'x'; 3_000], b"\xff", "schl\u{fc}ssel".as_bytes(), b"a\tb"]
        {
            let answer = call.clone().key(key).send().await;
            assert_problem(&answer, &String::from_utf8_lossy(key));
            answer.problem(400, "parameter");
        }
        call.key("a").key("b").send().await.problem(400, "parameter");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn receipts_that_are_none() {
    let target = Target::start().await;
    let writer = "0198a6c2-7a10-7000-8000-000000000001";
    let receipts = [
        String::new(),
        "1".into(),
        "a,b".into(),
        format!("8.{writer}.1.0"),
        format!("4294967296.{writer}.1.0"),
        format!("0.{writer}.1"),
        format!("0.{writer}.1.0.0"),
        format!("0.{writer}.-1.0"),
        format!("0.{writer}.18446744073709551616.0"),
        format!("0.{writer}.1.0,"),
        format!("{},0.{writer}.1.0", format!("0.{writer}.1.0,").repeat(1_100).trim_end_matches(',')),
        "\u{e4}".into(),
    ];
    let paths = [
        "/aggregated",
        "/introductions",
        "/introductions/x",
        "/introductions/x/history",
        "/views/food_counts",
        "/views",
        "/projections",
        "/detections",
        "/stats",
    ];
    for path in paths.into_iter().chain([format!("/purchases/{SHOP}").as_str()]) {
        for receipt in &receipts {
            let answer = target.client.get(path).header("Refold-Receipt", receipt).send().await;
            assert_eq!(answer.status, 400, "{path} {receipt:.80}: {answer:?}");
            answer.problem(400, "parameter");
        }
    }
    // One that is well-formed may still come: it is waited for, as long as the client likes.
    let unknown = target.client.get("/aggregated").header("Refold-Receipt", format!("0.{writer}.1.0"));
    unknown.clone().header("Prefer", "wait=0").send().await.problem(503, "not-folded");
    for odd in [
        "wait",
        "wait=",
        "wait=x",
        "wait=-1",
        "wait=1e9",
        "",
        "\u{e4}",
        "wait=99999999999999999999",
        "foo, wait=0",
    ] {
        target.client.get("/aggregated").header("Prefer", odd).send().await.is(200);
    }
    target.unharmed().await;
}

#[tokio::test]
async fn parameters_that_cannot_be_read() {
    let target = Target::start().await;
    let shop = format!("/purchases/{SHOP}");
    let mut bad: Vec<String> = Vec::new();
    for list in [
        "/introductions",
        &shop,
        "/detections",
        "/views/introductions",
        "/views/purchases_by_day",
        "/views/food_counts",
    ] {
        let odd =
            ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=99999999999", "limit=1.5"];
        bad.extend(odd.map(|odd| format!("{list}?{odd}")));
        let odd = [
            "cursor=x",
            "cursor=%00",
            "cursor=%FF",
            "cursor=",
            "cursor=AA",
            "cursor=AAAA",
            "cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "cursor=%C3%A4",
        ];
        bad.extend(odd.map(|odd| format!("{list}?{odd}")));
    }
    let dates = [
        "2021-13-01",
        "2021-02-30",
        "yesterday",
        "",
        "2021-12-28T00:00:00Z",
        "20211228",
        "99999-01-01",
        "-0001-01-01",
        "%00",
    ];
    bad.extend(dates.map(|date| format!("{shop}?date={date}")));
    bad.extend(["/purchases/none", "/purchases/%00", "/purchases/%FF"].map(str::to_owned));
    let odd = ["from=x", "until=", "shop=1", "shop_id=1&shop_id=2", "from=2021-12-28"];
    bad.extend(odd.map(|odd| format!("/views/purchases_by_day?{odd}")));
    bad.extend(["/views/food_counts?fod=1", "/views/introductions?key=1&x=2"].map(str::to_owned));
    for path in bad {
        let answer = target.client.get(&path).send().await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        answer.problem(400, "parameter");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn a_bad_parameter_is_named_and_told_what_it_must_be() {
    let target = Target::start().await;
    let day = format!("/purchases/{SHOP}?date=tomorrow");
    for (path, name, told) in [
        ("/introductions?limit=0", "limit", "must be a whole number from 1 to 1000"),
        ("/views/food_counts?limit=many", "limit", "must be a whole number from 1 to 1000"),
        ("/aggregated?limit=100001", "limit", "must be a whole number from 1 to 100000"),
        ("/introductions?cursor=x", "cursor", "leave it out to start from the beginning"),
        ("/views/purchases_by_day?from=noon", "from", "must be a time such as 2026-01-31T08:00:00Z"),
        ("/detections?skip=10001", "skip", "must be a whole number from 0 to 10000"),
        ("/detections?skip=-1", "skip", "must be a whole number from 0 to 10000"),
        ("/stats?limit=0", "limit", "must be a whole number from 1 to 100000"),
        ("/views/food_counts?until=2021-12-28%2000:00:00", "until", "only for a view of rows"),
        ("/views/introductions?id=1", "id", "known: key"),
        (day.as_str(), "date", "must be a day such as 2026-01-31"),
        ("/purchases/ours", "shop_id", "must be a UUID such as"),
        ("/introductions?limit=1&limit=2", "limit", "must be given once"),
        ("/views/food_counts?food=pie&food=cake", "food", "must be given once"),
    ] {
        wrong_parameter(&target, path, name, told).await;
    }
    let answer = observe(&target.client, "pie").key("a\tb").send().await;
    answer.problem(400, "parameter");
    let expected = "must be 1 to 255 printable ASCII characters";
    assert_eq!(answer.json()["errors"], json!([{"field": "Idempotency-Key", "reason": expected}]));
    target.unharmed().await;
}

#[tokio::test]
async fn slips_in_names_of_parameters_are_told() {
    let target = Target::start().await;
    let shop = format!("/purchases/{SHOP}?dat=2021-12-28");
    for (path, name, told) in [
        ("/aggregated?limt=1", "limt", "did you mean \"limit\"?"),
        ("/stats?skip=1", "skip", "unknown parameter"),
        ("/introductions?Limit=1", "Limit", "did you mean \"limit\"?"),
        ("/introductions/x?limit=1", "limit", "unknown parameter"),
        ("/introductions/x/history?curser=1", "curser", "did you mean \"cursor\"?"),
        (shop.as_str(), "dat", "did you mean \"date\"?"),
        ("/views?name=x", "name", "unknown parameter"),
        ("/projections?=", "", "unknown parameter"),
        ("/views/food_counts?fod=pie", "fod", "did you mean \"food\"?"),
    ] {
        wrong_parameter(&target, path, name, told).await;
    }
    observe(&target.client, "pie").at("/foods?limt=1").send().await.problem(400, "parameter");
    for path in ["/healthz?x=1&x=2", "/readyz?verbose", "/metrics?collect[]=cpu", "/aggregated?", "/views?&"]
    {
        target.client.get(path).send().await.is(200);
    }
    target.unharmed().await;
}

#[tokio::test]
async fn parameters_that_are_no_utf8() {
    let target = Target::start().await;
    for (path, name) in [
        ("/views/food_counts?food=%FF", "food"),
        ("/views/introductions?key=a%C3&limit=1", "key"),
        ("/introductions?cursor=%ED%A0%80", "cursor"),
        ("/views/food_counts?f%FFd=pie", "f\u{fffd}d"),
        ("/introductions/%FF", "id"),
        ("/introductions/%C3/history", "id"),
        ("/purchases/%FF", "shop_id"),
        ("/views/%FF", "name"),
    ] {
        wrong_parameter(&target, path, name, "must be percent-encoded UTF-8").await;
    }
    let change = target.client.put("/introductions/%FF", &ada()).if_match("*").send().await;
    change.problem(400, "parameter");
    // A plus is a blank, and what is encoded well is itself.
    let found = target.client.get("/views/food_counts?food=a+%E5%AF%BF%2B").send().await.is(200);
    assert_eq!(found.json()["data"], json!([]));
    target.unharmed().await;
}

/// That a request is refused for this parameter, in these words.
async fn wrong_parameter(target: &Target, path: &str, name: &str, told: &str) {
    let answer = target.client.get(path).send().await;
    let detail = answer.problem(400, "parameter");
    let errors = answer.json()["errors"].clone();
    assert_eq!(
        (&errors[0]["field"], errors.as_array().unwrap().len()),
        (&json!(name), 1),
        "{path}: {errors}"
    );
    assert!(detail.starts_with(name) && detail.contains(told), "{path}: {detail}");
    for raw in ["verification", "failed to", "string", "optional"] {
        assert!(!detail.contains(raw), "{path}: {detail}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_none() {
    let target = Target::start().await;
    for path in [
        "/food",
        "/foods/1",
        "/introductions/x/y",
        "/introductions//history",
        "/%00",
        "/%FF",
        "/..%2f..%2fetc/passwd",
        "/aggregated/x",
        "/views/x/y",
        "/%",
        "/introductions/%FF",
    ] {
        let answer = target.client.get(path).send().await;
        // What cannot be decoded is no path at all.
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
        assert_problem(&answer, path);
    }
    let methods = [
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
        Method::from_bytes(b"BREW").unwrap(),
    ];
    for path in [
        "/foods",
        "/purchases",
        "/introductions",
        "/detections",
        "/pictures",
        "/stats",
        "/aggregated",
        "/healthz",
        "/metrics",
    ] {
        for method in &methods[..4] {
            let answer = target.client.call(method.clone(), path).send().await;
            answer.problem(405, "method");
            assert!(!answer.header("Allow").is_empty());
        }
        let odd =
            exchange(&target.client, format!("BREW {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
        assert_eq!(status(&odd), Some(405), "{odd}");
    }
    target.client.get("/foods").send().await.problem(405, "method");
    for file in ["/", "/openapi.json", "/docs", "/page/app.js"] {
        let answer = target.client.call(Method::DELETE, file).send().await;
        answer.problem(405, "method");
        assert_eq!(answer.header("Allow"), "GET", "{file}");
    }
    target.client.call(Method::POST, "/aggregated").send().await.problem(405, "method");
    target.unharmed().await;
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let target = Target::start().await;
    let long = "x".repeat(100_000);
    for path in [
        format!("/aggregated?{long}"),
        format!("/views/food_counts?food={long}"),
        format!("/introductions/{long}"),
    ] {
        let answer =
            exchange(&target.client, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
        assert!([Some(414), Some(431), Some(400)].contains(&status(&answer)), "{answer:.200}");
    }
    let header = format!("X: {}\r\n", "x".repeat(1_000_000));
    let many = "X: y\r\n".repeat(10_000);
    for headers in [header, many] {
        let answer =
            exchange(&target.client, format!("GET /aggregated HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        // The service may hang up before it was told everything.
        assert!(answer.is_empty() || [Some(400), Some(431)].contains(&status(&answer)), "{answer:.200}");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn bytes_that_are_no_http() {
    let target = Target::start().await;
    let requests: [&[u8]; 11] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n{}",
        b"POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ];
    for request in requests {
        let answer = exchange(&target.client, request).await;
        let shown = String::from_utf8_lossy(request).into_owned();
        assert!(
            answer.is_empty() || status(&answer).is_some_and(|status| (400..500).contains(&status)),
            "{shown}: {answer}"
        );
    }
    target.unharmed().await;
}

#[tokio::test]
async fn garbage_after_a_request_harms_nobody() {
    let target = Target::start().await;
    let answer =
        exchange(&target.client, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02 garbage\r\n\r\n").await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (Some(200), 2), "{answer}");
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
    let old = exchange(&target.client, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(status(&old) == Some(200) && old.ends_with("\"ok\""), "{old}");
    target.unharmed().await;
}

#[tokio::test]
async fn requests_that_are_half_sent() {
    let server = Server::new().with("HTTP__HEAD_TIMEOUT_MS", "300").with("HTTP__BODY_TIMEOUT_MS", "300");
    let target = Target::of(server).await;
    let began = Instant::now();
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n";
    for part in ["", "G", "POST /foods HT", &head[..40], head] {
        let mut connection = Raw::connect(&target.client).await;
        connection.send(part).await;
        let answer = connection.rest().await;
        assert!(answer.is_empty() || [Some(400), Some(408)].contains(&status(&answer)), "{part:?}: {answer}");
    }
    let mut connection = Raw::connect(&target.client).await;
    connection.send(format!("{head}\r\n{{\"food\"")).await;
    let answer = connection.until("\r\n\r\n{").await;
    assert!(status(&answer) == Some(408) && answer.contains("urn:refold:problem:too-slow"), "{answer}");
    assert!(connection.rest().await.len() < 1_000);
    for part in ["{\"food\"", ""] {
        let mut connection = Raw::connect(&target.client).await;
        connection.send(format!("{head}\r\n{part}")).await;
        connection.finish().await;
        let answer = connection.rest().await;
        assert!(answer.is_empty() || status(&answer) == Some(400), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "each is closed after its time");
    target.unharmed().await;
}
