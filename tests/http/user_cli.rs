//! `refold user` at a running service: the first admin needs no other.

use crate::feed::answering;
use crate::server::{Server, in_time};
use crate::users::{PASSWORD, logged_in, login};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// Runs it with something on standard input; answers its exit code and what it wrote.
async fn run(server: &Server, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let url = format!("http://{}", server.client().address().await);
    run_at(server, &url, arguments, input).await
}

/// The same at another service.
async fn run_at(server: &Server, url: &str, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut command = server.command(&[&["user"], arguments, &["--url", url]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who refuses before it reads has closed it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = in_time("ended", child.wait_with_output()).await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!said.contains("panicked") && !said.contains(PASSWORD), "{said}");
    (output.status.code(), said)
}

fn add<'a>(username: &'a str, email: &'a str) -> Vec<&'a str> {
    vec!["add", username, "--name", "Ada", "--lastname", "Lovelace", "--email", email]
}

#[tokio::test]
async fn an_admin_is_made_where_there_was_none_and_manages_users() {
    // Neither a token nor a secret is set: it is signed with the one that the service has made.
    let server = Server::new().without_secret().ready().await;
    let anybody = server.client().with_token(None);
    let password = format!("{PASSWORD}\n");

    let (code, said) =
        run(&server, &[&add("Grace", "g@example.org")[..], &["--admin"]].concat(), &password).await;
    assert_eq!((code, said.contains("Grace is registered")), (Some(0), true), "{said}");
    let grace = logged_in(&anybody, "grace", PASSWORD).await;
    assert_eq!(grace.get("/users/me").send().await.is(200).json()["role"], "admin");
    assert_eq!(run(&server, &add("bob", "b@example.org"), &password).await.0, Some(0));

    let (code, said) = run(&server, &add("BOB", "c@example.org"), &password).await;
    assert!(code == Some(1) && said.contains("somebody else has this user name"), "{said}");
    let (code, said) = run(&server, &add("eve", "e@example.org"), "").await;
    assert!(code == Some(1) && said.contains("no password came in"), "{said}");
    let (code, said) = run(&server, &add("eve", "e@example.org"), "short\n").await;
    assert!(code == Some(1) && said.contains("password: must have 10 to 256 characters"), "{said}");

    assert_eq!(run(&server, &["disable", "Bob"], "").await, (Some(0), "Bob is shut out.\n".into()));
    login(&anybody, "bob", PASSWORD).send().await.problem(401, "credentials");
    let (code, said) = run(&server, &["list", "--json"], "").await;
    let users: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> =
        users.iter().map(|user| json!([user["username"], user["role"], user["enabled"]])).collect();
    assert_eq!(
        (code, shown),
        (Some(0), vec![json!(["bob", "user", false]), json!(["Grace", "admin", true])])
    );
    assert_eq!(run(&server, &["enable", "bob"], "").await.0, Some(0));
    login(&anybody, "bob", PASSWORD).send().await.is(200);
    let (code, said) = run(&server, &["list"], "").await;
    assert!(code == Some(0) && said.starts_with("bob  Ada Lovelace  user  "), "{said}");

    // The last admin may go: an operator needs none.
    grace.call(Method::PUT, "/users/grace/disabled").send().await.is(204);
    login(&anybody, "grace", PASSWORD).send().await.problem(401, "credentials");
    assert_eq!(run(&server, &["enable", "grace"], "").await.0, Some(0));
    logged_in(&anybody, "grace", PASSWORD).await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told() {
    let server = Server::start().await;
    let (code, said) = run(&server, &["disable", "nobody"], "").await;
    assert!(code == Some(1) && said.contains("there is no user nobody"), "{said}");
    let (code, said) = run(&server, &["list", "--token", "x.y.z"], "").await;
    assert!(code == Some(1) && said.contains("401"), "{said}");
    let (status, said) = server.run(&["user", "list", "--url", "http://127.0.0.1:1/"]).await;
    assert!(status.code() == Some(1) && said.contains("cannot reach http://127.0.0.1:1/"), "{said}");
    assert_eq!(server.run(&["user"]).await.0.code(), Some(2));
}

#[tokio::test]
async fn what_a_service_says_does_not_reach_the_terminal_as_it_is() {
    let evil = "A\u{1b}[2J\u{202e}\u{9b}\u{e0061}";
    let someone =
        json!({"id": "7", "username": "ada", "name": evil, "lastname": "L", "role": "user", "enabled": true});
    let page = json!({"data": [someone], "next": null}).to_string();
    let problem = json!({"title": "No", "detail": evil}).to_string();
    let role = page.replace("\"user\"", &json!(evil).to_string());
    for (status, body) in [(200, page), (200, role), (409, problem)] {
        let (url, _) = answering(move |_, _| (status, body.clone()));
        for arguments in [&["user", "list"][..], &["user", "list", "--json"]] {
            let arguments = [arguments, &["--token", "t", "--url", &url]].concat();
            let (_, said) = Server::new().run(&arguments).await;
            assert!(said.contains(r"A\u001b[2J\u202e\u009b\udb40\udc61"), "{said}");
            assert!(said.chars().all(|c| c == '\n' || c.is_ascii()), "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_password_is_not_sent_on_to_wherever_an_answer_says() {
    let (other, told) = answering(|_, _| (201, json!({"id": "7"}).to_string()));
    for status in [301, 302, 307, 308] {
        let elsewhere = format!("{other}/users");
        let (url, asked) = answering(move |_, _| (status, elsewhere.clone()));
        let (code, said) =
            run_at(&Server::new(), &url, &[&add("ada", "a@e.org")[..], &["--token", "t"]].concat(), PASSWORD)
                .await;
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains(&format!("{status} ")) && said.contains(&format!("sends to {other}/users")),
            "{said}"
        );
        assert_eq!((asked.lock().unwrap().len(), told.lock().unwrap().len()), (1, 0));
    }
}
