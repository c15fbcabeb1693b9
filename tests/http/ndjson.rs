//! Many commands in one body, a line each: all of them count, once, and none if one of them is bad.

use crate::client::{Answer, Call, Client};
use crate::data;
use crate::foods::{aggregated, observe};
use crate::operations::total;
use crate::purchases::{example, of_day, purchase};
use crate::raw::{Raw, status};
use crate::server::Server;
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// How many facts the log takes as one command.
pub(crate) const CHUNK_LINES: usize = 1_024;

pub(crate) fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

pub(crate) fn foods(foods: &[String]) -> String {
    lines(&foods.iter().map(|food| json!({"food": food})).collect::<Vec<_>>())
}

/// That all lines were accepted, and that the receipts are told twice, at most one for each partition.
#[track_caller]
fn accepted(answer: Answer, lines: usize) -> String {
    let answer = answer.is(201);
    let told = answer.json();
    assert_eq!(told["accepted"], lines, "{told}");
    let receipts: Vec<_> =
        told["receipts"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(receipts.join(","), answer.receipt());
    let partitions: BTreeSet<_> = receipts.iter().map(|receipt| receipt.split('.').next()).collect();
    assert_eq!(partitions.len(), receipts.len(), "{receipts:?}");
    answer.receipt()
}

/// That nothing was recorded, apart from the one pie that is eaten here.
async fn nothing_is_recorded(client: &Client) {
    let receipt = observe(client, "the only pie").send().await.is(201).receipt();
    assert_eq!(aggregated(client, &receipt).await, json!([{"food": "the only pie", "count": 1}]));
}

#[tokio::test]
async fn a_replayed_file_gives_exactly_its_counts() {
    let server = Server::start().await;
    let client = server.client();
    let observations = data::observations();

    let receipts =
        accepted(client.post_lines("/foods", foods(&observations)).send().await, observations.len());

    assert_eq!(aggregated(&client, &receipts).await, data::aggregated(&data::foods()));
}

#[tokio::test]
async fn every_fact_comes_in_lines() {
    let server = Server::start().await;
    let client = server.client();
    let vehicles = data::detections();
    let sent = client.post_lines("/detections", lines(&vehicles)).key("k").send().await;
    let receipts = accepted(sent, vehicles.len());
    let pictures: Vec<_> =
        (1..2_500).map(|weight| json!({"picture_id": weight.to_string(), "weight": weight})).collect();
    let sent = client.post_lines("/pictures/", lines(&pictures)).key("k").send().await;
    let pictures = accepted(sent, pictures.len());

    client.get("/stats").after(format!("{receipts},{pictures}")).send().await.is(200);
    crate::detections::all_are_there(&client, &vehicles).await;
    let metrics = client.get("/metrics").send().await.is(200).text;
    let chunks = vehicles.len().div_ceil(CHUNK_LINES) + 3;
    assert_eq!(total(&metrics, "refold_gate_commands_accepted_total"), chunks as f64);
}

#[tokio::test]
async fn a_repeat_with_the_same_key_counts_once() {
    let server = Server::start().await;
    let client = server.client();
    let many: Vec<_> = (0..10 * CHUNK_LINES + 1).map(|number| format!("food {}", number % 7)).collect();
    let call = client.post_lines("/foods", foods(&many)).key("k");

    let first = call.send().await;
    let receipts = accepted(first.clone(), many.len());
    assert!(receipts.contains(','), "chunks are spread: {receipts}");
    let counted = aggregated(&client, &receipts).await;
    let total: u64 = counted.as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(total, many.len() as u64);

    // Blank lines, other line ends and other spelling are the same body.
    let spelt = foods(&many).replace('\n', "\r\n\n").replace("food 1", "f\\u006fod 1");
    for again in [call.send().await, client.post_lines("/foods", spelt).key("k").send().await] {
        assert_eq!((again.receipt(), &again.text), (first.receipt(), &first.text));
    }
    assert_eq!(aggregated(&client, &receipts).await, counted);
}

#[tokio::test]
async fn a_key_is_for_one_body() {
    let server = Server::start().await;
    let client = server.client();
    let many = vec!["pie".to_owned(); 3 * CHUNK_LINES];
    let receipts = accepted(client.post_lines("/foods", foods(&many)).key("k").send().await, many.len());
    let pies = aggregated(&client, &receipts).await;

    let mut longer = many.clone();
    longer.push("pie".into());
    let mut other = many.clone();
    other[CHUNK_LINES + 7] = "soup".into();
    for body in [&longer, &other, &many[..CHUNK_LINES].to_vec(), &many[..1].to_vec()] {
        client.post_lines("/foods", foods(body)).key("k").send().await.problem(422, "key-reused");
    }
    observe(&client, "pie").key("k").send().await.problem(422, "key-reused");
    assert_eq!(aggregated(&client, &receipts).await, pies, "nothing else was recorded");

    // The key of one is not the key of many, nor that of a chunk of them.
    observe(&client, "one").key("one").send().await.is(201);
    client.post_lines("/foods", foods(&["one".into()])).key("one").send().await.problem(422, "key-reused");
    for key in ["k/1", "k\",1", "k1", "k,1"] {
        observe(&client, "one").key(key).send().await.is(201);
    }
}

#[tokio::test]
async fn nothing_is_recorded_if_a_line_is_bad() {
    let server = Server::start().await;
    let client = server.client();
    let huge = json!({"food": "x".repeat(2_000_000)}).to_string();
    for (bad, field, reason) in [
        (b"{\"food\": 1}".as_slice(), "food", "must be a text"),
        (b"{\"food\": \"pie\", \"more\": 1}", "more", "is unknown"),
        (b"{\"food\": \"pie\", \"food\": \"soup\"}", "food", "is given more than once"),
        (b"{\"food\": \"pie\"", "", "is no JSON: EOF while parsing an object at column 14"),
        (b"{\"food\": \"pie\"} {\"food\": \"pie\"}", "", "is no JSON: trailing characters at column 17"),
        (b"[{\"food\": \"pie\"}]", "", "must be an object"),
        (b"\xff\xfe", "", "is no JSON"),
        (b"{\"food\": \"\xc3\"}", "", "is no JSON"),
        (b"\xef\xbb\xbf{\"food\": \"pie\"}", "", "is no JSON"),
        (b"{\"food\": \"\x00\"}", "", "is no JSON"),
        (huge.as_bytes(), "", "has more than 1048576 bytes"),
    ] {
        let mut body = b"{\"food\": \"pie\"}\n\r\n".repeat(2_000);
        body.extend_from_slice(bad);
        body.extend(b"\n{\"food\": \"pie\"}\n".repeat(2_000));
        for call in [client.post_lines("/foods", body.clone()), client.post_lines("/foods", body).key("k")] {
            let answer = call.send().await;
            let detail = answer.problem(422, "validation");
            assert!(
                detail.starts_with("line 4001: ") && detail.ends_with("; nothing was recorded"),
                "{detail}"
            );
            let errors = answer.json()["errors"].clone();
            assert_eq!((&errors[0]["line"], &errors[0]["field"]), (&json!(4_001), &json!(field)));
            assert!(errors[0]["reason"].as_str().unwrap().starts_with(reason), "{errors}");
        }
    }
    nothing_is_recorded(&client).await;
}

#[tokio::test]
async fn so_many_errors_are_told_and_no_more() {
    let server = Server::start().await;
    let client = server.client();
    for (bad, told, more) in [
        (1, 1, ""),
        (2, 2, "and 1 more, see"),
        (100, 100, "and 99 more"),
        (101, 100, "has the first 100, there are more"),
    ] {
        let answer = client.post_lines("/foods", "{}\n".repeat(bad)).send().await;
        let detail = answer.problem(422, "validation");
        assert!(detail.contains(more), "{detail}");
        assert_eq!(answer.json()["errors"].as_array().unwrap().len(), told);
    }
    for body in ["", "\n", " \r\n\t\n"] {
        let detail = client.post_lines("/foods", body).send().await.problem(422, "validation");
        assert!(detail.contains("must have at least one line"), "{detail}");
    }
    nothing_is_recorded(&client).await;
}

#[tokio::test]
async fn bodies_are_bounded_in_bytes_lines_and_time() {
    let server = Server::new().with("HTTP__NDJSON_BYTES_MAX", "4000000").with("HTTP__BODY_TIMEOUT_MS", "300");
    let server = server.ready().await;
    let client = server.client();
    client
        .post_lines("/foods", "{\"food\":\"pie\"}\n".repeat(270_000))
        .send()
        .await
        .problem(413, "too-large");
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n";
    let mut slow = Raw::connect(&client).await;
    slow.send(head).await;
    slow.send("{\"food\":\"pie\"}\n").await;
    let answer = slow.drip(Duration::from_millis(10)).await;
    assert_eq!(status(&answer), Some(408), "{answer}");
    nothing_is_recorded(&client).await;
}

#[tokio::test]
async fn so_many_bodies_are_read_at_once_and_no_more() {
    let server = Server::new().with("HTTP__NDJSON_REQUESTS_MAX", "2").ready().await;
    let client = server.client();
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/x-ndjson\r\n\
                Content-Length: 15\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = Raw::connect(&client).await;
        connection.send(head).await;
        // The body is wanted: its request has a place.
        connection.until("100 Continue").await;
        held.push(connection);
    }
    let call = client.post_lines("/foods", "{\"food\":\"pie\"}\n");
    call.send().await.problem(503, "overloaded");
    let alone = observe(&client, "pie").send().await.is(201).receipt();
    for mut connection in held {
        connection.send("{\"food\":\"pie\"}\n").await;
        connection.until("\"accepted\":1").await;
    }
    accepted(call.send().await, 1);
    assert_eq!(aggregated(&client, &alone).await[0]["food"], "pie");
}

#[tokio::test]
async fn only_facts_and_purchases_come_in_lines() {
    let server = Server::start().await;
    let client = server.client();
    for kind in ["text/plain", "application/x-ndjsonx", "application/ndjson", "", "application/xml"] {
        let call = client.post_lines("/foods", "{\"food\":\"pie\"}").without("Content-Type");
        let detail = call.header("Content-Type", kind).send().await.problem(415, "content-type");
        assert!(detail.contains("application/json or application/x-ndjson"), "{detail}");
    }
    let zipped = client.post_lines("/foods", "{\"food\":\"pie\"}").header("Content-Encoding", "gzip");
    zipped.send().await.problem(415, "content-type");
    let introduction = crate::introductions::ada().to_string();
    client.post_lines("/introductions", introduction).send().await.problem(415, "content-type");
    nothing_is_recorded(&client).await;
    let call = client.post_lines("/foods", "{\"food\":\"pie\"}").without("Content-Type");
    accepted(call.header("Content-Type", "Application/X-NDJSON; charset=utf-8").send().await, 1);
}

/// What each line was answered: its number, its status, and the kind of problem.
fn told(answer: &Answer) -> Vec<(u64, u64, String)> {
    let kind = |one: &Value| one["type"].as_str().unwrap_or("").replace("urn:refold:problem:", "");
    let told = |one: &Value| (one["line"].as_u64().unwrap(), one["status"].as_u64().unwrap(), kind(one));
    answer.json()["answers"].as_array().unwrap().iter().map(told).collect()
}

fn same(first: &Answer, again: &Answer) {
    assert_eq!((again.receipt(), &again.text), (first.receipt(), &first.text));
}

#[tokio::test]
async fn each_purchase_has_an_answer_of_its_own() {
    let server = Server::start().await;
    let client = server.client();
    client.post("/purchases", &example()).send().await.is(201);
    let new = |number: u128| purchase(&Uuid::from_u128(number).to_string(), "2021-12-29T12:00:00Z");
    let mut changed = new(1);
    changed["scoops"][0]["price"] = json!(201);
    let mut clash = example();
    clash["scoops"][0]["price"] = json!(201);
    let body =
        [lines(&[new(1), example()]), "\n".into(), lines(&[new(1), changed, clash.clone(), new(2)])].concat();

    let answer = client.post_lines("/purchases", body).send().await.is(200);

    let expected =
        [(1, 201, ""), (2, 200, ""), (4, 200, ""), (5, 409, "conflict"), (6, 409, "conflict"), (7, 201, "")];
    assert_eq!(told(&answer), expected.map(|(line, status, kind)| (line, status, kind.to_owned())));
    assert_eq!(answer.json()["accepted"], 4);
    let mut found = of_day(&client, "2021-12-29", &answer.receipt()).await;
    let found = found.as_array_mut().unwrap();
    found.sort_by_key(|one| one["purchase_id"].as_str().unwrap().to_owned());
    assert_eq!(*found, [new(1), new(2)]);

    let clash = client.post_lines("/purchases", lines(&[clash])).send().await.is(200);
    assert_eq!((clash.json()["accepted"].clone(), clash.json()["receipts"].clone()), (json!(0), json!([])));
    assert_eq!(clash.headers.get("Refold-Receipt"), None, "nothing counts");
}

#[tokio::test]
async fn purchases_repeated_with_their_key_are_answered_as_at_first() {
    let server = Server::start().await;
    let client = server.client();
    let many: Vec<_> = (0..500)
        .map(|number| purchase(&Uuid::from_u128(number).to_string(), "2021-12-29T12:00:00Z"))
        .collect();
    let call = client.post_lines("/purchases", lines(&many)).key("k");

    let first = call.send().await.is(200);
    assert!(told(&first).iter().all(|(_, status, _)| *status == 201), "{first:?}");
    same(&first, &call.send().await);

    // Without it they are known, and stand where they stood.
    let known = client.post_lines("/purchases", lines(&many)).send().await.is(200);
    assert!(told(&known).iter().all(|(_, status, _)| *status == 200), "{known:?}");
    assert_eq!(known.receipt(), first.receipt());
    let found = client
        .get(format!("/purchases/{}?date=2021-12-29&limit=1000", crate::purchases::SHOP))
        .after(first.receipt());
    assert_eq!(found.send().await.is(200).json().as_array().unwrap().len(), 500);
}

#[tokio::test]
async fn many_bodies_at_once_take_turns() {
    const BODIES: u128 = 16;
    const LINES: u128 = 1_500;
    let server = Server::start().await;
    let client = server.client();
    let bodies: Vec<_> = (0..BODIES)
        .map(|body| {
            let bought =
                |line| purchase(&Uuid::from_u128(body * LINES + line).to_string(), "2021-12-29T12:00:00Z");
            let many: Vec<_> = (0..LINES).map(bought).collect();
            client.post_lines("/purchases", lines(&many)).key(format!("body {body}"))
        })
        .collect();
    // A repeat reads each purchase back from the log, which takes longer than recording it.
    for _ in 0..2 {
        let answers = join_all(bodies.iter().map(Call::send));
        let pie = observe(&client, "pie").key("alone");
        // Whoever comes alone waits behind no more than what is under way.
        let (answers, alone) = tokio::join!(answers, pie.send());
        alone.is(201);
        for answer in answers {
            let told = told(&answer.is(200));
            let failed: Vec<_> = told.iter().filter(|(_, status, _)| *status != 201).collect();
            assert!(failed.is_empty(), "{} lines, such as {:?}", failed.len(), failed[0]);
        }
    }
}

#[tokio::test]
async fn no_purchase_is_recorded_if_a_line_is_bad() {
    let server = Server::start().await;
    let client = server.client();
    let mut bad = example();
    bad["scoops"][0]["price"] = json!(0);
    bad["shop_id"] = json!("x");
    let call: Call = client.post_lines("/purchases", lines(&[example(), bad]));
    let answer = call.send().await;
    answer.problem(422, "validation");
    let errors = answer.json()["errors"].clone();
    let places: Vec<_> = errors.as_array().unwrap().iter().map(|one| (&one["line"], &one["field"])).collect();
    assert_eq!(places, [(&json!(2), &json!("shop_id")), (&json!(2), &json!("scoops[0].price"))]);
    client.post("/purchases", &example()).send().await.is(201);
}
