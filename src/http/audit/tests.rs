//! What stands in the lines, and how many there are.

use super::*;
use poem::http::Method;
use refold_domain::users::Role;
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// What was written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The fields of the lines that are written meanwhile.
fn lines(told: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, told);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    let lines = text.lines().map(line).inspect(|line| assert_eq!(line["target"], TARGET));
    lines.map(|mut line| line["fields"].take()).collect()
}

fn request() -> Request {
    let request = Request::builder().method(Method::DELETE).uri_str("/users/ada/disabled?token=secret");
    let request = request.header("Authorization", "Bearer secret").header("X-Request-Id", "r-1");
    let mut request = request.finish();
    request.set_data(RequestId::of(request.headers()));
    request
}

#[test]
fn a_line_says_who_and_what_and_nothing_secret() {
    let mut admins = request();
    admins.set_data(Caller { id: "7".into(), username: "root".into(), role: Role::Admin });
    let told = lines(|| {
        login(&request(), Some("ada"), Ended::Ok);
        login(&request(), None, Ended::Refused);
        refused(&request(), StatusCode::UNAUTHORIZED, "the token has expired");
        act(&admins, "enable user", "ada");
        password(&admins, None, Ended::Refused);
    });
    let expected = serde_json::json!([
        {"message": "login", "request": "r-1", "user": "ada", "outcome": "ok", "untold": 0},
        {"message": "login", "request": "r-1", "outcome": "refused", "untold": 0},
        {"message": "refused", "request": "r-1", "asked": "DELETE /users/ada/disabled", "status": 401,
         "why": "the token has expired", "untold": 0},
        {"message": "act", "request": "r-1", "caller": "7", "user": "root", "act": "enable user", "subject": "ada"},
        {"message": "password", "request": "r-1", "caller": "7", "user": "root", "outcome": "refused", "untold": 0},
    ]);
    assert_eq!(Value::Array(told), expected);
}

#[test]
fn nobody_floods_the_log() {
    let told = lines(|| (0..LINES_MAX * 2).for_each(|_| login(&request(), None, Ended::Limited)));
    assert_eq!(told.len(), LINES_MAX as usize);
}

#[test]
fn what_was_asked_for_does_not_move_a_cursor() {
    let mut asks = request();
    *asks.uri_mut() = "/a\u{9b}2J\u{202e}b\u{e4}".parse().unwrap();
    let told = lines(|| refused(&asks, StatusCode::FORBIDDEN, "no"));
    assert_eq!(told[0]["asked"], r"DELETE /a\u009b2J\u202eb\u{e4}".replace(r"\u{e4}", "\u{e4}"));
}
