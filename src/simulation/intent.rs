//! What clients want, and the requests that the HTTP handlers would make of it.

use crate::commands::{Request, Streams};
use anyhow::Context;
use rand::RngExt;
use rand::rngs::SmallRng;
use refold_domain::decision::{Decision, Expected, Rejection};
use refold_domain::detections::Detection;
use refold_domain::foods::Food;
use refold_domain::hash::Hash;
use refold_domain::introductions::{self, Introduction};
use refold_domain::purchases::{Purchase, Scoop};
use refold_domain::stream;
use uuid::Uuid;

/// How many different things of each kind clients talk about: few, so that they meet.
const THINGS: u32 = 4;
/// How many idempotency keys clients draw from.
const KEYS: u32 = 12;

/// What a client wants, however often it has to ask.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub command: Command,
    pub partition_key: String,
    pub idempotency: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Command {
    Food(Food),
    Detection(Detection),
    Purchase(Purchase),
    Introduction(String, introductions::Command),
}

impl Intent {
    /// Something to want. `unique` is used nowhere else, `ids` are introductions that were made.
    pub(super) fn draw(rng: &mut SmallRng, unique: &str, ids: &[(String, u64)]) -> Self {
        let key = rng.random_bool(0.6).then(|| format!("k{}", rng.random_range(0..KEYS)));
        let named = key.clone().unwrap_or_else(|| unique.to_owned());
        match rng.random_range(0..10) {
            0..2 => Self::new(Command::Food(food(rng)), "POST /foods", &format!("food {named}"), key),
            2 => {
                let command = Command::Detection(detection(rng));
                Self::new(command, "POST /detections", &format!("detection {named}"), key)
            }
            3..5 => {
                let purchase = purchase(rng);
                let partition_key = purchase.key();
                Self::new(Command::Purchase(purchase), "POST /purchases", &partition_key, key)
            }
            5..7 => {
                let id = format!("i-{named}");
                let command = introductions::Command::Introduce(introduction(rng));
                Self::new(Command::Introduction(id.clone(), command), "POST /introductions", &id, key)
            }
            _ => Self::change(rng, key, ids),
        }
    }

    fn change(rng: &mut SmallRng, key: Option<String>, ids: &[(String, u64)]) -> Self {
        let any = (format!("i-k{}", rng.random_range(0..KEYS)), rng.random_range(1..4));
        let of_mine = !ids.is_empty() && rng.random_bool(0.7);
        let (id, version) = if of_mine { ids[rng.random_range(0..ids.len())].clone() } else { any };
        let expected = match rng.random_range(0..4) {
            0 => Expected::Any,
            1 => Expected::OneOf(vec![rng.random_range(1..4)]),
            _ => Expected::OneOf(vec![version]),
        };
        let (route, command) = if rng.random_bool(0.7) {
            ("PUT", introductions::Command::Revise(expected, introduction(rng)))
        } else {
            ("DELETE", introductions::Command::Withdraw(expected))
        };
        Self::new(
            Command::Introduction(id.clone(), command),
            &format!("{route} /introductions/{id}"),
            &id,
            key,
        )
    }

    fn new(command: Command, route: &str, partition_key: &str, key: Option<String>) -> Self {
        let idempotency = key.map(|key| stream::idempotency("", route, partition_key, &key));
        Self { command, partition_key: partition_key.to_owned(), idempotency }
    }

    pub(super) fn request(&self, trace: String) -> Request {
        Request {
            partition_key: Some(self.partition_key.clone()),
            events: 1,
            idempotency: self.idempotency.clone(),
            hash: Some(self.command.hash()),
            trace: Some(trace),
            streams: self.command.streams(),
        }
    }
}

impl Command {
    pub(super) fn hash(&self) -> Hash {
        match self {
            Self::Food(food) => Hash::of_command(food),
            Self::Detection(detection) => Hash::of_command(detection),
            Self::Purchase(purchase) => Hash::of_command(purchase),
            Self::Introduction(_, command) => Hash::of_command(command),
        }
    }

    fn streams(&self) -> Vec<String> {
        match self {
            Self::Food(_) | Self::Detection(_) => Vec::new(),
            Self::Purchase(purchase) => vec![purchase.stream()],
            Self::Introduction(id, _) => vec![introductions::stream(id)],
        }
    }

    /// As a handler decides.
    pub(super) fn decide(&self, streams: &Streams) -> Result<Decision, Rejection> {
        match self {
            Self::Food(food) => Ok(Decision::Record { guards: Vec::new(), events: vec![food.observed()] }),
            Self::Detection(detection) => {
                Ok(Decision::Record { guards: Vec::new(), events: vec![detection.detected()] })
            }
            Self::Purchase(purchase) => {
                purchase.decide(streams.get(&purchase.stream()).and_then(|entry| entry.hash))
            }
            Self::Introduction(id, command) => {
                let entry = streams.get(&introductions::stream(id));
                let state = entry.and_then(|entry| entry.state.as_deref());
                let state = state.map(serde_json::from_str).transpose().context("a state").expect("readable");
                introductions::decide(id, entry.map_or(0, |entry| entry.at), state.as_ref(), command)
            }
        }
    }
}

fn food(rng: &mut SmallRng) -> Food {
    Food { food: format!("food {}", rng.random_range(0..THINGS)) }
}

fn detection(rng: &mut SmallRng) -> Detection {
    let category = if rng.random_bool(0.4) { "SUV" } else { "SUV, Wagon" };
    let make = format!("make {}", rng.random_range(0..THINGS));
    Detection { year: 2020, make, model: "Q3".into(), category: category.into() }
}

fn purchase(rng: &mut SmallRng) -> Purchase {
    let uuid = |number: u32| Uuid::from_u128(u128::from(number));
    let quantity = if rng.random_bool(0.3) { 2 } else { 1 };
    Purchase {
        shop_id: uuid(99),
        purchase_id: uuid(rng.random_range(0..THINGS)),
        timestamp: "2026-01-01T12:00:00Z".parse().expect("a time"),
        scoops: vec![Scoop { flavour: "lemon".into(), quantity, price: 100 }],
    }
}

fn introduction(rng: &mut SmallRng) -> Introduction {
    let message = format!("hello {}", rng.random_range(0..2));
    Introduction { name: "Ada".into(), message, email: None, links: None }
}
