//! `refold feed` on a running service: what it says was accepted is exactly what the views have, whatever is killed in between.

use crate::client::Client;
use crate::data;
use crate::definitions::define;
use crate::ndjson::lines;
use crate::purchases::{example, purchase};
use crate::server::{Server, in_time};
use crate::sse::Stream;
use poem::listener::TcpAcceptor;
use poem::{Request, Response, Route, endpoint, get};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tokio::process::{Child, Command};
use uuid::Uuid;

const SYSTEMS: [&str; 5] = ["introductions", "foods", "purchases", "detections", "pictures"];
/// How many events are waited for before the service is killed, and after it is there again.
const EVENTS: usize = 200;

/// A service that counts introductions and purchases, too, at an address that it keeps.
async fn counting() -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Server::new().with("HTTP__LISTEN", &format!("127.0.0.1:{port}"));
    for (name, event) in
        [("all_introductions", "introduction.introduced"), ("all_purchases", "purchase.recorded")]
    {
        define(&mut server, name, &format!("name = '{name}'\non = '{event}'\ncount = {{}}"));
    }
    (server.ready().await, format!("http://127.0.0.1:{port}"))
}

/// How many commands of each system the views have, as soon as they have those of all receipts.
async fn counted(client: &Client, receipts: &Value) -> [u64; 5] {
    let receipts: Vec<_> = receipts.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let receipts = receipts.join(",");
    let get = async |path: &str| {
        let call = client.get(path);
        let call = if receipts.is_empty() { call } else { call.after(&receipts) };
        call.send().await.is(200).json()
    };
    let sum = |rows: &Value| rows.as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).sum();
    [
        sum(&get("/views/all_introductions").await["data"]),
        sum(&get("/aggregated").await),
        sum(&get("/views/all_purchases").await["data"]),
        sum(&get("/stats").await["data"]),
        get("/pictures/stats").await["count"].as_u64().unwrap(),
    ]
}

/// How many commands of each system the summary has in this column.
fn told(summary: &Value, column: &str) -> [u64; 5] {
    SYSTEMS.map(|system| summary["systems"][system][column].as_u64().unwrap_or_default())
}

/// Runs it to its end; answers its summary and what it wrote besides.
async fn feed(server: &Server, url: &str, arguments: &[&str]) -> (ExitStatus, Value, String) {
    let arguments = [&["feed", "--url", url, "--json"], arguments].concat();
    let (status, said) = server.run(&arguments).await;
    let (summary, said) = said.split_once('\n').unwrap();
    (status, serde_json::from_str(summary).unwrap_or_default(), said.to_owned())
}

/// Starts it.
fn start(server: &Server, url: &str, arguments: &[&str]) -> Child {
    let arguments = [&["feed", "--url", url, "--json"], arguments].concat();
    server.command(&arguments).stdout(Stdio::piped()).spawn().unwrap()
}

/// Presses Ctrl-C and waits for the summary.
async fn interrupt(feed: Child) -> (ExitStatus, Value, String) {
    let kill = format!("kill -INT {}", feed.id().unwrap());
    assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    let output = in_time("ended", feed.wait_with_output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status, serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

/// Waits until so many more events happened.
async fn until_events(client: &Client) {
    let mut events = Stream::open(&client.get("/events/live")).await;
    for _ in 0..EVENTS {
        events.data().await;
    }
}

#[tokio::test]
async fn what_it_accepted_is_what_the_views_have() {
    let (server, url) = counting().await;
    let client = server.client();
    let mut all = [0; 5];
    for (arguments, sent) in [
        (&["--count", "1003"][..], [201, 201, 201, 200, 200]),
        (&["--count", "9002", "--lines", "1000"], [3, 2_999, 2_000, 2_000, 2_000]),
        (&["--count", "10", "--system", "foods,pictures", "--lines", "3"], [0, 6, 0, 0, 4]),
    ] {
        let (status, summary, said) =
            feed(&server, &url, &[arguments, &["--rate", "max", "--seed", "7"]].concat()).await;
        assert!(status.success() && said.is_empty(), "{said}");
        assert_eq!(told(&summary, "accepted"), sent, "{summary}");
        assert_eq!(told(&summary, "sent"), sent);
        all.iter_mut().zip(sent).for_each(|(all, sent)| *all += sent);
        assert_eq!(counted(&client, &summary["receipts"]).await, all);
        let total = &summary["total"];
        assert_eq!(
            (total["accepted"].as_u64(), total["failed"].as_u64()),
            (Some(sent.iter().sum()), Some(0))
        );
        assert!(total["p50_ms"].as_f64() <= total["p99_ms"].as_f64() && summary["complete"] == true);
    }
}

#[tokio::test]
async fn kills_in_the_middle_lose_nothing_and_count_nothing_twice() {
    let (mut server, url) = counting().await;
    let client = server.client();
    let mut all = [0; 5];
    for lines in ["1", "50"] {
        let feed = start(&server, &url, &["--rate", "max", "--lines", lines]);
        for _ in 0..2 {
            until_events(&client).await;
            server.kill().await;
            server.up().await;
        }
        until_events(&client).await;

        let (status, summary, said) = interrupt(feed).await;

        assert!(status.success(), "it had no other end: {said}");
        let sent = told(&summary, "sent");
        assert!(sent.iter().all(|sent| *sent > 0) && summary["repeats"].as_u64() > Some(0), "{summary}");
        assert_eq!(told(&summary, "accepted"), sent, "{said}");
        all.iter_mut().zip(sent).for_each(|(all, sent)| *all += sent);
        assert_eq!(counted(&client, &summary["receipts"]).await, all);
    }
}

#[tokio::test]
async fn files_are_sent_whole_or_not_at_all() {
    let (server, url) = counting().await;
    let client = server.client();
    let path = |name: &str| server.home().join(name).to_str().unwrap().to_owned();
    let foods = data::foods();
    let count = |(food, count): &(String, u64)| format!("\"{}\",{count}\n", food.replace('"', "\"\""));
    let rows: String = foods.iter().map(count).collect();
    fs::write(path("foods.csv"), format!("food,count\n{rows}")).unwrap();
    fs::write(path("detections.ndjson"), lines(&data::detections())).unwrap();
    fs::write(path("bad.csv"), format!("food,count\n{rows}{},1\n", "x".repeat(201))).unwrap();
    fs::write(path("bad.ndjson"), lines(&data::detections()) + "{\"Year\": \"2020\"}\n").unwrap();

    for (system, file, line) in
        [("foods", "bad.csv", foods.len() + 2), ("detections", "bad.ndjson", data::detections().len() + 1)]
    {
        let (status, _, said) = feed(&server, &url, &["--system", system, "--file", &path(file)]).await;
        assert!(status.code() == Some(1) && said.contains(&format!("{file}:{line}: ")), "{said}");
    }
    let table = path("foods.csv");
    for arguments in [&[][..], &["--system", "foods,pictures"]] {
        let arguments = [&["feed", "--file", &table], arguments].concat();
        assert_eq!(server.run(&arguments).await.0.code(), Some(2));
    }
    assert_eq!(counted(&client, &json!([])).await, [0; 5], "nothing was sent");

    let (status, summary, said) =
        feed(&server, &url, &["--system", "foods", "--file", &path("foods.csv")]).await;
    assert!(status.success(), "{said}");
    assert_eq!(told(&summary, "accepted")[1], foods.iter().map(|(_, count)| count).sum::<u64>());
    counted(&client, &summary["receipts"]).await;
    assert_eq!(client.get("/aggregated").send().await.is(200).json(), data::aggregated(&foods));
    let detections = ["--system", "detections", "--file", &path("detections.ndjson"), "--lines", "100"];
    let (_, summary, _) = feed(&server, &url, &detections).await;
    assert_eq!(counted(&client, &summary["receipts"]).await[3], data::detections().len() as u64);
}

#[tokio::test]
async fn what_is_not_taken_is_named() {
    let (server, url) = counting().await;
    let path = server.home().join("purchases.ndjson");
    let mut clash = example();
    clash["scoops"][0]["price"] = json!(201);
    let other = purchase(&Uuid::from_u128(1).to_string(), "2021-12-29T12:00:00Z");
    fs::write(&path, lines(&[example(), clash]) + "\n\n" + &lines(&[other])).unwrap();
    let file = ["--system", "purchases", "--file", path.to_str().unwrap()];
    let one_by_one = ["--connections", "1"];
    for (arguments, accepted, known) in
        [(&one_by_one[..], 2, 0), (&one_by_one, 0, 2), (&["--lines", "9"], 0, 2)]
    {
        let (status, summary, said) = feed(&server, &url, &[&file, arguments].concat()).await;
        assert!(status.code() == Some(1) && summary["complete"] == false, "{summary}");
        let of = ["accepted", "known", "rejected", "failed"].map(|column| told(&summary, column)[2]);
        assert_eq!(of, [accepted, known, 1, 0], "{said}");
        assert!(said.contains("line 2 of the file: ") && said.contains("409"), "{said}");
    }
}

#[tokio::test]
async fn it_keeps_to_a_rate_and_a_time() {
    let (server, url) = counting().await;
    let (status, summary, said) = feed(&server, &url, &["--rate", "100", "--count", "51"]).await;
    assert!(status.success(), "{said}");
    // The last one is due half a second after the first.
    assert!(summary["seconds"].as_f64() >= Some(0.5), "{summary}");
    let (status, summary, said) = feed(&server, &url, &["--rate", "20", "--for", "500ms"]).await;
    assert!(status.success(), "{said}");
    assert!(summary["total"]["sent"].as_u64() <= Some(10), "{summary}");
}

#[tokio::test]
async fn an_end_before_its_end_is_no_success() {
    let (server, url) = counting().await;
    let client = server.client();
    let feed = start(&server, &url, &["--for", "1h"]);
    in_time("fed", async { Stream::open(&client.get("/events/live?from=start")).await.data().await }).await;
    let (status, summary, said) = interrupt(feed).await;
    assert!(status.code() == Some(1) && said.contains("before its end"), "{said}");
    assert_eq!(counted(&client, &summary["receipts"]).await, told(&summary, "accepted"));
}

#[tokio::test]
async fn a_wrong_address_is_named() {
    let (server, url) = counting().await;
    let (status, _, said) = feed(&server, "http://127.0.0.1:1", &[]).await;
    assert!(status.code() == Some(1) && said.contains("refused"), "{said}");
    let (status, said) = server.run(&["feed", "--url", &format!("{url}/elsewhere")]).await;
    assert!(status.code() == Some(1) && said.contains("is no Refold") && said.contains("404"), "{said}");
    for bad in ["--rate=0", "--for=0s", "--for=soon", "--connections=0", "--lines=10001", "--system=cars"] {
        assert_eq!(server.run(&["feed", bad]).await.0.code(), Some(2), "{bad}");
    }
}

/// What a service was asked: the key, who asks, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    key: String,
    authorization: String,
    body: String,
}

pub(crate) type Journal = Arc<Mutex<Vec<Asked>>>;

/// Something that answers as it is told: a status and a body, after all that was asked before.
pub(crate) fn answering(
    answer: impl Fn(&[Asked], &Asked) -> (u16, String) + Send + Sync + 'static,
) -> (String, Journal) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (journal, answer) = (Journal::default(), Arc::new(answer));
    let noted = Arc::clone(&journal);
    let answers = endpoint::make(move |mut request: Request| {
        let (journal, answer) = (Arc::clone(&noted), Arc::clone(&answer));
        async move {
            let body = request.take_body().into_string().await?;
            let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
            let asked =
                Asked { key: header("Idempotency-Key"), authorization: header("Authorization"), body };
            let mut journal = journal.lock().unwrap();
            let (status, body) = answer(&journal, &asked);
            journal.push(asked);
            let status = StatusCode::from_u16(status).unwrap();
            // To wherever the body says, where it sends elsewhere.
            let response =
                Response::builder().status(status).header("Retry-After", "0").header("Location", &body);
            Ok::<_, poem::Error>(response.body(body))
        }
    });
    let health = get(endpoint::make_sync(|_| "\"ok\""));
    let routes = Route::new().at("/healthz", health).at("/*", answers);
    let acceptor = TcpAcceptor::from_std(listener).unwrap();
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(routes));
    (url, journal)
}

/// Answers one request after the other with these statuses, and with the last one from then on.
fn in_turn(statuses: &'static [u16]) -> (String, Journal) {
    answering(|before, _| (statuses[before.len().min(statuses.len() - 1)], String::new()))
}

#[tokio::test]
async fn a_repeat_is_the_same_request() {
    let (url, journal) = in_turn(&[503, 408, 502, 201, 200]);
    let arguments = ["--count", "2", "--connections", "1", "--token", "t", "--system", "foods"];
    let (status, summary, said) = feed(&Server::new(), &url, &arguments).await;
    assert!(status.success(), "{said}");
    let of = ["accepted", "known", "failed"].map(|column| told(&summary, column)[1]);
    assert_eq!((of, &summary["repeats"]), ([1, 1, 0], &json!(3)));
    let asked = journal.lock().unwrap();
    assert_eq!(asked.len(), 5);
    assert!(asked[..4].iter().all(|one| one == &asked[0] && one.authorization == "Bearer t"), "{asked:?}");
    assert_ne!(asked[3].key, asked[4].key, "another command has another key");
}

#[tokio::test]
async fn what_will_not_be_otherwise_ends_it() {
    for (statuses, failed) in [(&[401][..], 1), (&[404], 1), (&[500, 500, 201], 2)] {
        let (url, journal) = in_turn(statuses);
        let arguments = ["--count", "3", "--connections", "1", "--rate", "max"];
        let (status, summary, said) = feed(&Server::new(), &url, &arguments).await;
        assert_eq!((status.code(), summary["total"]["failed"].as_u64()), (Some(1), Some(failed)), "{said}");
        assert!(said.contains(&format!("the service answers {}", statuses[0])), "{said}");
        assert_eq!(journal.lock().unwrap().len(), statuses.len());
    }
}

#[tokio::test]
async fn it_signs_a_token_where_one_is_wanted_and_another_when_that_has_ended() {
    // Each token is good for three commands.
    let (url, journal) = answering(|before, asked| {
        let times = before.iter().filter(|one| one.authorization == asked.authorization).count();
        let is_good = asked.authorization.starts_with("Bearer ") && times < 3;
        (if is_good { 201 } else { 401 }, String::new())
    });
    let mut server = Server::new();
    server.set_variable("REFOLD_TOKEN", "");
    let arguments = ["--count", "7", "--connections", "1", "--rate", "max", "--system", "detections"];
    let (status, summary, said) = feed(&server, &url, &arguments).await;
    assert!(status.success() && told(&summary, "accepted")[3] == 7, "{said}");
    let mut tokens: Vec<_> = journal.lock().unwrap().iter().map(|one| one.authorization.clone()).collect();
    tokens.dedup();
    assert_eq!((tokens.len(), tokens[0].as_str()), (4, ""), "none until one is wanted: {tokens:?}");

    // A service that takes it.
    let (mut server, url) = counting().await;
    server.set_variable("REFOLD_TOKEN", "");
    let (status, summary, said) = feed(&server, &url, &["--count", "20", "--rate", "max"]).await;
    assert!(status.success() && told(&summary, "accepted") == [4; 5], "{said}");
    server.set("AUTH__SECRET", "another secret than that of the service");
    let (status, _, said) = feed(&server, &url, &["--count", "5", "--system", "detections"]).await;
    assert!(status.code() == Some(1) && said.contains("its signature is not that of this service"), "{said}");
    server.set("AUTH__SECRET", "");
    let (status, _, said) = feed(&server, &url, &["--count", "5", "--system", "detections"]).await;
    assert!(
        status.code() == Some(1) && said.contains("start the service once, or set auth.secret"),
        "{said}"
    );
}

#[tokio::test]
async fn where_a_given_token_has_ended_it_says_where_to_go_on() {
    let (url, _) = in_turn(&[201, 201, 401]);
    let server = Server::new();
    let file = server.home().join("detections.ndjson");
    let line = r#"{"Year": 2020, "Make": "A", "Model": "B", "Category": "C"}"#;
    fs::write(&file, format!("{line}\n").repeat(9)).unwrap();
    let arguments =
        ["--token", "t", "--connections", "1", "--system", "detections", "--file", file.to_str().unwrap()];
    let (status, summary, said) = feed(&server, &url, &arguments).await;
    assert_eq!((status.code(), told(&summary, "accepted")[3]), (Some(1), 2), "{said}");
    for part in [
        "the service answers 401",
        "`refold token` prints one",
        "it goes on at detections, line 3 of the file: all before it was answered, and nothing after detections, line 3 of \
         the file was sent",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A service forgets the keys of what lies far back, so nobody may get far ahead of what is repeated.
#[tokio::test]
async fn nothing_gets_far_ahead_of_what_is_repeated() {
    let (url, journal) = answering(|before, asked| {
        let oldest = before.first().unwrap_or(asked);
        let is_taken =
            asked.key != oldest.key || before.iter().filter(|one| one.key == oldest.key).count() > 4;
        let accepted = format!(r#"{{"accepted": {}, "receipts": []}}"#, asked.body.lines().count());
        if is_taken { (201, accepted) } else { (503, String::new()) }
    });
    let arguments = ["--system", "foods", "--lines", "10000", "--count", "90000", "--rate", "max"];
    let (status, summary, said) = feed(&Server::new(), &url, &arguments).await;
    assert!(status.success(), "{said}");
    assert_eq!((told(&summary, "accepted")[1], &summary["repeats"]), (90_000, &json!(5)));
    let asked = journal.lock().unwrap();
    let last = asked.iter().rposition(|one| one.key == asked[0].key).unwrap();
    let number = |one: &Asked| one.key.rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    let ahead = asked[..last].iter().map(number).max().unwrap() - number(&asked[0]);
    assert!(ahead < 50_000, "{ahead}");
}
