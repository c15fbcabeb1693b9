//! Who gets in: every route of the document, called with every kind of token, answers what the table says.

use crate::client::{Call, Client};
use crate::foods::observe;
use crate::server::{Server, in_time};
use crate::sse::Stream;
use crate::tokens::{self, SECRET, changed};
use crate::users;
use futures::future::join_all;
use refold::settings::Settings;
use refold::settings::access::{Access, Need};
use refold_domain::users::Role;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a route may take to say whether it lets somebody in.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// What is told to who brings no token.
const WANTED: &str = "Bearer";
/// What is told to who brings one that is not taken.
const INVALID: &str = r#"Bearer error="invalid_token""#;
/// Those that answer whatever is brought.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How a request was answered, as far as its token is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// It was let in, whatever came of it.
    In,
    /// 401, with this challenge.
    Unauthorized(String),
    /// 403.
    Forbidden,
}

/// The table that is used unless told otherwise.
fn usual_table() -> Access {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");
    Settings::load(&[default.into()]).unwrap().access
}

/// A request for a route of the table.
fn call(client: &Client, route: &str) -> Call {
    let (method, path) = route.split_once(' ').unwrap();
    let path = path.replace("{name}", "food_counts").replace("{id}", "00000000-0000-7000-8000-000000000000");
    let path = path.replace("{shop_id}", "shop").replace("{username}", "nobody");
    assert!(!path.contains('{'), "{path}: say what stands for its parameter");
    client.call(method.parse().unwrap(), path)
}

/// How a call is answered; a stream is not read.
async fn told(call: &Call) -> Told {
    let response = call.open(ANSWER_WAIT).await.unwrap();
    let challenge =
        response.headers().get("WWW-Authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let is_problem = |kind: &str, body: &Value| body["type"] == format!("urn:refold:problem:{kind}");
    match status {
        401 => {
            let body = response.json().await.unwrap();
            assert!(is_problem("unauthorized", &body), "{body}");
            Told::Unauthorized(challenge.expect("a challenge"))
        }
        403 => {
            let body = response.json().await.unwrap();
            assert!(is_problem("forbidden", &body), "{body}");
            Told::Forbidden
        }
        _ => Told::In,
    }
}

fn seconds_from_now(seconds: i64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!(now.checked_add_signed(seconds).unwrap())
}

/// Tokens that are not taken, of somebody who might do everything: each is an admin's but for what its name says.
fn bad_tokens() -> Vec<(&'static str, String)> {
    let admin = tokens::admin();
    let claiming =
        |claim: &'static str, value: Value| changed(admin, SECRET, |_, claims| claims[claim] = value);
    let (message, signature) = admin.rsplit_once('.').unwrap();
    let none = changed(admin, SECRET, |header, _| header["alg"] = json!("none"));
    let promoted = changed(tokens::user(), "", |_, claims| claims["role"] = json!("admin"));
    let promoted = promoted.rsplit_once('.').unwrap().0.to_owned();
    vec![
        ("bad", "nonsense".into()),
        ("empty", String::new()),
        ("expired", claiming("exp", seconds_from_now(-31))),
        ("not yet valid", claiming("nbf", seconds_from_now(60))),
        ("tampered", format!("{promoted}.{}", tokens::user().rsplit_once('.').unwrap().1)),
        ("without a signature", format!("{message}.")),
        ("signed twice", format!("{message}.{signature}.{signature}")),
        ("wrong audience", claiming("aud", json!("others"))),
        ("wrong issuer", claiming("iss", json!("others"))),
        ("none", format!("{}.", none.rsplit_once('.').unwrap().0)),
        ("none, signed", none),
        ("other key", changed(admin, "another secret, which is long enough too", |_, _| {})),
        ("no key", changed(admin, SECRET, |header, _| drop(header.as_object_mut().unwrap().remove("kid")))),
        ("critical", changed(admin, SECRET, |header, _| header["crit"] = json!(["exp"]))),
        ("unknown user", tokens::of("00000000-0000-7000-8000-000000000000", "nobody", Role::Admin)),
    ]
}

#[tokio::test]
async fn every_route_answers_as_the_table_says() {
    let server = Server::start().await;
    let client = server.client();
    let table = usual_table();
    assert_eq!(
        routes_of(&client).await,
        routes_in(&table),
        "the routes of the document, and those of the table"
    );
    let (ada, of_users) = tokens_of_users(&client).await;
    let bad = [bad_tokens(), of_users].concat();
    for (route, need) in &table {
        let as_told = async |token: Option<&str>| told(&call(&client.with_token(token), route)).await;
        // Whoever logs in may still send an old one along.
        let is_probe = route == "POST /login" || PROBES.iter().any(|probe| route.ends_with(probe));
        let strangers = if *need == Need::Open { Told::In } else { Told::Unauthorized(WANTED.into()) };
        assert_eq!(as_told(None).await, strangers, "{route} without a token");
        for (kind, token) in &bad {
            let expected = if is_probe { Told::In } else { Told::Unauthorized(INVALID.into()) };
            assert_eq!(as_told(Some(token)).await, expected, "{route} with a token: {kind}");
        }
        let users = if *need == Need::Admin { Told::Forbidden } else { Told::In };
        for token in [tokens::user(), &ada] {
            assert_eq!(as_told(Some(token)).await, users, "{route} with the token of a user");
        }
        assert_eq!(as_told(Some(tokens::admin())).await, Told::In, "{route} with the token of an admin");
    }
}

/// The token of a user, and those of users who may not come in any more.
async fn tokens_of_users(client: &Client) -> (String, Vec<(&'static str, String)>) {
    let issued = async |name: &str| {
        client.post("/users", &users::user(name)).send().await.is(201);
        let answer = users::login(client, name, users::PASSWORD).send().await.is(200);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    let (ada, eve, bob) = (issued("ada").await, issued("eve").await, issued("bob").await);
    client.call(Method::PUT, "/users/eve/disabled").send().await.is(204);
    let change = json!({"current": users::PASSWORD, "new": "another horse battery"});
    client.with_token(&*bob).put("/users/me/password", &change).send().await.is(204);
    for token in [&eve, &bob] {
        users::until(&client.with_token(&**token).get("/stats"), 401).await;
    }
    (ada, vec![("of a disabled user", eve), ("from before a change of the password", bob)])
}

/// The routes of the document.
async fn routes_of(client: &Client) -> BTreeSet<String> {
    let document = client.get("/openapi.json").send().await.is(200).json();
    let paths = document["paths"].as_object().unwrap().iter();
    let routes = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    routes.collect()
}

/// The routes of the table, without its entries about single values.
fn routes_in(table: &Access) -> BTreeSet<String> {
    let is_value = |route: &&String| route.starts_with("GET /views/") && !route.contains("{name}");
    table.keys().filter(|route| !is_value(route)).cloned().collect()
}

#[tokio::test]
async fn the_document_says_what_each_route_needs() {
    let client = Server::start().await;
    let document = client.client().get("/openapi.json").send().await.is(200).json();
    for (route, need) in usual_table() {
        let (method, path) = route.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_lowercase()];
        if operation.is_null() || PROBES.contains(&path) {
            continue;
        }
        let may_be_anybody = operation["security"].as_array().unwrap().contains(&json!({}));
        assert_eq!(may_be_anybody, need == Need::Open, "{route}");
        assert!(operation["responses"]["401"].is_object(), "{route}");
        assert!(need != Need::Admin || operation["responses"]["403"].is_object(), "{route}");
    }
}

#[tokio::test]
async fn however_a_path_is_written_its_need_is_the_same() {
    let server = Server::start().await;
    let stranger = server.client().with_token(None);
    for path in [
        "/stats",
        "/stats/",
        "//stats",
        "/stats?limit=1",
        "/views/detections",
        "/views/%64etections",
        "/views//detections/",
        "/views/detections/live",
        "/views/det%65ctions/live/",
    ] {
        assert_eq!(told(&stranger.get(path)).await, Told::Unauthorized(WANTED.into()), "{path}");
    }
    assert_eq!(told(&stranger.call(Method::HEAD, "/aggregated")).await, Told::In);
    assert_eq!(stranger.call(Method::HEAD, "/stats").send().await.status, 401);
    for path in ["/nothing", "/stats/more", "/views/detections/more"] {
        stranger.get(path).send().await.problem(404, "not-found");
        stranger.with_token("nonsense").get(path).send().await.problem(404, "not-found");
    }
    stranger.delete("/stats").send().await.problem(405, "method");
}

#[tokio::test]
async fn a_token_is_sent_in_one_way() {
    let server = Server::start().await;
    let stranger = server.client().with_token(None);
    let stats = || stranger.get("/stats");
    let admin = tokens::admin();
    for scheme in ["Bearer", "bearer", "BEARER "] {
        assert_eq!(told(&stats().header("Authorization", format!("{scheme} {admin}"))).await, Told::In);
    }
    let two = stats().header("Authorization", "Bearer x").header("Authorization", format!("Bearer {admin}"));
    assert_eq!(told(&two).await, Told::Unauthorized(INVALID.into()));
    // Those of a proxy in front are none of ours.
    let other = |path: &str| stranger.get(path).header("Authorization", "Basic YTpi");
    assert_eq!(told(&other("/stats")).await, Told::Unauthorized(WANTED.into()));
    assert_eq!(told(&other("/aggregated")).await, Told::In);
    stranger.get(format!("/stats?access_token={admin}")).send().await.problem(401, "unauthorized");
}

#[tokio::test]
async fn an_answer_that_is_kept_is_for_those_only_who_may_have_it() {
    let server = Server::start().await;
    let client = server.client();
    for _ in 0..3 {
        client.get("/stats").send().await.is(200);
        client.with_token(None).get("/stats").send().await.problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn keys_of_different_callers_are_different_keys() {
    let server = Server::start().await;
    let client = server.client();
    let callers = [
        client.with_token(None),
        client.with_token(tokens::user()),
        client.with_token(&*tokens::of("operator:b", "b", Role::User)),
    ];
    let mut receipts = BTreeSet::new();
    for caller in callers.iter().chain(&callers) {
        receipts.insert(observe(caller, "pie").key("one").send().await.is(201).receipt());
    }
    assert_eq!(receipts.len(), callers.len(), "each of them once");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let server = Server::start().await;
    // It is taken for half a minute longer than it says.
    let short = changed(tokens::admin(), SECRET, |_, claims| claims["exp"] = seconds_from_now(-27));
    let client = server.client().with_token(&*short);
    let paths = ["/events/live", "/views/food_counts/live", "/projections/live"];
    join_all(paths.map(async |path| {
        let mut stream = Stream::open(&client.get(path)).await;
        let reason = ended(&mut stream).await;
        assert!(reason.contains("expired"), "{path}: {reason}");
    }))
    .await;
    for path in paths {
        client.get(path).send().await.problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_user() {
    let server = Server::start().await;
    let client = server.client();
    client.post("/users", &users::user("ada")).send().await.is(201);
    let ada = users::logged_in(&client, "ada", users::PASSWORD).await;
    let streams = ["/alerts", "/views/detections/live", "/projections/live"];
    let streams = streams.map(async |path| Stream::open(&ada.get(path)).await);
    let streams = join_all(streams).await;
    client.call(Method::PUT, "/users/ada/disabled").send().await.is(204);
    for mut stream in streams {
        let reason = ended(&mut stream).await;
        assert!(reason.contains("disabled"), "{reason}");
    }
}

/// Why a stream ends, which must.
async fn ended(stream: &mut Stream) -> String {
    let ended = async {
        loop {
            let message = stream.next().await.expect("the stream says why it ends");
            if message.event.as_deref() == Some("dropped") {
                return message.json()["reason"].as_str().unwrap().to_owned();
            }
        }
    };
    let reason = in_time("dropped", ended).await;
    assert_eq!(stream.next().await, None);
    reason
}

#[tokio::test]
async fn an_operator_has_a_table_of_their_own() {
    let mut server = Server::new();
    let own = server.home().join("refold.toml");
    fs::write(
        &own,
        "[access]\n'GET /stats' = 'open'\n'GET /metrics' = 'admin'\n'GET /views/food_counts' = 'admin'",
    )
    .unwrap();
    server.up().await;
    let client = server.client();
    let stranger = client.with_token(None);
    stranger.get("/stats").send().await.is(200);
    stranger.get("/detections").send().await.problem(401, "unauthorized");
    stranger.get("/metrics").send().await.problem(401, "unauthorized");
    client.with_token(tokens::user()).get("/views/food_counts").send().await.problem(403, "forbidden");
    client.get("/views/food_counts").send().await.is(200);
    let views = stranger.get("/views").send().await.is(200).json();
    let needs = |name: &str| {
        let mut views = views.as_array().unwrap().iter();
        views.find(|view| view["name"] == name).unwrap()["needs"].clone()
    };
    assert_eq!(["food_counts", "detections", "introductions"].map(needs), ["admin", "user", "open"]);
    server.stop().await;

    let (status, said) = server.run(&["check"]).await;
    assert!(status.success(), "{said}");
    let line = said.lines().find(|line| line.contains("admin: ")).unwrap();
    assert!(line.contains("GET /metrics, ") && line.contains("GET /views/food_counts"), "{said}");

    fs::write(&own, "[access]\n'GET /stat' = 'open'\n'GET /detections' = 'everybody'").unwrap();
    let said = server.refused().await;
    assert!(said.contains(r#"it must be "open" or "user" or "admin""#), "{said}");
    fs::write(&own, "[access]\n'GET /stat' = 'open'").unwrap();
    for said in [server.refused().await, server.run(&["check"]).await.1] {
        assert!(said.contains(r#"unknown route "GET /stat": did you mean "GET /stats"?"#), "{said}");
    }
    // The same from the environment.
    fs::write(&own, "[access]\n'GET /stats' = 'admin'").unwrap();
    server.set("ACCESS", "GET /stat=open");
    assert!(server.refused().await.contains(r#"did you mean "GET /stats"?"#));
    server.set("ACCESS", "GET /stats=open, GET /metrics=user");
    server.up().await;
    stranger.get("/stats").send().await.is(200);
    stranger.get("/metrics").send().await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_view_of_what_is_protected_is_protected_unless_an_entry_opens_it() {
    let mut server = Server::new();
    for (name, on) in
        [("models", "vehicle.detected"), ("people", "user.registered"), ("eaten", "food.observed")]
    {
        crate::definitions::define(&mut server, name, &format!("name = '{name}'\non = '{on}'\nrows = {{}}"));
    }
    server.up().await;
    let (admin, anybody) = (server.client(), server.client().with_token(None));
    let user = anybody.with_token(tokens::user());
    for (name, statuses) in [("models", [401, 200, 200]), ("people", [401, 403, 200]), ("eaten", [200; 3])] {
        for (client, status) in [&anybody, &user, &admin].into_iter().zip(statuses) {
            client.get(format!("/views/{name}")).send().await.is(status);
        }
    }
    anybody.get("/views/models/live").send().await.is(401);
    server.stop().await;
    let (status, said) = server.run(&["check"]).await;
    assert!(
        status.success() && said.contains("0 at risk") && said.contains("GET /views/people/live"),
        "{said}"
    );

    let own = server.home().join("refold.toml");
    fs::write(&own, "[access]\n'GET /views/models' = 'open'").unwrap();
    server.up().await;
    let warned = server.line("GET /views/models is open").await;
    assert!(warned.contains("vehicle.detected"), "{warned}");
    anybody.get("/views/models").send().await.is(200);
    anybody.get("/views/models/live").send().await.is(401);
    server.stop().await;
    let (status, said) = server.run(&["check"]).await;
    assert!(status.success() && said.contains("1 at risk"), "{said}");
    assert!(said.contains(r#"set "GET /views/models" = "user" in [access]"#), "{said}");
}

#[tokio::test]
async fn a_secret_is_made_where_nobody_else_can_come() {
    let mut server = Server::new().without_secret();
    let (status, said) = server.run(&["token"]).await;
    assert!(status.code() == Some(1) && said.contains("start the service once"), "{said}");
    assert!(!server.data().exists());
    server.up().await;
    let file = server.data().join("token.secret");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let token = async |arguments: &[&str]| {
        let (status, said) = server.run(&[&["token"], arguments].concat()).await;
        assert!(status.success(), "{said}");
        said.trim().to_owned()
    };
    let stranger = server.client().with_token(None);
    let (admin, user) = (token(&[]).await, token(&["--role", "user", "--minutes", "1"]).await);
    stranger.with_token(&*admin).get("/events").send().await.is(200);
    stranger.with_token(&*user).get("/stats").send().await.is(200);
    stranger.with_token(&*user).get("/events").send().await.problem(403, "forbidden");
    // With the secret of others.
    server.client().get("/stats").send().await.problem(401, "unauthorized");

    server.kill().await;
    server.up().await;
    stranger.with_token(&*admin).get("/events").send().await.is(200);
    let secret = fs::read_to_string(&file).unwrap();
    let said = server.said();
    server.stop().await;
    let checked = server.run(&["check"]).await.1;
    assert!(checked.contains("token.secret"), "{checked}");
    assert!(!said.contains(&secret) && !checked.contains(&secret) && !said.contains(&admin));

    server.set("HTTP__LISTEN", "0.0.0.0:0");
    let said = server.refused().await;
    assert!(said.contains("$REFOLD__AUTH__SECRET"), "{said}");
    assert_eq!(server.run(&["check"]).await.0.code(), Some(1));
}

#[tokio::test]
async fn a_secret_is_rotated_while_tokens_are_good() {
    let (old, new) = ("the secret that was used until today", "the secret that is used from today on");
    let stats = async |server: &Server, token: &str| {
        server.client().with_token(token).get("/stats").send().await.status
    };
    let token = async |server: &Server| server.run(&["token"]).await.1.trim().to_owned();
    let mut server = Server::new().with("AUTH__SECRET", old).ready().await;
    let first = token(&server).await;
    assert_eq!(stats(&server, &first).await, 200);
    server.stop().await;
    server.set("AUTH__SECRET", new);
    server.set("AUTH__PREVIOUS_SECRET", old);
    server.up().await;
    let second = token(&server).await;
    assert_eq!((stats(&server, &first).await, stats(&server, &second).await), (200, 200));
    server.stop().await;
    server.set("AUTH__PREVIOUS_SECRET", new);
    assert!(server.refused().await.contains("take auth.previous_secret away"));
    let (status, said) = server.run(&["check"]).await;
    assert!(status.code() == Some(1) && said.contains("take auth.previous_secret away"), "{said}");
    server.set("AUTH__PREVIOUS_SECRET", "");
    server.up().await;
    assert_eq!((stats(&server, &first).await, stats(&server, &second).await), (401, 200));
}

#[tokio::test]
async fn a_file_with_a_secret_that_others_may_read_is_told_of() {
    let mut server = Server::new().without_secret();
    let file = server.home().join("secret.toml");
    fs::write(&file, "auth.secret = 'only for the eyes of the service itself'").unwrap();
    server.set_variable("REFOLD_CONFIG", file.to_str().unwrap());
    const TOLD: &str = "secret.toml has a secret, and others than its owner may read it";
    for (mode, is_told) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        server.up().await;
        assert_eq!(server.said().contains(TOLD), is_told, "{}", server.said());
        server.stop().await;
        let (status, said) = server.run(&["check"]).await;
        assert!(status.success() && said.contains(TOLD) == is_told && !said.contains("eyes"), "{said}");
    }
}
