//! Stats and series: what they answer, what they refuse, and that a store that is gone makes no difference.

use crate::client::Client;
use crate::definitions::define;
use crate::foods::{newest, send_all};
use crate::purchases::SHOP;
use crate::server::Server;
use serde_json::{Value, json};
use uuid::Uuid;

/// A purchase of these flavours, quantities and prices.
fn purchase(timestamp: &str, scoops: &[(&str, u32, u32)]) -> Value {
    let scoop = |(flavour, quantity, price): &(&str, u32, u32)| json!({"type": flavour, "quantity": quantity, "price": price});
    let scoops: Vec<_> = scoops.iter().map(scoop).collect();
    json!({"shop_id": SHOP, "purchase_id": Uuid::new_v4(), "timestamp": timestamp, "scoops": scoops})
}

/// Three purchases on two days, and the receipts of them all.
async fn sell(client: &Client) -> String {
    let purchases = [
        purchase("2021-12-28 10:00:00", &[("lemon", 2, 150), ("banana", 1, 200)]),
        purchase("2021-12-28 23:59:59", &[("lemon", 3, 100)]),
        purchase("2021-12-31 00:00:00", &[("lemon", 1, 1_000_000_000)]),
    ];
    newest(&send_all(&purchases.map(|purchase| client.post("/purchases", &purchase))).await)
}

async fn view(client: &Client, path: &str, receipts: &str) -> Value {
    let answer = client.get(format!("/views/{path}")).after(receipts).send().await;
    answer.is(200).json()["data"].clone()
}

#[tokio::test]
async fn scoops_and_revenue_are_told_by_shop_flavour_and_day() {
    let mut server = Server::start().await;
    let client = server.client();
    let receipts = sell(&client).await;
    for round in ["folded as they come", "folded again"] {
        let line = |flavour: &str, day: &str, value: u64| json!({"shop_id": SHOP, "type": flavour, "from": format!("{day}T00:00:00Z"), "value": value});
        let (first, last) = ("2021-12-28", "2021-12-31");
        let all = [line("banana", first, 200), line("lemon", first, 600), line("lemon", last, 1_000_000_000)];
        assert_eq!(view(&client, "revenue_by_day", &receipts).await, json!(all), "{round}");
        let all = [line("banana", first, 1), line("lemon", first, 5), line("lemon", last, 1)];
        assert_eq!(view(&client, "scoops_by_day", &receipts).await, json!(all), "{round}");

        let of_lemon = format!("scoops_by_day?shop_id={SHOP}&type=lemon");
        assert_eq!(view(&client, &of_lemon, &receipts).await, json!(all[1..]));
        let until = format!("{of_lemon}&from=2021-12-28T00:00:00Z&until=2021-12-31T00:00:00Z");
        assert_eq!(view(&client, &until, &receipts).await, json!(all[1..2]));
        let filled =
            [all[1].clone(), line("lemon", "2021-12-29", 0), line("lemon", "2021-12-30", 0), all[2].clone()];
        assert_eq!(view(&client, &format!("{of_lemon}&fill=zero"), &receipts).await, json!(filled));
        assert_eq!(view(&client, &format!("{until}&fill=zero"), &receipts).await, json!(filled[..3]));
        let page = client.get(format!("/views/{of_lemon}&fill=zero&limit=3")).send().await.is(200).json();
        assert_eq!(page["data"], json!(filled[..3]));
        let next = format!("{of_lemon}&fill=zero&limit=3&cursor={}", page["next"].as_str().unwrap());
        assert_eq!(view(&client, &next, &receipts).await, json!(filled[3..]));

        server.stop().await;
        server.remove_store().await;
        server.up().await;
        server.until_ready().await;
    }
}

#[tokio::test]
async fn stats_without_a_field_to_go_by_are_one_object() {
    let mut server = Server::new();
    define(
        &mut server,
        "prices",
        "name = 'prices'\non = 'purchase.recorded'\nstats = { of = 'scoops[].price' }",
    );
    define(
        &mut server,
        "large",
        "name = 'large'\non = 'purchase.recorded'\nwhere = { 'scoops[].quantity' = { min = 2 } }\n\
         stats = { of = 'scoops[].quantity * scoops[].price', by = 'scoops[].type' }",
    );
    let server = server.ready().await;
    let client = server.client();
    let nothing = json!({
        "count": 0, "average": null, "sum": null, "min": null, "max": null, "stddev": null,
        "p50": null, "p90": null, "p99": null,
    });
    let empty = client.get("/views/prices").send().await.is(200).json();
    assert_eq!((&empty["kind"], &empty["data"], &empty["next"]), (&json!("stats"), &nothing, &Value::Null));
    assert_eq!(client.get("/views/large").send().await.is(200).json()["data"], json!([]));

    let scoops: Vec<_> = (1..=100).map(|price| ("vanilla", 1, price)).collect();
    let answer = client.post("/purchases", &purchase("2021-12-28 10:00:00", &scoops)).send().await;
    let told = json!({
        "count": 100, "average": 50.5, "sum": 5_050, "min": 1, "max": 100,
        "stddev": 833.25_f64.sqrt(), "p50": 50, "p90": 90, "p99": 99,
    });
    assert_eq!(view(&client, "prices", &answer.is(201).receipt()).await, told);

    let receipts = sell(&client).await;
    let lemon = json!([{
        "type": "lemon", "count": 2, "average": 300.0, "sum": 600, "min": 300, "max": 300, "stddev": 0.0,
        "p50": 300, "p90": 300, "p99": 300,
    }]);
    assert_eq!(view(&client, "large", &receipts).await, lemon);
    assert_eq!(view(&client, "large?type=vanilla", &receipts).await, json!([]));
    let listed = client.get("/views").send().await.is(200).json();
    let large = listed.as_array().unwrap().iter().find(|view| view["name"] == "large").unwrap();
    assert_eq!((&large["kind"], &large["fields"]), (&json!("stats"), &json!(["type"])));
}

#[tokio::test]
async fn questions_that_a_view_has_no_answer_to() {
    let server = Server::start().await;
    let client = server.client();
    for (path, told) in [
        ("scoops_by_day?fill=zero", "fill: can be given only together with shop_id, type"),
        ("scoops_by_day?from=2021-12-28T00:00:00Z", "from: can be given only together with shop_id, type"),
        ("scoops_by_day?type=lemon", "type: can be given only together with shop_id"),
        ("scoops_by_day?typ=lemon", "did you mean \"type\"?"),
        ("scoops_by_day?fill=one", "fill: must be zero"),
        ("food_counts?fill=zero", "fill: can be given only for a series"),
        ("food_counts?from=2021-12-28T00:00:00Z", "from: can be given only for a view of rows or a series"),
    ] {
        let detail = client.get(format!("/views/{path}")).send().await.problem(400, "parameter");
        assert!(detail.contains(told), "{path}: {detail}");
    }
}
