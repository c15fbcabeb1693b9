//! Random logs of one partition: what several writers, a lying broker and strangers may leave there.

use crate::model::Model;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use refold_domain::commit::{self, Guard};
use refold_domain::hash::Hash;
use refold_domain::stream;
use refold_projections::gate::Place;
use serde_json::value::RawValue;
use std::num::NonZeroU32;
use uuid::Uuid;

/// The log's id.
pub(crate) const LOG: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_00AA);
/// Another log's id.
const OTHER_LOG: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_00BB);
/// The partition that is judged.
pub(crate) const PLACE: Place = Place { log: LOG, partitions: 4, partition: 1 };
/// The offset of the partition's genesis.
pub(crate) const GENESIS: u64 = 5;
/// How many accepted keys an idempotency key is remembered for in these logs.
pub(crate) const KEYS_REMEMBERED: u64 = 4;

/// A record on the log, and in words what it is.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Commit(Commit),
    Opening,
    /// Nothing that counts in this log.
    Stray,
}

#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) writer: Uuid,
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) guards: Vec<Guard>,
    pub(crate) hash: Option<Hash>,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) v: u32,
    pub(crate) key: Option<String>,
    pub(crate) data: String,
    pub(crate) reads: Reads,
}

/// Who can read an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Always,
    NotByItsAggregate,
    Never,
}

/// What happens next on the log.
#[derive(Debug, Clone)]
enum Step {
    /// A writer appends.
    Append { writer: u128, numbering: Numbering, tick: i64, commands: Vec<CommandPlan> },
    /// An earlier record comes again, with the same bytes.
    Again(Index),
    /// Somebody else appends.
    Stray(usize),
}

#[derive(Debug, Clone, Copy)]
enum Numbering {
    Next,
    Skip(u64),
    /// The number that it used last, for other bytes.
    Last,
    /// One at or below the last one: repeated, forked or late.
    Earlier(Index),
    Zero,
    Highest,
}

#[derive(Debug, Clone)]
struct CommandPlan {
    guards: Vec<GuardPlan>,
    hash: Option<u64>,
    events: Vec<EventPlan>,
}

#[derive(Debug, Clone)]
struct GuardPlan {
    stream: usize,
    expected: Expected,
    next: Next,
}

#[derive(Debug, Clone)]
enum Expected {
    Right,
    Off(i64),
    Exactly(u64),
}

#[derive(Debug, Clone)]
enum Next {
    By(u64),
    NotAbove(u64),
    Highest,
}

#[derive(Debug, Clone)]
enum EventPlan {
    Food(usize),
    Introduction { key: usize, kind: usize, email: bool },
    Purchase { shop: u8, tick: i64 },
    Odd(usize),
}

const FOODS: [&str; 4] = ["pie", "pi", "p\\u0000e", "crème brûlée"];
const INTRODUCTIONS: [&str; 3] =
    ["introduction.introduced", "introduction.revised", "introduction.withdrawn"];

/// A log: what follows the genesis.
pub(crate) fn log() -> impl Strategy<Value = Vec<Sent>> {
    prop::collection::vec((step(), 0u64..3), 0..40).prop_map(|steps| {
        let mut log = Log { sent: Vec::new(), model: Model::new(PLACE, KEYS_REMEMBERED), offset: GENESIS };
        for (step, hole) in steps {
            log.offset += 1 + hole;
            log.take(step);
        }
        log.sent
    })
}

/// The genesis that such a log stands behind.
pub(crate) fn genesis(place: Place) -> Vec<u8> {
    let partitions = NonZeroU32::new(place.partitions).unwrap();
    commit::Genesis { log: place.log, partitions, partition: place.partition }.encode()
}

fn step() -> impl Strategy<Value = Step> {
    let append = (1u128..4, numbering(), -2_000_000i64..2_000_000, prop::collection::vec(command(), 0..4))
        .prop_map(|(writer, numbering, tick, commands)| Step::Append { writer, numbering, tick, commands });
    prop_oneof![
        12 => append,
        2 => any::<Index>().prop_map(Step::Again),
        1 => (0usize..STRAYS).prop_map(Step::Stray),
    ]
}

fn numbering() -> impl Strategy<Value = Numbering> {
    prop_oneof![
        40 => Just(Numbering::Next),
        5 => (1u64..4).prop_map(Numbering::Skip),
        3 => Just(Numbering::Last),
        6 => any::<Index>().prop_map(Numbering::Earlier),
        1 => Just(Numbering::Zero),
        1 => Just(Numbering::Highest),
    ]
}

fn command() -> impl Strategy<Value = CommandPlan> {
    let guards = prop::collection::vec(guard(), 0..3);
    (guards, any::<Option<u64>>(), prop::collection::vec(event(), 0..3))
        .prop_map(|(guards, hash, events)| CommandPlan { guards, hash, events })
}

fn guard() -> impl Strategy<Value = GuardPlan> {
    let expected = prop_oneof![
        16 => Just(Expected::Right),
        2 => prop_oneof![Just(-1i64), Just(1)].prop_map(Expected::Off),
        1 => prop_oneof![Just(0), Just(1), Just(u64::MAX), 0u64..9].prop_map(Expected::Exactly),
    ];
    let next = prop_oneof![
        16 => Just(Next::By(1)),
        4 => (2u64..500).prop_map(Next::By),
        1 => (0u64..2).prop_map(Next::NotAbove),
        1 => Just(Next::Highest),
    ];
    (0usize..STREAMS, expected, next).prop_map(|(stream, expected, next)| GuardPlan {
        stream,
        expected,
        next,
    })
}

fn event() -> impl Strategy<Value = EventPlan> {
    let introduction = (0usize..3, 0usize..3, any::<bool>())
        .prop_map(|(key, kind, email)| EventPlan::Introduction { key, kind, email });
    prop_oneof![
        4 => (0..FOODS.len()).prop_map(EventPlan::Food),
        4 => introduction,
        2 => (0u8..2, -2_000_000i64..2_000_000)
            .prop_map(|(shop, tick)| EventPlan::Purchase { shop, tick }),
        1 => (0..odd().len()).prop_map(EventPlan::Odd),
    ]
}

/// How many streams there are to guard.
const STREAMS: usize = 13;

/// The names of streams: three aggregates, two sources, six idempotency keys, and two of another partition.
fn stream_name(at: usize) -> String {
    let here = |key: &String| stream::partition(key, PLACE.partitions) == PLACE.partition;
    let nth = |n: usize| (0..).map(|key: u32| key.to_string()).filter(here).nth(n).unwrap();
    let elsewhere = (0..).map(|key: u32| key.to_string()).find(|key| !here(key)).unwrap();
    match at {
        0..=2 => format!("intro:{}", nth(at)),
        3..=4 => format!("source:{}", nth(at)),
        5..=10 => format!("idem:{:016x}:{}", at, nth(at % 3)),
        11 => format!("intro:{elsewhere}"),
        _ => format!("idem:{at:016x}:{elsewhere}"),
    }
}

fn aggregate_key(at: usize) -> String {
    stream_name(at)["intro:".len()..].to_owned()
}

struct Log {
    sent: Vec<Sent>,
    /// What the log has come to, so that guards can be right.
    model: Model,
    offset: u64,
}

impl Log {
    fn take(&mut self, step: Step) {
        let (bytes, content) = match step {
            Step::Append { writer, numbering, tick, commands } => {
                let writer = Uuid::from_u128(writer);
                let seq = self.number(writer, numbering);
                let time = time_of(tick);
                let commit = Commit { writer, seq, time, commands: self.commands(commands) };
                (encode(LOG, &commit), Content::Commit(commit))
            }
            Step::Again(_) if self.sent.is_empty() => return,
            Step::Again(index) => {
                let Sent { bytes, content, .. } = index.get(&self.sent).clone();
                (bytes, content)
            }
            Step::Stray(at) => stray(at),
        };
        let sent = Sent { offset: self.offset, bytes, content };
        self.model.pass(&sent);
        self.sent.push(sent);
    }

    fn number(&self, writer: Uuid, numbering: Numbering) -> u64 {
        let last = self.model.last(writer);
        match numbering {
            Numbering::Next => last.saturating_add(1),
            Numbering::Skip(by) => last.saturating_add(1).saturating_add(by),
            Numbering::Last => last,
            Numbering::Earlier(index) => index.index(usize::try_from(last.min(1_000)).unwrap() + 1) as u64,
            Numbering::Zero => 0,
            Numbering::Highest => u64::MAX,
        }
    }

    fn commands(&self, plans: Vec<CommandPlan>) -> Vec<Command> {
        // Where streams will stand if all goes well, so that later commands of a commit can be right too.
        let mut ahead = std::collections::BTreeMap::new();
        let mut command = |plan: CommandPlan| {
            let guards = plan.guards.iter().map(|plan| {
                let name = stream_name(plan.stream);
                let at = ahead.get(&name).copied().unwrap_or_else(|| self.model.at(&name));
                let guard = plan.guard(name, at);
                ahead.insert(guard.stream.clone(), guard.next);
                guard
            });
            let guards = guards.collect();
            let events = plan.events.iter().map(EventPlan::event).collect();
            Command { guards, hash: plan.hash.map(Hash), events }
        };
        plans.into_iter().map(&mut command).collect()
    }
}

impl GuardPlan {
    fn guard(&self, stream: String, at: u64) -> Guard {
        let expected = match self.expected {
            Expected::Right => at,
            Expected::Off(by) => at.saturating_add_signed(by),
            Expected::Exactly(expected) => expected,
        };
        let next = match self.next {
            Next::By(by) => expected.saturating_add(by),
            Next::NotAbove(below) => expected.saturating_sub(below),
            Next::Highest => u64::MAX,
        };
        Guard { stream, expected, next }
    }
}

impl EventPlan {
    fn event(&self) -> Event {
        match self {
            Self::Food(at) => {
                event_of("food.observed", None, format!(r#"{{"food":"{}"}}"#, FOODS[*at]), Reads::Always)
            }
            Self::Introduction { key, kind, email } => {
                let (key, kind) = (aggregate_key(*key), INTRODUCTIONS[*kind]);
                introduction(&key, kind, email.then_some("ada@example.org"), 3)
            }
            Self::Purchase { shop, tick } => purchase(*shop, *tick),
            Self::Odd(at) => odd().swap_remove(*at),
        }
    }
}

/// An event about an introduction.
pub(crate) fn introduction(key: &str, kind: &str, email: Option<&str>, version: u64) -> Event {
    let data = if kind == INTRODUCTIONS[2] {
        format!(r#"{{"id":"{key}","version":{version}}}"#)
    } else {
        let email = email.map_or(String::new(), |email| format!(r#","email":"{email}""#));
        format!(r#"{{"id":"{key}","version":{version},"name":"Ada","message":"hi"{email}}}"#)
    };
    event_of(kind, Some(key), data, Reads::Always)
}

/// A time of its own for each tick, about a microsecond after the one before: times are ordered to the nanosecond.
fn time_of(tick: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(tick) * 999).unwrap()
}

/// An event about a purchase of one scoop.
pub(crate) fn purchase(shop: u8, tick: i64) -> Event {
    purchase_of(shop, tick, r#"{"type":"lemon","quantity":1,"price":100}"#)
}

/// An event about a purchase of these scoops.
pub(crate) fn purchase_of(shop: u8, tick: i64, scoops: &str) -> Event {
    let time = time_of(tick);
    let data =
        format!(r#"{{"shop_id":"shop {shop}","purchase_id":"x","timestamp":"{time}","scoops":[{scoops}]}}"#);
    event_of("purchase.recorded", Some("x"), data, Reads::Always)
}

/// An event of the first version.
pub(crate) fn event_of(kind: &str, key: Option<&str>, data: String, reads: Reads) -> Event {
    Event { kind: kind.into(), v: 1, key: key.map(str::to_owned), data, reads }
}

/// Events that cannot be read, wholly or by their aggregate.
fn odd() -> Vec<Event> {
    let never = |kind, key, data: &str| event_of(kind, key, data.to_owned(), Reads::Never);
    let purchase = |scoops: &str| Event { reads: Reads::Never, ..purchase_of(0, 0, scoops) };
    let linked = |links: &str| {
        let key = aggregate_key(0);
        let data = format!(r#"{{"id":"{key}","version":1,"name":"Ada","message":"hi","links":{links}}}"#);
        event_of(INTRODUCTIONS[0], Some(&key), data, Reads::Never)
    };
    vec![
        never("food.observed", None, "{}"),
        never("food.observed", None, "null"),
        never("food.observed", None, r#"{"food":"pie","age":1}"#),
        never("food.observed", None, r#"{"food":"\ud800"}"#),
        Event { v: 0, ..event_of("food.observed", None, r#"{"food":"pie"}"#.into(), Reads::Never) },
        Event { key: None, reads: Reads::Never, ..introduction("7", INTRODUCTIONS[0], None, 1) },
        event_of(
            INTRODUCTIONS[1],
            Some(&aggregate_key(0)),
            r#"{"id":"7","version":1,"name":"Ada","message":"hi","links":[1]}"#.into(),
            Reads::NotByItsAggregate,
        ),
        // JSON that cannot be shown again.
        linked("[1e999]"),
        linked(r#"["\ud800"]"#),
        linked(&format!("{}{}", "[".repeat(126), "]".repeat(126))),
        // Scoops that are none.
        purchase("1"),
        purchase(r#"{"type":"lemon","quantity":1}"#),
        purchase(r#"{"type":"lemon","quantity":1,"price":-1}"#),
    ]
}

/// How many strays there are.
const STRAYS: usize = 9;

fn stray(at: usize) -> (Vec<u8>, Content) {
    let later = Commit {
        writer: Uuid::from_u128(1),
        seq: 1,
        time: Timestamp::UNIX_EPOCH,
        commands: vec![Command { guards: vec![], hash: None, events: vec![EventPlan::Food(0).event()] }],
    };
    let mut newer = later.clone();
    newer.commands[0].events[0].v = 2;
    let bytes = match at {
        0 => b"not a record".to_vec(),
        1 => vec![0xFF, 0x00],
        2 => Vec::new(),
        // Opened twice, or told so twice, it is the same log.
        3 => return (genesis(PLACE), Content::Opening),
        4 => commit::Ready { log: OTHER_LOG }.encode(),
        5 => format!(r#"{{"v":2,"log":"{OTHER_LOG}"}}"#).into_bytes(),
        6 => encode(OTHER_LOG, &later),
        // Another log's commit stops nobody, however new it is.
        7 => encode(OTHER_LOG, &newer),
        _ => return (commit::Ready { log: LOG }.encode(), Content::Opening),
    };
    (bytes, Content::Stray)
}

/// A commit's record.
pub(crate) fn encode(log: Uuid, told: &Commit) -> Vec<u8> {
    let commands: Vec<_> = told.commands.iter().map(encode_command).collect();
    commit::pack(log, told.writer, told.seq, told.time, commands.iter().map(Vec::as_slice))
}

fn encode_command(told: &Command) -> Vec<u8> {
    let data: Vec<_> =
        told.events.iter().map(|event| RawValue::from_string(event.data.clone()).unwrap()).collect();
    let event = |(event, data): (&Event, _)| commit::Event {
        kind: event.kind.clone().into(),
        v: event.v,
        key: event.key.clone().map(Into::into),
        data,
    };
    let events = told.events.iter().zip(data.iter().map(|data| &**data)).map(event).collect();
    commit::Command { guards: told.guards.clone(), hash: told.hash, trace: None, events }.encode()
}
