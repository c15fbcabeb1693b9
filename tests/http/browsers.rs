//! What browsers are told with every answer: what they must not do with it, and which pages may ask.

use crate::client::{Answer, Client};
use crate::foods::observe;
use crate::server::Server;
use crate::sse::Stream;
use reqwest::Method;
use serde_json::json;

/// What every answer says.
const SAID: [(&str, &str); 4] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];
const PAGE: &str = "https://app.example";

/// The policy of an answer, which must say all else as every answer does, each once.
#[track_caller]
fn policy(answer: &Answer) -> &str {
    for (name, value) in SAID {
        assert_eq!(answer.header(name), value, "{answer:?}");
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{answer:?}");
    }
    let hsts = answer.headers.get("Strict-Transport-Security");
    assert!(hsts.is_none(), "that is for whoever speaks HTTPS: {answer:?}");
    assert_eq!(answer.headers.get_all("Content-Security-Policy").iter().count(), 1, "{answer:?}");
    answer.header("Content-Security-Policy")
}

#[tokio::test]
async fn every_answer_says_what_browsers_must_not_do_with_it() {
    let server = Server::start().await;
    let client = server.client();
    let closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for call in [
        client.get("/aggregated"),
        client.get("/healthz"),
        client.get("/metrics"),
        client.get("/openapi.json"),
        client.get("/nowhere"),
        client.get("/views/nothing"),
        client.get("/aggregated?limt=1"),
        client.call(Method::DELETE, "/foods"),
        client.post("/foods", &json!({"food": 5})),
        observe(&client, "pie"),
    ] {
        assert_eq!(policy(&call.send().await), closed);
    }
    for path in ["/", "/page/app.js", "/docs"] {
        let file = client.get(path).send().await.is(200);
        let policy_of_file = policy(&file).to_owned();
        assert!(policy_of_file.contains("script-src") && policy_of_file.ends_with("frame-ancestors 'none'"));
        let known = client.get(path).header("If-None-Match", file.header("ETag")).send().await.is(304);
        assert_eq!(policy(&known), policy_of_file);
    }
    let stream = Stream::open(&client.get("/events/live")).await;
    for (name, value) in SAID {
        assert_eq!(stream.headers()[name], value);
    }
}

/// What a browser asks before a page sends a request with headers of its own.
async fn may(client: &Client, origin: &str, path: &str) -> Answer {
    let ask = client.call(Method::OPTIONS, path).header("Origin", origin);
    let ask = ask.header("Access-Control-Request-Method", "POST");
    ask.header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key").send().await
}

#[track_caller]
fn lets_nobody_in(answer: &Answer) {
    let told = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
    assert!(told.is_none(), "{answer:?}");
}

#[tokio::test]
async fn no_page_of_another_origin_may_ask_unless_it_is_listed() {
    let server = Server::start().await;
    let client = server.client();
    lets_nobody_in(&may(&client, PAGE, "/foods").await.is(405));
    lets_nobody_in(&observe(&client, "pie").header("Origin", PAGE).send().await.is(201));

    let server = Server::new().with("CORS__ORIGINS", &format!("http://localhost:5173, {PAGE}")).ready().await;
    let client = server.client();
    for path in ["/foods", "/alerts", "/views/food_counts"] {
        let told = may(&client, PAGE, path).await.is(204);
        assert_eq!(told.header("Access-Control-Allow-Origin"), PAGE);
        assert!(told.header("Access-Control-Allow-Methods").contains("POST"), "{told:?}");
        let taken = told.header("Access-Control-Allow-Headers").to_lowercase();
        for name in ["authorization", "content-type", "idempotency-key"] {
            assert!(taken.split(", ").any(|known| known == name), "{name}: {taken}");
        }
        assert_eq!(
            policy(&told),
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
    }
    for answer in [
        observe(&client, "pie").header("Origin", PAGE).send().await.is(201),
        client.get("/nowhere").header("Origin", PAGE).send().await.is(404),
    ] {
        assert_eq!(answer.header("Access-Control-Allow-Origin"), PAGE);
        assert!(answer.header("Access-Control-Expose-Headers").contains("Refold-Receipt"));
        assert_eq!(answer.header("Vary"), "Origin");
    }
    // Of those who are not listed nobody is let in, and nobody is turned away: the service's own page names its origin, too.
    let own = format!("http://{}", client.address().await);
    for origin in [own.as_str(), "https://app.example.evil", "null"] {
        lets_nobody_in(&may(&client, origin, "/foods").await.is(405));
        lets_nobody_in(&observe(&client, "pie").header("Origin", origin).send().await.is(201));
    }
}
