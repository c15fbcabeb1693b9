//! What is secret of users is in no answer, no view, no stream, no log line and no figure, whatever an operator defines.

use crate::client::{Call, Client};
use crate::definitions::define;
use crate::server::Server;
use crate::sse::Stream;
use crate::users::{login, user, with};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Stdio;

const PASSWORDS: [&str; 3] = ["unmistakable-one", "unmistakable-two", "unmistakable-three"];
const EMAIL: &str = "unmistakable@example.org";

/// Views over everything that has secrets, of every kind that could show an event or a part of it.
const DEFINITIONS: [(&str, &str); 6] = [
    ("user_rows", "on = 'user.registered'\nrows = {}"),
    ("user_rows_by", "on = 'user.registered'\nrows = { by = ['username'] }"),
    ("user_latest", "on = 'user.registered'\nlatest = { remove_on = 'user.disabled' }"),
    ("user_newest", "on = 'user.registered'\nlatest = { by = 'role' }"),
    ("password_rows", "on = ['user.password_changed', 'user.disabled', 'user.enabled']\nrows = {}"),
    ("password_changes", "on = 'user.password_changed'\nstats = { of = 'password_changes', by = ['id'] }"),
];

/// All that was written, and by what.
#[derive(Default)]
struct Written(Vec<(String, String)>);

impl Written {
    async fn send(&mut self, what: &str, call: &Call) -> Value {
        let answer = call.send().await;
        self.0.push((what.to_owned(), format!("{:?} {}", answer.headers, answer.text)));
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    /// Looks for a secret.
    fn must_not_have(&self, secret: &str) {
        for (what, text) in &self.0 {
            assert!(!text.contains(secret), "{what} has {secret:?}: {text}");
        }
    }
}

fn change(current: &str, new: &str) -> Value {
    json!({"current": current, "new": new})
}

async fn token(client: &Client, password: &str) -> String {
    let answer = login(client, "ada", password).send().await.is(200);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// Somebody's life as a user, with everything that can go wrong in it; answers their tokens.
async fn lived(server: &Server, written: &mut Written) -> Vec<String> {
    let (admin, anybody) = (server.client(), server.client().with_token(None));
    let [first, second, wrong] = PASSWORDS;
    let ada = with(with(user("ada"), "email", EMAIL), "password", first);
    written.send("registering", &anybody.post("/users", &ada).key("k")).await;
    written.send("registering again", &anybody.post("/users", &ada)).await;
    written
        .send(
            "another under the key",
            &anybody.post("/users", &with(ada.clone(), "password", wrong)).key("k"),
        )
        .await;
    written.send("the address again", &anybody.post("/users", &with(ada.clone(), "username", "bob"))).await;
    written
        .send("bad fields", &anybody.post("/users", &with(ada.clone(), "email", format!("{EMAIL}, {wrong}"))))
        .await;
    written.send("no JSON", &anybody.call(Method::POST, "/users").json(&ada).bytes(format!("{{{ada}"))).await;
    written.send("a wrong password", &login(&anybody, "ada", wrong)).await;
    written.send("a password for a name", &login(&anybody, wrong, first)).await;
    let mut tokens = vec![token(&anybody, first).await];
    let user = anybody.with_token(&*tokens[0]);
    written.send("not theirs", &user.put("/users/me/password", &change(wrong, second))).await;
    written.send("changing", &user.put("/users/me/password", &change(first, second)).key("k")).await;
    written.send("an old token", &user.get("/detections")).await;
    written.send("half a token", &anybody.with_token(&tokens[0][..tokens[0].len() - 4]).get("/stats")).await;
    tokens.push(token(&anybody, second).await);
    let user = anybody.with_token(&*tokens[1]);
    written.send("not allowed", &user.get("/events")).await;
    written.send("all users", &admin.get("/users")).await;
    written.send("disabling", &admin.call(Method::PUT, "/users/ada/disabled")).await;
    written.send("a disabled one's token", &user.get("/stats")).await;
    written.send("enabling", &admin.delete("/users/ada/disabled")).await;
    tokens
}

/// What everybody may look at, or an admin.
async fn looked_at(server: &Server, written: &mut Written) {
    let admin = server.client();
    for (name, _) in DEFINITIONS {
        let path = format!("/views/{name}");
        let page = written.send(name, &admin.get(&path)).await;
        if name != "user_latest" {
            assert!(
                page["data"].as_array().is_some_and(|rows| !rows.is_empty()),
                "{name} shows nothing: {page}"
            );
        }
        written.send("a kept answer", &admin.get(&path)).await;
        let live = Stream::open(&admin.get(format!("{path}/live"))).await.data().await;
        written.0.push((format!("{name} live"), format!("{live:?}")));
    }
    let events = written.send("events", &admin.get("/events")).await;
    let kinds: Vec<_> =
        events["data"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    for kind in ["user.registered", "user.password_changed", "user.disabled", "user.enabled"] {
        assert!(kinds.contains(&json!(kind)), "{kinds:?}");
    }
    let mut stream = Stream::open(&admin.get("/events/live?from=start")).await;
    for _ in &kinds {
        written.0.push(("events live".into(), format!("{:?}", stream.data().await)));
    }
    for path in ["/metrics", "/readyz", "/projections", "/views", "/openapi.json"] {
        written.send(path, &admin.get(path)).await;
    }
}

#[tokio::test]
async fn no_password_no_hash_no_address_and_no_token_is_written_anywhere() {
    let mut server = Server::new().with("TELEMETRY__LOG", "trace");
    for (name, text) in DEFINITIONS {
        define(&mut server, name, &format!("name = '{name}'\n{text}"));
    }
    server.up().await;
    let mut written = Written::default();
    let tokens = lived(&server, &mut written).await;
    looked_at(&server, &mut written).await;
    // What is folded anew was decoded anew.
    let said = server.said();
    server.kill().await;
    server.remove_store().await;
    server.up().await;
    looked_at(&server, &mut written).await;

    let url = format!("http://{}/", server.client().address().await);
    let arguments = ["tail", "--url", &url, "--json", "--from", "start"];
    let mut tail = server.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tail.stdout.take().unwrap()));
    for _ in 0..4 {
        written.0.push(("tail".into(), lines.next_line().await.unwrap().unwrap()));
    }
    tail.kill().await.unwrap();
    written.0.push(("the log of the first process".into(), said));
    written.0.push(("the log".into(), server.said()));
    server.stop().await;
    written.0.push(("check".into(), server.run(&["check"]).await.1));

    for secret in PASSWORDS.into_iter().chain([EMAIL, "argon2"]).chain(tokens.iter().map(String::as_str)) {
        written.must_not_have(secret);
    }
    for token in &tokens {
        written.must_not_have(token.rsplit('.').next().unwrap());
    }
}

#[tokio::test]
async fn a_definition_that_names_a_secret_is_refused() {
    for (rest, place) in [
        ("rows = { by = ['email'] }", "3:16"),
        ("count = { by = ['password'] }", "3:17"),
        ("latest = { by = 'email' }", "3:17"),
        ("rows = {}\nwhere = { email = 'ada@example.org' }", "4:11"),
    ] {
        let mut server = Server::new();
        define(&mut server, "secrets", &format!("name = 'secrets'\non = 'user.registered'\n{rest}"));
        let said = server.refused().await;
        assert!(said.contains(&format!("secrets.toml:{place}: field")), "{said}");
        assert!(
            said.contains("of user.registered is private and never reaches a view: known: id, username"),
            "{said}"
        );
    }
}
