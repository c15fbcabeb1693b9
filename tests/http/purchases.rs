//! Purchases: one id is one purchase; those of a shop on a day are read newest first, page by page.

use crate::client::Client;
use crate::server::Server;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const SHOP: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// A purchase as producers send it.
pub(crate) fn example() -> Value {
    purchase("7c9e6679-7425-40de-944b-e07fc1f90ae7", "2021-12-28 12:00:00+00")
}

pub(crate) fn purchase(id: &str, timestamp: &str) -> Value {
    let scoops = json!([{"type": "chocolate", "quantity": 2, "price": 200}]);
    json!({"shop_id": SHOP, "purchase_id": id, "timestamp": timestamp, "scoops": scoops})
}

/// The same purchase as the service shows it.
fn shown(mut purchase: Value, timestamp: &str) -> Value {
    purchase["timestamp"] = json!(timestamp);
    purchase
}

pub(crate) async fn of_day(client: &Client, date: &str, receipts: &str) -> Value {
    let path = format!("/purchases/{SHOP}?date={date}");
    client.get(path).after(receipts).send().await.is(200).json()
}

#[tokio::test]
async fn a_purchase_is_found_under_its_shop_and_day() {
    let server = Server::start().await;
    let client = server.client();

    let recorded = client.post("/purchases/", &example()).send().await.is(201);

    let expected = shown(example(), "2021-12-28T12:00:00Z");
    assert_eq!(recorded.json(), expected);
    let receipt = recorded.receipt();
    assert_eq!(of_day(&client, "2021-12-28", &receipt).await, json!([expected]));
    let slash = format!("/purchases/{SHOP}/?date=2021-12-28");
    assert_eq!(client.get(slash).send().await.is(200).json(), json!([expected]));
    for date in ["2021-12-27", "2021-12-29"] {
        assert_eq!(of_day(&client, date, &receipt).await, json!([]), "{date}");
    }
    let other_shop = format!("/purchases/{}?date=2021-12-28", Uuid::new_v4());
    assert_eq!(client.get(other_shop).send().await.is(200).json(), json!([]));
}

#[tokio::test]
async fn times_are_told_apart_to_the_nanosecond() {
    let server = Server::start().await;
    let client = server.client();
    let time = |at: u32| format!("2021-12-28T12:00:00.00000010{at}Z");
    let mut receipts = Vec::new();
    for at in [1, 6, 3, 2, 5, 4] {
        let id = Uuid::from_u128(u128::from(at)).to_string();
        receipts.push(client.post("/purchases", &purchase(&id, &time(at))).send().await.is(201).receipt());
    }
    let receipts = receipts.join(",");
    let times = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| row["timestamp"].as_str().unwrap().to_owned()).collect()
    };
    let day = of_day(&client, "2021-12-28", &receipts).await;
    assert_eq!(times(day.as_array().unwrap()), [6, 5, 4, 3, 2, 1].map(time));
    for (bound, expected) in [("from", [6, 5, 4]), ("until", [3, 2, 1])] {
        let path = format!("/views/purchases_by_day?shop_id={SHOP}&{bound}={}", time(4));
        let page = client.get(path).after(&receipts).send().await.is(200).json();
        let found: Vec<_> = page["data"].as_array().unwrap().iter().map(|row| row["data"].clone()).collect();
        assert_eq!(times(&found), expected.map(time), "{bound}");
    }
}

#[tokio::test]
async fn an_id_is_recorded_once() {
    let server = Server::start().await;
    let client = server.client();
    let first = client.post("/purchases", &example()).send().await.is(201);

    for path in ["/purchases", "/purchases/"] {
        let again = client.post(path, &example()).send().await.is(200);
        assert_eq!((again.receipt(), &again.text), (first.receipt(), &first.text));
    }

    let mut other = example();
    other["scoops"][0]["price"] = json!(201);
    client.post("/purchases", &other).send().await.problem(409, "conflict");
    client.post("/purchases", &other).key("of another").send().await.problem(409, "conflict");
    let found = of_day(&client, "2021-12-28", &first.receipt()).await;
    assert_eq!(found, json!([first.json()]));
}

#[tokio::test]
async fn an_id_is_recorded_once_however_many_send_it_at_once() {
    let server = Server::start().await;
    let client = server.client();

    let answers = crate::foods::send_all(&vec![client.post("/purchases", &example()); 20]).await;

    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1, "one of them is the first");
    for answer in &answers {
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        assert_eq!((answer.receipt(), &answer.text), (made[0].receipt(), &made[0].text));
    }
    let found = of_day(&client, "2021-12-28", &made[0].receipt()).await;
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn with_a_key_a_repeat_is_answered_as_the_first() {
    let server = Server::start().await;
    let client = server.client();
    let call = client.post("/purchases", &example()).key("k");
    let (first, again) = (call.send().await.is(201), call.send().await.is(201));
    let known = client.post("/purchases", &example()).key("another").send().await.is(200);
    assert_eq!((again.receipt(), &again.text), (first.receipt(), &first.text));
    assert_eq!((known.receipt(), &known.text), (first.receipt(), &first.text));
}

#[tokio::test]
async fn times_are_read_in_every_form_that_producers_send() {
    let server = Server::start().await;
    let client = server.client();
    for (form, expected) in [
        ("2021-12-28 12:00:00+00", "2021-12-28T12:00:00Z"),
        ("2021-12-28 12:00:00", "2021-12-28T12:00:00Z"),
        ("2021-12-28T12:00:00", "2021-12-28T12:00:00Z"),
        ("2021-12-28T12:00:00Z", "2021-12-28T12:00:00Z"),
        ("2021-12-28T14:00:00+02:00", "2021-12-28T12:00:00Z"),
        ("2021-12-28 10:30:00-01:30", "2021-12-28T12:00:00Z"),
        ("2021-12-28 12:00:00.25+00", "2021-12-28T12:00:00.25Z"),
        // The day is the one in UTC.
        ("2021-12-29 01:00:00+02", "2021-12-28T23:00:00Z"),
    ] {
        let bought = purchase(&Uuid::new_v4().to_string(), form);
        let answer = client.post("/purchases", &bought).send().await.is(201);
        let expected = shown(bought, expected);
        assert_eq!(answer.json(), expected, "{form}");
        let found = of_day(&client, "2021-12-28", &answer.receipt()).await;
        assert!(found.as_array().unwrap().contains(&expected), "{form}: {found}");
    }
}

#[tokio::test]
async fn today_is_the_default() {
    let server = Server::start().await;
    let client = server.client();
    // At midnight the day of the purchase may be over when it is asked for: then this is tried again.
    for _ in 0..2 {
        let now = Timestamp::now().to_string();
        let bought = purchase(&Uuid::new_v4().to_string(), &now);
        let receipt = client.post("/purchases", &bought).send().await.is(201).receipt();
        let found = client.get(format!("/purchases/{SHOP}")).after(&receipt).send().await.is(200).json();
        if now[..10] == Timestamp::now().to_string()[..10] {
            assert_eq!(found[0]["purchase_id"], bought["purchase_id"]);
            return;
        }
    }
    panic!("midnight twice");
}

#[tokio::test]
async fn a_day_is_read_newest_first_and_page_by_page() {
    let server = Server::start().await;
    let client = server.client();
    let times = [9, 17, 12, 8, 23, 0, 15].map(|hour| format!("2021-12-28T{hour:02}:00:00Z"));
    let mut receipts = Vec::new();
    for time in &times {
        let bought = purchase(&Uuid::new_v4().to_string(), time);
        receipts.push(client.post("/purchases", &bought).send().await.is(201).receipt());
    }

    let mut found = Vec::new();
    let mut next = Some(format!("/purchases/{SHOP}?date=2021-12-28&limit=3"));
    let mut pages = 0;
    while let Some(path) = next {
        let page = client.get(path).after(receipts.join(",")).send().await.is(200);
        found.extend(page.json().as_array().unwrap().iter().map(|one| one["timestamp"].clone()));
        next = page.headers.get("Link").map(|link| linked(link.to_str().unwrap()));
        pages += 1;
    }

    let mut expected = times.to_vec();
    expected.sort();
    expected.reverse();
    assert_eq!((json!(found), pages), (json!(expected), 3));
}

/// The path of a `Link` to the next page.
fn linked(link: &str) -> String {
    let path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    path.unwrap_or_else(|| panic!("no link to the next page: {link}")).to_owned()
}
