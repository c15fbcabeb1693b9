//! Users: registered once, known by their password, shut out and let in again, and the same after everything is folded anew.

use crate::client::{Answer, Call, Client};
use crate::server::{Server, in_time};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

pub(crate) const PASSWORD: &str = "correct horse battery";
/// How often something is asked that changes by itself, in milliseconds.
const POLL_MS: u64 = 20;

/// A user of this name, with an address of its own.
pub(crate) fn user(username: &str) -> Value {
    let email = format!("{}@example.org", username.to_ascii_lowercase());
    json!({"username": username, "name": "Ada", "lastname": "Lovelace", "email": email, "password": PASSWORD})
}

/// The same with another value in a field.
pub(crate) fn with(mut user: Value, field: &str, value: impl Into<Value>) -> Value {
    user[field] = value.into();
    user
}

pub(crate) fn login(client: &Client, username: &str, password: &str) -> Call {
    let form = reqwest::Url::parse_with_params("http://f", [("username", username), ("password", password)]);
    let form = form.unwrap().query().unwrap().to_owned();
    let call = client.call(Method::POST, "/login").bytes(form);
    call.header("Content-Type", "application/x-www-form-urlencoded")
}

/// A client with the token of a user, who has just logged in.
pub(crate) async fn logged_in(client: &Client, username: &str, password: &str) -> Client {
    let answer = login(client, username, password).send().await.is(200);
    client.with_token(answer.json()["access_token"].as_str().unwrap())
}

/// Sends a request until it is answered so.
pub(crate) async fn until(call: &Call, status: u16) -> Answer {
    let answered = async {
        let mut ticks = interval(Duration::from_millis(POLL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answer = call.send().await;
            if answer.status == status {
                return answer;
            }
            ticks.tick().await;
        }
    };
    in_time("answered so", answered).await
}

fn change(current: &str, new: &str) -> Value {
    json!({"current": current, "new": new})
}

#[tokio::test]
async fn somebody_registers_logs_in_and_is_known() {
    let server = Server::start().await;
    let (admin, anybody) = (server.client(), server.client().with_token(None));

    let made = anybody.post("/users", &user("Ada")).send().await.is(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.json(), json!({"id": id}));
    let token = login(&anybody, "Ada", PASSWORD).send().await.is(200);
    assert_eq!(token.header("Cache-Control"), "no-store");
    assert_eq!((&token.json()["token_type"], &token.json()["expires_in"]), (&json!("bearer"), &json!(1_800)));

    let ada = logged_in(&anybody, "aDA", PASSWORD).await;
    let me = ada.get("/users/me").after(made.receipt()).send().await.is(200);
    let expected = json!({
        "id": id, "username": "Ada", "name": "Ada", "lastname": "Lovelace", "email": "ada@example.org", "role": "user",
    });
    assert_eq!(me.json(), expected);
    assert_ne!(me.header("Refold-Position"), "");

    let all = admin.get("/users").send().await.is(200);
    let listed = json!({"id": id, "username": "Ada", "name": "Ada", "lastname": "Lovelace", "role": "user", "enabled": true});
    assert_eq!(all.json(), json!({"data": [listed], "next": null}));
    ada.get("/users").send().await.problem(403, "forbidden");
    anybody.get("/users/me").send().await.problem(401, "unauthorized");
    admin.get("/users/me").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_name_and_an_address_are_taken_once_however_they_are_written() {
    let server = Server::start().await;
    let anybody = server.client().with_token(None);
    let amelie = with(user("Am\u{e9}lie"), "email", "Am\u{e9}lie@Example.org");
    anybody.post("/users", &amelie).send().await.is(201);

    for name in ["Am\u{e9}lie", "AM\u{c9}LIE", "ame\u{301}lie"] {
        let told =
            anybody.post("/users", &with(user("x"), "username", name)).send().await.problem(409, "conflict");
        assert_eq!(told, "somebody else has this user name: take another");
    }
    for email in ["am\u{e9}lie@example.org", "AME\u{301}LIE@EXAMPLE.ORG"] {
        let told =
            anybody.post("/users", &with(user("x"), "email", email)).send().await.problem(409, "conflict");
        assert_eq!(told, "somebody else has this e-mail address: take another");
    }
    anybody.post("/users", &user("Amelie")).send().await.is(201);
    login(&anybody, "AME\u{301}LIE", PASSWORD).send().await.is(200);
}

#[tokio::test]
async fn bad_fields_are_named_and_never_repeated() {
    let server = Server::start().await;
    let client = server.client();
    let body = json!({"username": "a b", "email": "nobody", "password": "too short", "role": "root"});
    let answer = client.post("/users", &body).send().await;
    let told = answer.problem(422, "validation");
    assert!(told.contains("password: must have 10 to 256 characters"), "{told}");
    let fields: Vec<_> =
        answer.json()["errors"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
    assert_eq!(fields, ["username", "name", "lastname", "email", "password", "role"]);
    assert!(!answer.text.contains("too short"), "{}", answer.text);

    for (length, status) in [(9, 422), (10, 201), (256, 201), (257, 422)] {
        let user = with(user(&format!("u{length}")), "password", "ä".repeat(length));
        client.post("/users", &user).send().await.is(status);
    }
    // However they are composed, they are as many, and the same.
    login(&client, "u256", &"a\u{308}".repeat(256)).send().await.is(200);
    login(&client, "u10", &"a\u{308}".repeat(10)).send().await.is(200);
    client.post("/users", &with(user("u5"), "password", "a\u{308}".repeat(5))).send().await.is(422);
    client.post("/users", &with(user("u11"), "password", "Am\u{e9}lie\u{a0}1999")).send().await.is(201);
    login(&client, "u11", "Ame\u{301}lie 1999").send().await.is(200);
}

/// What is published of a field of a registration: a pattern.
async fn pattern(client: &Client, field: &str) -> regex::Regex {
    let document = client.get("/openapi.json").send().await.is(200).json();
    let schema = &document["components"]["schemas"]["Registration"]["properties"][field];
    regex::Regex::new(schema["pattern"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_published_of_names_and_addresses_is_what_is_taken() {
    let server = Server::new().with("AUTH__LOGINS_MAX", "0").ready().await;
    let client = server.client();
    let emails = [
        "b@e.org",
        "o'neil+x@b",
        "\u{e4}@\u{fc}.de",
        "\"x\"@e.org",
        "\"a b\"@e.org",
        "x@[127.0.0.1]",
        "Ada <a@b.de>",
        ".a@b.de",
        "a..b@c.de",
        "a@b_c.de",
        "a@-b.de",
        "a@b..de",
        "a\u{200b}@b.de",
        "a@b\u{ad}.de",
        "a\u{37e}b@c.de",
        "@b.de",
    ];
    let names = [
        "A-da_1",
        "\u{391}\u{3a3}",
        "a\u{fe0f}b",
        "a\u{e0061}",
        "a\u{34f}b",
        "a\u{fff9}",
        "a\u{37e}",
        "-a",
        "a/b",
        "a b",
    ];
    let called = [
        "O\u{2019}Neil",
        "\u{645}\u{200c}\u{645}",
        "A\u{202e}da",
        "A\u{2066}da",
        "\u{200b}",
        "A\u{85}",
        "A\u{2028}da",
        "\u{e0061}",
    ];
    let mut taken = Vec::new();
    for (field, values) in [("email", &emails[..]), ("username", &names[..]), ("lastname", &called[..])] {
        let pattern = pattern(&client, field).await;
        for (number, value) in values.iter().enumerate() {
            let body = with(user(&format!("{field}{number}")), field, *value);
            let answer = client.post("/users", &body).send().await;
            let status = if pattern.is_match(value) { 201 } else { 422 };
            assert_eq!(answer.status, status, "{value:?}: {answer:?}");
            taken.extend((status == 201).then_some(*value));
        }
    }
    let expected = [
        "b@e.org",
        "o'neil+x@b",
        "\u{e4}@\u{fc}.de",
        "A-da_1",
        "\u{391}\u{3a3}",
        "O\u{2019}Neil",
        "\u{645}\u{200c}\u{645}",
    ];
    assert_eq!(taken, expected);
    // However it is written at the end of a word.
    for same in ["\u{3b1}\u{3c3}", "\u{3b1}\u{3c2}"] {
        client.post("/users", &with(user("x"), "username", same)).send().await.problem(409, "conflict");
    }
}

#[tokio::test]
async fn only_an_admin_makes_admins() {
    let server = Server::start().await;
    let (operator, anybody) = (server.client(), server.client().with_token(None));
    let admin = |name| with(user(name), "role", "admin");
    anybody.post("/users", &admin("mallory")).send().await.problem(403, "forbidden");
    anybody.post("/users", &user("bob")).send().await.is(201);
    let bob = logged_in(&anybody, "bob", PASSWORD).await;
    bob.post("/users", &admin("mallory")).send().await.problem(403, "forbidden");

    operator.post("/users", &admin("grace")).send().await.is(201);
    let grace = logged_in(&anybody, "grace", PASSWORD).await;
    grace.post("/users", &admin("ada")).send().await.is(201);
    let listed = grace.get("/users?limit=2").send().await.is(200).json();
    let names = |page: &Value| {
        page["data"].as_array().unwrap().iter().map(|one| one["username"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&listed), ["ada", "bob"]);
    let next = listed["next"].as_str().unwrap();
    let rest = grace.get(format!("/users?limit=2&cursor={next}")).send().await.is(200).json();
    assert_eq!((names(&rest), &rest["next"]), (vec![json!("grace")], &Value::Null));
    grace.get("/users?cursor=x").send().await.problem(400, "parameter");
}

#[tokio::test]
async fn a_changed_password_ends_the_old_one_and_its_tokens() {
    const NEW: &str = "an entirely new one";
    let server = Server::start().await;
    let anybody = server.client().with_token(None);
    anybody.post("/users", &user("ada")).send().await.is(201);
    let [one, other] =
        [logged_in(&anybody, "ada", PASSWORD).await, logged_in(&anybody, "ada", PASSWORD).await];

    let path = "/users/me/password";
    let wrong = one.put(path, &change("not the password", NEW)).send().await;
    assert_eq!(wrong.problem(422, "validation"), "current: is not your password");
    anybody.put(path, &change(PASSWORD, NEW)).send().await.problem(401, "unauthorized");
    one.put(path, &change(PASSWORD, NEW)).send().await.is(204);

    for old in [one, other] {
        until(&old.get("/users/me"), 401).await;
    }
    login(&anybody, "ada", PASSWORD).send().await.problem(401, "credentials");
    let ada = logged_in(&anybody, "ada", NEW).await;
    ada.get("/users/me").send().await.is(200);
}

#[tokio::test]
async fn who_is_disabled_is_out_within_seconds_and_in_again_when_enabled() {
    let mut server = Server::start().await;
    let (admin, anybody) = (server.client(), server.client().with_token(None));
    anybody.post("/users", &user("Ada")).send().await.is(201);
    let ada = logged_in(&anybody, "ada", PASSWORD).await;
    ada.get("/users/me").send().await.is(200);
    ada.put("/users/ADA/disabled", &json!(null)).send().await.problem(403, "forbidden");
    admin.put("/users/nobody/disabled", &json!(null)).send().await.problem(404, "not-found");

    let disable = admin.call(Method::PUT, "/users/ADA/disabled");
    let first = disable.send().await.is(204);
    let refused = until(&ada.get("/users/me"), 401).await;
    assert!(refused.header("WWW-Authenticate").starts_with("Bearer"), "{refused:?}");
    login(&anybody, "ada", PASSWORD).send().await.problem(401, "credentials");
    assert_eq!(disable.send().await.is(204).receipt(), first.receipt(), "it is disabled already");
    assert_eq!(admin.get("/users").send().await.json()["data"][0]["enabled"], false);

    server.kill().await;
    server.up().await;
    ada.get("/users/me").send().await.is(401);
    let enabled = admin.delete("/users/ada/disabled").send().await.is(204);
    assert_eq!(admin.delete("/users/ada/disabled").send().await.is(204).receipt(), enabled.receipt());
    let again = logged_in(&anybody, "ada", PASSWORD).await;
    until(&again.get("/users/me"), 200).await;
    ada.get("/users/me").send().await.is(401);
}

#[tokio::test]
async fn users_are_the_same_after_a_kill_and_after_the_store_is_gone() {
    const NEW: &str = "an entirely new one";
    let mut server = Server::start().await;
    let (admin, anybody) = (server.client(), server.client().with_token(None));
    for name in ["ada", "bob", "eve"] {
        anybody.post("/users", &user(name)).send().await.is(201);
    }
    let bob = logged_in(&anybody, "bob", PASSWORD).await;
    bob.put("/users/me/password", &change(PASSWORD, NEW)).send().await.is(204);
    admin.call(Method::PUT, "/users/eve/disabled").send().await.is(204);
    let users = admin.get("/users").send().await.is(200).json();

    for round in 0..2 {
        server.kill().await;
        if round == 1 {
            server.remove_store().await;
        }
        server.up().await;
        assert_eq!(admin.get("/users").send().await.is(200).json(), users);
        login(&anybody, "ada", PASSWORD).send().await.is(200);
        login(&anybody, "bob", NEW).send().await.is(200);
        for (name, password) in [("bob", PASSWORD), ("eve", PASSWORD), ("ada", NEW)] {
            login(&anybody, name, password).send().await.problem(401, "credentials");
        }
        anybody.post("/users", &user("ADA")).send().await.problem(409, "conflict");
        until(&bob.get("/users/me"), 401).await;
    }
}

#[tokio::test]
async fn a_repeat_under_a_key_is_answered_as_the_first_time_but_not_for_another_password() {
    let mut server = Server::start().await;
    let anybody = server.client().with_token(None);
    let register = |body: &Value| anybody.post("/users", body).key("registration 1");
    let first = register(&user("ada")).send().await.is(201);
    server.kill().await;
    server.up().await;
    let again = register(&user("ada")).send().await.is(201);
    assert_eq!((again.json(), again.receipt()), (first.json(), first.receipt()));
    register(&with(user("ada"), "password", "another password")).send().await.problem(422, "key-reused");
    register(&with(user("ada"), "name", "Augusta")).send().await.problem(422, "key-reused");
    anybody.post("/users", &user("ada")).key("registration 2").send().await.problem(409, "conflict");

    let path = "/users/me/password";
    let ada = logged_in(&anybody, "ada", PASSWORD).await;
    let changed = ada.put(path, &change(PASSWORD, "another password")).key("k").send().await.is(204);
    let ada = logged_in(&anybody, "ada", "another password").await;
    let again = ada.put(path, &change(PASSWORD, "another password")).key("k").send().await.is(204);
    assert_eq!(again.receipt(), changed.receipt());
    ada.put(path, &change(PASSWORD, "a third password")).key("k").send().await.problem(422, "key-reused");
    // Nobody knows any more what it was when they registered.
    assert_eq!(register(&user("ada")).send().await.is(201).receipt(), first.receipt());
    login(&anybody, "ada", "another password").send().await.is(200);
}

/// Who, what and whom a line of the audit is about, and how it ended.
fn shown(fields: &Value) -> Value {
    json!([fields["message"], fields["user"], fields["act"], fields["subject"], fields["outcome"]])
}

#[tokio::test]
async fn a_repeat_is_told_where_its_password_is_another_and_else_not() {
    let server = Server::new().with("AUTH__FAILED_LOGINS_MAX", "2").with("TELEMETRY__FORMAT", "json");
    let mut server = server.ready().await;
    let (operator, anybody) = (server.client(), server.client().with_token(None));
    let wrong = |name: &str| with(user(name), "password", "another password");
    for _ in 0..2 {
        operator.post("/users", &user("ada")).key("k").send().await.is(201);
        anybody.post("/users", &user("bob")).key("k").send().await.is(201);
        anybody.post("/users", &user("eve")).key("e").send().await.is(201);
    }
    let (path, new) = ("/users/me/password", "an entirely new one");
    let ada = logged_in(&anybody, "ada", PASSWORD).await;
    ada.put(path, &change(PASSWORD, new)).key("k").send().await.is(204);
    let ada = logged_in(&anybody, "ada", new).await;
    ada.put(path, &change(PASSWORD, new)).key("k").send().await.is(204);
    for status in [422, 422, 429] {
        anybody.post("/users", &wrong("bob")).key("k").send().await.is(status);
        ada.put(path, &change(PASSWORD, "another password")).key("k").send().await.is(status);
    }

    server.line_times("\"limited\"", 2).await;
    let said = server.said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = lines.filter(|line| line["target"] == "refold::audit" && line["fields"]["message"] != "login");
    let told: Vec<_> = told.map(|line| shown(&line["fields"])).collect();
    let mut expected = vec![
        json!(["act", "operator:test", "register user", "ada", null]),
        json!(["password", "ada", null, null, "ok"]),
    ];
    for outcome in ["refused", "refused", "limited"] {
        expected.push(json!(["password", null, null, "bob", outcome]));
        expected.push(json!(["password", "ada", null, null, outcome]));
    }
    assert_eq!(told, expected, "{said}");
}

#[tokio::test]
async fn who_tries_passwords_and_whom_admins_register_is_told() {
    let server = Server::new().with("AUTH__FAILED_LOGINS_MAX", "2").with("TELEMETRY__FORMAT", "json");
    let mut server = server.ready().await;
    let (operator, anybody) = (server.client(), server.client().with_token(None));
    operator.post("/users", &user("ada")).send().await.is(201);
    operator.post("/users", &with(user("grace"), "role", "admin")).send().await.is(201);
    anybody.post("/users", &user("bob")).send().await.is(201);
    anybody.post("/users", &with(user("eve"), "role", "admin")).send().await.is(403);
    let (ada, bob) = (logged_in(&anybody, "ada", PASSWORD).await, logged_in(&anybody, "bob", PASSWORD).await);
    ada.put("/users/me/password", &change(PASSWORD, "an entirely new one")).send().await.is(204);
    for status in [422, 422, 429] {
        bob.put("/users/me/password", &change("not the password", PASSWORD)).send().await.is(status);
    }
    for password in ["not the password", PASSWORD] {
        for (name, status) in [("nobody", 401), ("ada", 401), ("bob", 429)] {
            login(&anybody, name, password).send().await.is(status);
        }
    }

    server.line_times("\"limited\"", 3).await;
    let said = server.said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<_> = lines
        .filter(|line| line["target"] == "refold::audit" && line["fields"]["message"] != "login")
        .map(|line| shown(&line["fields"]))
        .collect();
    let password = |user, outcome| json!(["password", user, null, null, outcome]);
    let expected = [
        json!(["act", "operator:test", "register user", "ada", null]),
        json!(["act", "operator:test", "register admin", "grace", null]),
        json!(["refused", null, null, null, null]),
        password("ada", "ok"),
        password("bob", "refused"),
        password("bob", "refused"),
        password("bob", "limited"),
    ];
    assert_eq!(told, expected, "{said}");

    let metrics = anybody.get("/metrics").send().await.is(200).text;
    for (outcome, count) in [("ok", 2), ("refused", 4), ("limited", 2)] {
        let line = format!("refold_logins_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}
