//! Logins: a form for a token, the same answer whatever is wrong, and no more tries than are allowed.

use crate::client::{Answer, Client};
use crate::server::Server;
use crate::users::{PASSWORD, login, until, user};
use reqwest::Method;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

const FORM: &str = "application/x-www-form-urlencoded";

fn form(client: &Client, text: &str) -> crate::client::Call {
    client.call(Method::POST, "/login").bytes(text).header("Content-Type", FORM)
}

/// What a client can tell of an answer: all but the time, and the request's id.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers =
        answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (answer.status, headers.collect(), answer.text.clone())
}

#[tokio::test]
async fn whatever_is_wrong_is_answered_in_the_same_words() {
    let server = Server::start().await;
    let (admin, anybody) = (server.client(), server.client().with_token(None));
    for name in ["ada", "bob"] {
        anybody.post("/users", &user(name)).send().await.is(201);
    }
    admin.call(Method::PUT, "/users/bob/disabled").send().await.is(204);

    let wrong = login(&anybody, "ada", "the wrong password").send().await;
    wrong.problem(401, "credentials");
    assert_eq!(wrong.header("WWW-Authenticate"), "Bearer");
    for (name, password) in
        [("nobody", PASSWORD), ("bob", PASSWORD), ("ada", "short"), ("ada", ""), ("a b/c", PASSWORD)]
    {
        let answer = login(&anybody, name, password).send().await;
        assert_eq!(told(&answer), told(&wrong), "{name}");
    }
    login(&anybody, "ada", PASSWORD).send().await.is(200);
}

#[tokio::test]
async fn the_form_is_that_of_oauth2() {
    let server = Server::start().await;
    let client = server.client().with_token(None);
    let ada = json!({"username": "ada", "name": "A", "lastname": "L", "email": "a@b.org", "password": "pass & word+%é"});
    client.post("/users", &ada).send().await.is(201);
    let full = "grant_type=password&username=ADA&password=pass+%26+word%2B%25%C3%A9&scope=a+b&client_id=x&client_secret=";
    form(&client, full).send().await.is(200);

    form(&client, "username=ada&password=%ff").send().await.problem(400, "syntax");
    for (wrong, field) in [
        ("password=x", "username"),
        ("username=ada", "password"),
        ("username=ada&password=x&password=y", "password"),
        ("username=ada&password=x&grant_type=implicit", "grant_type"),
        ("username=ada&password=x&user=ada", "user"),
    ] {
        let answer = form(&client, wrong).send().await;
        answer.problem(422, "validation");
        assert_eq!(answer.json()["errors"][0]["field"], field);
    }
    client
        .post("/login", &json!({"username": "ada", "password": "x"}))
        .send()
        .await
        .problem(415, "content-type");
    form(&client, &format!("username=ada&password={}", "x".repeat(20_000)))
        .send()
        .await
        .problem(413, "too-large");
    client.get("/login").send().await.problem(405, "method");
}

#[tokio::test]
async fn who_guesses_must_wait() {
    let server = Server::new().with("AUTH__FAILED_LOGINS_MAX", "3").ready().await;
    let anybody = server.client().with_token(None);
    anybody.post("/users", &user("ada")).send().await.is(201);
    // Those that go well do not count.
    for _ in 0..5 {
        login(&anybody, "ada", PASSWORD).send().await.is(200);
    }
    for (name, spelt) in [("ada", "ADA"), ("nobody", "Nobody")] {
        for _ in 0..3 {
            login(&anybody, name, "the wrong password").send().await.problem(401, "credentials");
        }
        let limited = login(&anybody, spelt, PASSWORD).send().await;
        limited.problem(429, "too-many");
        let wait: u32 = limited.header("Retry-After").parse().unwrap();
        assert!((150..=200).contains(&wait), "{wait} s until a third of ten minutes is over");
    }
    login(&anybody, "bob", "the wrong password").send().await.problem(401, "credentials");
}

#[tokio::test]
async fn many_at_once_guess_no_more_than_one_after_the_other() {
    let server = Server::new()
        .with("AUTH__FAILED_LOGINS_MAX", "3")
        .with("AUTH__HASHES_QUEUE_MAX", "1000")
        .ready()
        .await;
    let anybody = server.client().with_token(None);
    anybody.post("/users", &user("ada")).send().await.is(201);
    let guesses: Vec<_> =
        (0..40).map(|number| login(&anybody, "ada", &format!("the password {number}"))).collect();
    let answers = futures::future::join_all(guesses.iter().map(|guess| guess.send())).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((looked_at, answers.iter().filter(|answer| answer.status == 429).count()), (3, 37));
}

#[tokio::test]
async fn tries_come_back_with_time() {
    let server = Server::new()
        .with("AUTH__FAILED_LOGINS_MAX", "1")
        .with("AUTH__FAILED_LOGINS_WINDOW_MS", "500")
        .ready()
        .await;
    let anybody = server.client().with_token(None);
    anybody.post("/users", &user("ada")).send().await.is(201);
    login(&anybody, "ada", "the wrong password").send().await.is(401);
    until(&login(&anybody, "ada", PASSWORD), 200).await;
}

#[tokio::test]
async fn an_address_logs_in_only_so_often() {
    let server = Server::new().with("AUTH__LOGINS_MAX", "5").ready().await;
    let anybody = server.client().with_token(None);
    anybody.post("/users", &user("ada")).send().await.is(201);
    for number in 0..5 {
        login(&anybody, &format!("user{number}"), "whatever it is").send().await.is(401);
    }
    let limited = login(&anybody, "ada", PASSWORD).send().await;
    limited.problem(429, "too-many");
    assert!((1..=12).contains(&limited.header("Retry-After").parse::<u32>().unwrap()));
    anybody.get("/readyz").send().await.is(200);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn passwords_stand_behind_everything_else() {
    let server = Server::new().with("AUTH__HASHES_MAX", "3").ready().await;
    // Of each thread: its name, and how far behind others it stands.
    let nice = |task: PathBuf| {
        let stat = fs::read_to_string(task.join("stat")).unwrap();
        let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(')').unwrap();
        (name.to_owned(), fields.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap())
    };
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let threads: Vec<_> = tasks.map(|task| nice(task.unwrap().path())).collect();
    let (passwords, others): (Vec<_>, Vec<_>) =
        threads.into_iter().partition(|(name, _)| name.starts_with("passwords"));
    assert_eq!(passwords.len(), 3);
    let most = others.iter().map(|(_, nice)| *nice).max().unwrap();
    assert!(passwords.iter().all(|(_, nice)| *nice > most || *nice == 19), "{passwords:?} {others:?}");
}

#[tokio::test]
async fn more_passwords_than_may_wait_are_refused_at_once() {
    let server =
        Server::new().with("AUTH__HASHES_MAX", "1").with("AUTH__HASHES_QUEUE_MAX", "2").ready().await;
    let anybody = server.client().with_token(None);
    let logins: Vec<_> = (0..40).map(|number| login(&anybody, &format!("user{number}"), PASSWORD)).collect();
    let answers = futures::future::join_all(logins.iter().map(|login| login.send())).await;
    let full: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!full.is_empty() && answers.iter().any(|answer| answer.status == 401), "some of both");
    full.iter().for_each(|answer| drop(answer.problem(503, "overloaded")));
    login(&anybody, "nobody", PASSWORD).send().await.is(401);
}
