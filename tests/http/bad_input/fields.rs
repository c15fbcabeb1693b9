//! JSON that is not what is asked for: every bad field is named.

use super::{Target, commands};
use crate::client::Call;
use crate::purchases::example;
use crate::{detections, pictures};
use serde_json::{Value, json};

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
