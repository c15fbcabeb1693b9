//! Bodies that are no JSON, too large, or of another type.

use super::{Target, assert_problem, commands};
use crate::foods::observe;
use crate::raw::{exchange, status};
use crate::server::Server;

#[tokio::test]
async fn what_is_no_json() {
    let target = Target::start().await;
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let deeper = format!("{}1{}", "{\"food\":".repeat(50_000), "}".repeat(50_000));
    let bodies: [&[u8]; 17] = [
        b"",
        b" ",
        b"{",
        b"{\"food\": \"pie\"",
        b"{\"food\": \"pie\"}}",
        b"{\"food\": \"pie\",}",
        b"{'food': 'pie'}",
        b"{food: \"pie\"}",
        b"food=pie",
        b"\xef\xbb\xbf{\"food\": \"pie\"}",
        b"{\"food\": \"\xff\xfe\"}",
        b"{\"food\": \"\xc3\"}",
        b"{\"food\": \"a\nb\"}",
        b"{\"food\": \"\x00\"}",
        b"{\"food\": NaN}",
        &deep,
        deeper.as_bytes(),
    ];
    for call in commands(&target).await {
        for body in bodies {
            let answer = call.clone().bytes(body).send().await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_problem(&answer, &shown);
            answer.problem(400, "syntax");
        }
        for escape in [r#""\ud800""#, r#""\udc00\ud800""#, r#""\x00""#, "1e400", "-1e400"] {
            let answer = call.clone().bytes(format!("{{\"food\": {escape}}}")).send().await;
            answer.problem(400, "syntax");
        }
    }
    target.unharmed().await;
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let target = Target::of(Server::new().with("HTTP__BODY_BYTES_MAX", "4096")).await;
    let large = format!("{{\"food\": \"{}\"}}", "x".repeat(100_000));
    for call in commands(&target).await {
        call.bytes(large.clone()).send().await.problem(413, "too-large");
    }
    let head = "POST /foods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3));
    assert_eq!(status(&exchange(&target.client, chunked).await), Some(413));
    for length in ["5000", "9223372036854775807"] {
        let declared = format!("{head}Content-Length: {length}\r\n\r\n{{");
        assert_eq!(status(&exchange(&target.client, declared).await), Some(413), "{length}");
    }
    target.unharmed().await;
}

#[tokio::test]
async fn content_types_that_are_not_json() {
    let target = Target::start().await;
    for call in commands(&target).await {
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", "", "\u{e4}"]
        {
            let answer = call.clone().without("Content-Type").header("Content-Type", kind).send().await;
            answer.problem(415, "content-type");
        }
        call.without("Content-Type").send().await.problem(415, "content-type");
    }
    for (name, value) in
        [("Content-Encoding", "gzip"), ("Content-Type", "application/json; charset=\"utf-16\"")]
    {
        for call in commands(&target).await {
            call.without(name).header(name, value).send().await.problem(415, "content-type");
        }
    }
    for kind in
        ["application/json; charset=utf-8", "application/json; x=1; Charset=\"UTF-8\"", "Application/JSON"]
    {
        let call = observe(&target.client, "").without("Content-Type").header("Content-Type", kind);
        call.send().await.problem(422, "validation");
    }
    target.unharmed().await;
}
