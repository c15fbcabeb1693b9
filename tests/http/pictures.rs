//! Pictures: every registration is recorded with its weight, once.

use crate::client::Client;
use crate::definitions::define;
use crate::foods::{newest, send_all};
use crate::server::Server;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// A registration as producers send it.
pub(crate) fn example() -> Value {
    json!({"picture_id": "000000243626", "weight": 1778})
}

#[tokio::test]
async fn a_registration_is_recorded_as_often_as_it_is_made() {
    let mut server = Server::new();
    let counts =
        "name = 'registrations'\non = 'picture.registered'\ncount = { by = ['picture_id', 'weight'] }";
    define(&mut server, "registrations", counts);
    let server = server.ready().await;
    let client = server.client();

    let first = client.post("/pictures/", &example()).send().await.is(201);
    let more = send_all(&vec![client.post("/pictures", &example()); 20]).await;

    let recorded =
        json!({"id": format!("{}.0", first.receipt()), "picture_id": "000000243626", "weight": 1778});
    assert_eq!(first.json(), recorded);
    let receipts = format!("{}, {}", first.receipt(), newest(&more));
    let counted = client.get("/views/registrations").after(receipts).send().await.is(200).json();
    assert_eq!(counted["data"], json!([{"picture_id": "000000243626", "weight": 1778, "count": 21}]));
}

#[tokio::test]
async fn a_key_is_one_registration() {
    let server = Server::start().await;
    let client = server.client();

    let answers = send_all(&vec![client.post("/pictures", &example()).key("k"); 20]).await;

    for answer in &answers {
        assert_eq!(
            (answer.status, answer.receipt(), &answer.text),
            (201, answers[0].receipt(), &answers[0].text)
        );
    }
    let other = json!({"picture_id": "000000007088", "weight": 1778});
    client.post("/pictures", &other).key("k").send().await.problem(422, "key-reused");
}

/// How far a quantile may be from the exact one, relative to it: the view states 1/128.
const QUANTILE_ERROR: f64 = 1.0 / 128.0;
const REGISTRATIONS: usize = 2_000;

/// Registrations with weights as today's producer draws them.
fn registrations() -> Vec<(String, u64)> {
    let mut rng = SmallRng::seed_from_u64(20_261_121);
    (0..REGISTRATIONS)
        .map(|_| (format!("{:012}", rng.random_range(0..100)), rng.random_range(20..5_000)))
        .collect()
}

/// What the weights come to, worked out plainly.
fn assert_stats(found: &Value, weights: &[u64]) {
    let mut sorted = weights.to_vec();
    sorted.sort_unstable();
    let count = weights.len();
    let sum: u64 = weights.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let (mean, real) = (sum as f64 / count as f64, |number: u64| number as f64);
    assert_eq!((&found["count"], &found["sum"]), (&json!(count), &json!(sum)));
    assert_eq!((&found["min"], &found["max"]), (&json!(sorted[0]), &json!(sorted[count - 1])));
    let close = |name: &str, exact: f64, error: f64| {
        let found = found[name].as_f64().unwrap();
        assert!((found - exact).abs() <= error * exact, "{name}: {found}, not {exact}");
    };
    close("average", mean, 1e-12);
    let squares: f64 = weights.iter().map(|weight| (real(*weight) - mean).powi(2)).sum();
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    close("stddev", (squares / count as f64).sqrt(), 1e-9);
    for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        close(name, real(sorted[(count * percent).div_ceil(100) - 1]), QUANTILE_ERROR);
    }
}

#[tokio::test]
async fn what_pictures_weigh_is_exact_whatever_happens() {
    let mut server = Server::start().await;
    let client = server.client();
    let none = client.get("/pictures/stats").send().await.is(200).json();
    assert_eq!((&none["count"], &none["average"], &none["p99"]), (&json!(0), &Value::Null, &Value::Null));
    let registrations = registrations();
    let weights: Vec<_> = registrations.iter().map(|(_, weight)| *weight).collect();
    let call = |(index, (id, weight)): (usize, &(String, u64))| {
        client.post("/pictures", &json!({"picture_id": id, "weight": weight})).key(format!("picture {index}"))
    };
    let calls: Vec<_> = registrations.iter().enumerate().map(call).collect();

    let first = send_all(&calls[..REGISTRATIONS / 2]).await;
    server.kill().await;
    server.up().await;
    let again = send_all(&calls).await;
    assert_eq!(again[0].receipt(), first[0].receipt());
    assert_stats(&stats(&client, &newest(&again)).await, &weights);

    server.kill().await;
    server.remove_store().await;
    server.up().await;
    assert_stats(&stats(&client, &newest(&again)).await, &weights);
}

async fn stats(client: &Client, receipts: &str) -> Value {
    client.get("/pictures/stats").after(receipts).send().await.is(200).json()
}
