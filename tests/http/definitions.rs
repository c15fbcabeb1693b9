//! A statistic is a few lines of TOML: filled from the start of the log, refused where it is wrong.

use crate::client::Client;
use crate::data;
use crate::foods::{commands, newest, send_all};
use crate::introductions::saying;
use crate::server::Server;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

/// A directory with one definition.
pub(crate) fn define(server: &mut Server, name: &str, text: &str) -> PathBuf {
    let dir = server.home().join("definitions");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(format!("{name}.toml"));
    fs::write(&file, text).unwrap();
    server.set("PROJECTIONS__DIR", dir.to_str().unwrap());
    file
}

#[tokio::test]
async fn a_statistic_is_a_file_and_filled_from_the_start() {
    let mut server = Server::start().await;
    let client = server.client();
    let answers = send_all(&commands(&client, &data::observations())).await;
    let (first, count) = data::foods().swap_remove(0);
    server.stop().await;

    define(
        &mut server,
        "best",
        &format!("name = 'best'\non = 'food.observed'\nwhere = {{ food = '{first}' }}\ncount = {{}}"),
    );
    server.up().await;
    let view = client.get("/views/best").after(newest(&answers)).send().await.is(200).json();
    assert_eq!((&view["kind"], &view["data"]), (&json!("counts"), &json!([{"count": count}])));

    server.stop().await;
    define(&mut server, "best", "name = 'best'\non = 'food.observed'\ncount = {}");
    server.up().await;
    let view = client.get("/views/best").send().await.is(200).json();
    assert_eq!(view["data"], json!([{"count": data::observations().len()}]));
    let standing = client.get("/projections").send().await.is(200).json();
    let generation = |name: &str| {
        let mut all = standing.as_array().unwrap().iter();
        all.find(|one| one["name"] == name).map(|one| one["generation"].clone())
    };
    assert_eq!((generation("best"), generation("food_counts")), (Some(json!(2)), Some(json!(1))));
    let found = client.get("/aggregated").send().await.is(200).json();
    assert_eq!(found, data::aggregated(&data::foods()));
}

#[tokio::test]
async fn until_it_is_filled_it_says_how_far_it_is() {
    let mut server = Server::new().with("LOG__PARTITIONS", "1").ready().await;
    let client = server.client();
    let receipts = fill(&client).await;
    server.stop().await;
    server.remove_store().await;
    // At a port that is known before it serves, the first request waits until the first moment.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    server.set("HTTP__LISTEN", &port.to_string());

    server.launch().await;
    let first = client.get("/views/introductions?limit=1").send().await;
    let unready = client.get("/readyz").send().await;

    let detail = first.problem(503, "folding");
    let numbers: Vec<u64> = detail.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] < numbers[1], "{detail}");
    assert!(unready.status == 200 || unready.text.contains("being folded"), "{}", unready.text);
    server.until_ready().await;
    // So many long ones are more than one page holds, however many cells are asked for.
    let first = client.get("/views/introductions?limit=1000").after(receipts).send().await.is(200).json();
    assert!(first["data"].as_array().unwrap().len() < MANY);
    let next = format!("/views/introductions?limit=1000&cursor={}", first["next"].as_str().unwrap());
    let second = client.get(next).send().await.is(200).json();
    assert!(second["next"].is_null());
    let cells = [first, second].map(|page| page["data"].as_array().unwrap().clone()).concat();
    let keys: BTreeSet<_> = cells.iter().map(|cell| cell["data"]["id"].as_str().unwrap()).collect();
    assert_eq!((cells.len(), keys.len()), (MANY, MANY));
}

/// How many long introductions take a moment to fold.
const MANY: usize = 600;

async fn fill(client: &Client) -> String {
    let long = saying(&"x".repeat(9_000));
    newest(&send_all(&vec![client.post("/introductions", &long); MANY]).await)
}

#[tokio::test]
async fn a_wrong_definition_is_refused_with_its_place_and_the_nearest_name() {
    let mut server = Server::new();
    for (text, line, words) in [
        ("name = 'x'\non = 'food.observd'\ncount = {}", 2, "did you mean \"food.observed\"?"),
        ("name = 'x'\non = 'food.observed'\ncount = { by = ['fod'] }", 3, "did you mean \"food\"?"),
        ("name = 'x'\non = 'food.observed'\ncuont = {}", 3, "did you mean \"count\"?"),
        ("name = 'x'\non = 'food.observed'\ncount = {}\npublish = { topic = 't' }", 4, "not yet built"),
        ("name = 'y'\non = 'food.observed'\ncount = {}", 1, "must be the file's"),
        ("name = 'x'\non = ", 2, ""),
    ] {
        let file = define(&mut server, "x", text);
        let said = server.refused().await;
        let place = format!("{}:{line}:", file.display());
        assert!(said.contains(&place) && said.contains(words), "{place} {words}: {said}");
        assert!(!server.data().exists(), "nothing was written");
        let (status, said) = server.run(&["check"]).await;
        assert!(status.code() == Some(1) && said.contains(&place), "{said}");
    }
}

#[tokio::test]
async fn what_routes_are_built_on_cannot_be_switched_off() {
    let mut server = Server::new();
    define(&mut server, "food_counts", "name = 'food_counts'\nenabled = false");
    let said = server.refused().await;
    assert!(said.contains("GET /aggregated is built on it"), "{said}");
}
