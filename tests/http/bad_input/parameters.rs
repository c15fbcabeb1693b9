//! Parameters that are unknown, cannot be read, or are given twice.

use super::Target;
use crate::foods::observe;
use crate::introductions::ada;
use crate::purchases::SHOP;
use serde_json::json;

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
