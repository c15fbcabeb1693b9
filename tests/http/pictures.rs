//! Pictures: every registration is recorded with its weight, once.

use crate::definitions::define;
use crate::foods::{newest, send_all};
use crate::server::Server;
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
