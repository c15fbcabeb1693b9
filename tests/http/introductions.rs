//! Introductions: made, revised, withdrawn and read; nobody's change is overwritten.

use crate::client::{Answer, Client};
use crate::foods::send_all;
use crate::server::Server;
use serde_json::{Value, json};

pub(crate) fn ada() -> Value {
    json!({"name": "Ada", "message": "two\nlines", "email": "ada@example.org", "links": ["https://example.org/ada"]})
}

pub(crate) fn saying(message: &str) -> Value {
    json!({"name": "Ada", "message": message})
}

async fn introduce(client: &Client) -> (String, Answer) {
    let made = client.post("/introductions", &ada()).send().await.is(201);
    (made.header("Location").to_owned(), made)
}

async fn read(client: &Client, path: &str, after: &Answer) -> Answer {
    client.get(path).after(after.receipt()).send().await
}

#[tokio::test]
async fn a_long_life_is_told_page_by_page() {
    const REVISIONS: usize = 1_000;
    let server = Server::start().await;
    let client = server.client();
    let (path, mut last) = introduce(&client).await;
    for number in 0..REVISIONS {
        last = client.put(&path, &saying(&number.to_string())).if_match("*").send().await.is(200);
    }

    let first = read(&client, &format!("{path}/history"), &last).await.is(200);
    let link = first.header("Link");
    let next = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap();
    let second = client.get(next).send().await.is(200);

    let pages = [first.json(), second.json()];
    let events = pages.iter().flat_map(|page| page.as_array().unwrap());
    let versions: Vec<_> = events.map(|event| event["data"]["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=REVISIONS as u64 + 1).collect::<Vec<_>>());
    assert!(!second.headers.contains_key("Link"), "{second:?}");
}

#[tokio::test]
async fn a_life_from_the_first_word_to_the_last() {
    let server = Server::start().await;
    let client = server.client();

    let (path, made) = introduce(&client).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((path.as_str(), made.header("ETag")), (format!("/introductions/{id}").as_str(), "\"1\""));
    assert_eq!(made.json()["version"], 1);
    let found = read(&client, &path, &made).await.is(200);
    assert_eq!((found.header("ETag"), found.json()), ("\"1\"", made.json()));

    let revised = client.put(&path, &saying("anew")).if_match("\"1\"").send().await.is(200);
    assert_eq!(revised.header("ETag"), "\"2\"");
    assert_eq!(revised.json(), json!({"id": id, "version": 2, "name": "Ada", "message": "anew"}));
    let found = read(&client, &path, &revised).await.is(200);
    assert_eq!((found.header("ETag"), found.json()), ("\"2\"", revised.json()));

    let withdrawn = client.delete(&path).if_match("\"2\"").send().await.is(204);
    assert_eq!(withdrawn.text, "");
    read(&client, &path, &withdrawn).await.problem(410, "gone");
    client.put(&path, &ada()).if_match("\"3\"").send().await.problem(410, "gone");
    client.delete(&path).if_match("*").send().await.problem(410, "gone");
    assert_eq!(read(&client, "/introductions", &withdrawn).await.json(), json!({"data": [], "next": null}));
    let history = read(&client, &format!("{path}/history"), &withdrawn).await.is(200).json();
    let happened = |field: &str| -> Value {
        history.as_array().unwrap().iter().map(|event| event[field].clone()).collect()
    };
    let types = ["introduction.introduced", "introduction.revised", "introduction.withdrawn"];
    assert_eq!(happened("type"), json!(types));
    assert_eq!(happened("data"), json!([made.json(), revised.json(), {"id": id, "version": 3}]));
    let ids = [&made, &revised, &withdrawn].map(|answer| format!("{}.0", answer.receipt()));
    assert_eq!(happened("id"), json!(ids));
}

#[tokio::test]
async fn a_change_must_say_what_it_changes() {
    let server = Server::start().await;
    let client = server.client();
    let (path, _) = introduce(&client).await;
    let revise = |tags: &str| client.put(&path, &saying("new")).if_match(tags);

    for tags in ["\"2\"", "\"0\"", "W/\"1\"", "\"x\"", "\"01\"", "\"+1\"", "\"2\", \"7\""] {
        revise(tags).send().await.problem(412, "stale");
        client.delete(&path).if_match(tags).send().await.problem(412, "stale");
    }
    client.put(&path, &ada()).send().await.problem(428, "precondition-required");
    client.delete(&path).send().await.problem(428, "precondition-required");
    for tags in ["1", "", "\"1", "\"1\",,", "\"1\" \"2\"", "*, \"1\""] {
        revise(tags).send().await.problem(400, "parameter");
    }
    revise("\"1\"").if_match("\"1\"").send().await.problem(400, "parameter");
    revise("\"7\", \"1\"").send().await.is(200);
    revise("\"1\"").send().await.problem(412, "stale");
    assert_eq!(revise("*").send().await.is(200).header("ETag"), "\"3\"");
    client.delete(&path).if_match("\"3\"").send().await.is(204);
}

#[tokio::test]
async fn what_never_was_is_not_found() {
    let server = Server::start().await;
    let client = server.client();
    for path in ["/introductions/none", "/introductions/0198a6c2-7a10-7000-8000-000000000001"] {
        client.get(path).send().await.problem(404, "not-found");
        client.get(format!("{path}/history")).send().await.problem(404, "not-found");
        client.put(path, &ada()).if_match("*").send().await.problem(404, "not-found");
        client.delete(path).if_match("\"1\"").send().await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn of_many_revisions_at_once_one_wins() {
    let server = Server::start().await;
    let client = server.client();
    let (path, _) = introduce(&client).await;
    for version in 1..=5 {
        let revise = |number: u32| {
            let text = saying(&format!("round {version}, revision {number}"));
            client.put(&path, &text).if_match(format!("\"{version}\""))
        };

        let answers = send_all(&[2, 3, 4, 5].map(revise)).await;

        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 3), "{answers:?}");
        lost.iter().for_each(|answer| drop(answer.problem(412, "stale")));
        let found = read(&client, &path, won[0]).await.is(200);
        assert_eq!(found.json(), won[0].json());
    }
}

#[tokio::test]
async fn whoever_is_too_slow_for_any_version_is_told_412() {
    let server = Server::start().await;
    let client = server.client();
    let (path, _) = introduce(&client).await;
    let revise = |number: u32| client.put(&path, &saying(&number.to_string())).if_match("*");

    let answers = send_all(&(0..60).map(revise).collect::<Vec<_>>()).await;

    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    lost.iter().for_each(|answer| drop(answer.problem(412, "stale")));
    let found = client.get(&path).send().await.is(200).json();
    assert_eq!(found["version"], 1 + won.len());
}

#[tokio::test]
async fn a_key_answers_the_same_again() {
    let server = Server::start().await;
    let client = server.client();
    let make = client.post("/introductions", &ada()).key("make");

    let made = send_all(&vec![make.clone(); 20]).await;
    let path = made[0].header("Location").to_owned();
    let revise = client.put(&path, &saying("anew")).if_match("\"1\"").key("revise");
    let revised = send_all(&vec![revise; 20]).await;
    let withdraw = client.delete(&path).if_match("\"2\"").key("withdraw");
    let withdrawn = send_all(&vec![withdraw; 20]).await;

    for (answers, status) in [(&made, 201), (&revised, 200), (&withdrawn, 204)] {
        let first = answers[0].clone().is(status);
        for answer in answers {
            assert_eq!((answer.status, &answer.text), (status, &first.text));
            assert_eq!(answer.receipt(), first.receipt());
            for header in ["ETag", "Location"] {
                assert_eq!(answer.headers.get(header), first.headers.get(header));
            }
        }
    }
    make.send().await.is(201);
    client.post("/introductions", &saying("else")).key("make").send().await.problem(422, "key-reused");
    let other = client.put(&path, &saying("else")).if_match("\"1\"").key("revise");
    other.send().await.problem(422, "key-reused");
    // What is asked for includes the version that it is asked of.
    let newer = client.put(&path, &saying("anew")).if_match("\"2\"").key("revise");
    newer.send().await.problem(422, "key-reused");
}

#[tokio::test]
async fn a_rejection_is_not_remembered() {
    let server = Server::start().await;
    let client = server.client();
    let (path, _) = introduce(&client).await;
    let revise = client.put(&path, &saying("anew")).if_match("\"2\"").key("k");
    revise.send().await.problem(412, "stale");
    client.put(&path, &saying("between")).if_match("\"1\"").send().await.is(200);
    revise.send().await.is(200);
}

#[tokio::test]
async fn the_list_is_read_page_by_page() {
    let server = Server::start().await;
    let client = server.client();
    let makes: Vec<_> =
        (0..25).map(|number| client.post("/introductions", &saying(&format!("number {number}")))).collect();
    let made = send_all(&makes).await;
    let mut expected: Vec<Value> = made.iter().map(Answer::json).collect();
    expected.sort_by_key(|one| one["id"].as_str().unwrap().to_owned());
    let receipts = crate::foods::newest(&made);

    let mut found = Vec::new();
    let mut cursor = String::new();
    let sizes: Vec<usize> = loop_pages(&client, &receipts, &mut cursor, &mut found).await;

    assert_eq!((sizes, found), (vec![10, 10, 5], expected));
}

async fn loop_pages(
    client: &Client,
    receipts: &str,
    cursor: &mut String,
    found: &mut Vec<Value>,
) -> Vec<usize> {
    let mut sizes = Vec::new();
    loop {
        let path = format!("/introductions?limit=10{cursor}");
        let page = client.get(path).after(receipts).send().await.is(200).json();
        let data = page["data"].as_array().unwrap();
        sizes.push(data.len());
        found.extend(data.iter().cloned());
        match page["next"].as_str() {
            Some(next) => *cursor = format!("&cursor={next}"),
            None => return sizes,
        }
    }
}
