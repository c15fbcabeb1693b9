//! Registrations that race for the same names: of each name exactly one wins, and stays the one.
//!
//! Size: `REFOLD_REGISTRATIONS` for `REFOLD_REGISTRATIONS_NAMES`, from two clients with connections of their own.

use crate::client::{Answer, Call, Client};
use crate::kills::number;
use crate::server::Server;
use crate::users::{login, user, with};
use futures::StreamExt;
use futures::future::join;
use futures::stream;
use serde_json::Value;
use std::collections::BTreeMap;

/// How many requests each of the two clients has under way.
const CONCURRENCY: usize = 64;

fn password(number: u64) -> String {
    format!("the password {number}")
}

/// The name number `number`, written as the next one of those who race would.
fn spelt(number: u64, turn: u64) -> String {
    match turn % 3 {
        0 => format!("am\u{e9}lie{number}"),
        1 => format!("AME\u{301}LIE{number}"),
        _ => format!("Am\u{c9}lie{number}"),
    }
}

async fn raced(calls: Vec<(u64, Call)>) -> Vec<(u64, Answer)> {
    let sent = calls.iter().map(async |(number, call)| (*number, call.insist().await));
    stream::iter(sent).buffer_unordered(CONCURRENCY).collect().await
}

/// Who won, by name.
async fn race(clients: [&Client; 2], registrations: u64, names: u64) -> BTreeMap<u64, u64> {
    // Each name is raced for by both.
    let name = |number: u64| number / 2 % names;
    let call = |number: u64, client: &Client| {
        let body = user(&spelt(name(number), number / 2 / names));
        let body = with(body, "email", format!("{number}@example.org"));
        let body = with(body, "password", password(number));
        (number, client.post("/users", &body).key(format!("registration {number}")))
    };
    let of = |half: u64| (0..registrations).filter(move |number| number % 2 == half);
    let [one, other] = clients;
    let (one, other) = join(
        raced(of(0).map(|number| call(number, one)).collect()),
        raced(of(1).map(|number| call(number, other)).collect()),
    )
    .await;
    let mut winners = BTreeMap::new();
    for (number, answer) in one.into_iter().chain(other) {
        match answer.status {
            201 => assert_eq!(winners.insert(name(number), number), None, "two have the same name"),
            _ => drop(answer.problem(409, "conflict")),
        }
    }
    winners
}

#[tokio::test]
async fn of_many_who_race_for_a_name_exactly_one_wins() {
    let (registrations, names) =
        (number("REFOLD_REGISTRATIONS", 400), number("REFOLD_REGISTRATIONS_NAMES", 10));
    let mut server =
        Server::new().with("AUTH__LOGINS_MAX", "0").with("AUTH__HASHES_QUEUE_MAX", "10000").ready().await;
    let admin = server.client();
    let [one, other] = [server.client().with_token(None), server.client().with_token(None)];

    let winners = race([&one, &other], registrations, names).await;
    assert_eq!(winners.len() as u64, names, "every name has a winner");

    let users = listed(&admin).await;
    assert_eq!(users.len() as u64, names);
    server.kill().await;
    server.remove_store().await;
    server.up().await;
    assert_eq!(listed(&admin).await, users);
    for (name, winner) in winners {
        login(&admin, &spelt(name, 7), &password(winner)).insist().await.is(200);
        login(&admin, &spelt(name, 7), &password(winner + 1)).insist().await.is(401);
    }
}

#[tokio::test]
async fn of_many_who_race_for_an_address_exactly_one_wins() {
    let server = Server::start().await;
    let client = server.client();
    let call = |number: u64| {
        let email = if number.is_multiple_of(2) { "Ada@Example.org" } else { "aDA@eXAMPLE.ORG" };
        (number, client.post("/users", &with(user(&format!("user{number}")), "email", email)))
    };
    let answers = raced((0..40).map(call).collect()).await;
    let won = answers.iter().filter(|(_, answer)| answer.status == 201).count();
    let lost = answers.iter().filter(|(_, answer)| answer.status == 409).count();
    assert_eq!((won, lost), (1, 39));
    assert_eq!(listed(&client).await.len(), 1);
}

async fn listed(admin: &Client) -> Vec<Value> {
    let page = admin.get("/users?limit=1000").send().await.is(200).json();
    page["data"].as_array().unwrap().clone()
}
