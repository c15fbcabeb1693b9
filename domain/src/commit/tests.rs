//! The bytes on the wire, and what is none of ours.

use super::*;
use proptest::prelude::*;

const LOG: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001);
const WRITER: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0002);

fn golden_commit() -> Vec<u8> {
    let data = RawValue::from_string(r#"{"id":"7","version":4,"name":"Ada"}"#.into()).unwrap();
    let revise = Command {
        guards: vec![Guard::step("intro:7".into(), 3)],
        hash: Some(Hash(0x2d06_8005_38d3_94c2)),
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        events: vec![Event { kind: "introduction.revised".into(), v: 1, key: Some("7".into()), data: &data }],
    };
    let food = RawValue::from_string(r#"{"food":"pie"}"#.into()).unwrap();
    let observe = Command {
        guards: vec![],
        hash: None,
        trace: None,
        events: vec![Event { kind: "food.observed".into(), v: 2, key: None, data: &food }],
    };
    let time = "2026-11-21T10:00:00.123456Z".parse().unwrap();
    let commands = [revise.encode(), observe.encode()];
    pack(LOG, WRITER, 42, time, commands.iter().map(Vec::as_slice))
}

fn genesis() -> Genesis {
    Genesis { log: LOG, partitions: NonZeroU32::new(8).unwrap(), partition: 3 }
}

#[test]
fn the_bytes_on_the_wire_never_change() {
    let text = |bytes| String::from_utf8(bytes).unwrap() + "\n";
    assert_eq!(text(golden_commit()), include_str!("../../golden/commit.json"));
    assert_eq!(text(genesis().encode()), include_str!("../../golden/genesis.json"));
    assert_eq!(text(Ready { log: LOG }.encode()), include_str!("../../golden/ready.json"));
}

#[test]
fn reads_a_commit_back() {
    let bytes = golden_commit();
    let Record::Commit(commit) = Record::decode(&bytes).unwrap() else {
        panic!("not a commit");
    };
    assert_eq!((commit.log, commit.writer, commit.seq), (LOG, WRITER, 42));
    assert_eq!(commit.time.to_string(), "2026-11-21T10:00:00.123456Z");
    let again: Vec<_> = commit.commands.iter().map(Command::encode).collect();
    let packed = pack(LOG, WRITER, 42, commit.time, again.iter().map(Vec::as_slice));
    assert_eq!(packed, bytes);
}

#[test]
fn reads_genesis_and_ready_back() {
    let bytes = genesis().encode();
    assert!(matches!(Record::decode(&bytes).unwrap(), Record::Genesis(g) if g == genesis()));
    let ready = Ready { log: LOG };
    assert!(matches!(Record::decode(&ready.encode()).unwrap(), Record::Ready(r) if r == ready));
}

#[test]
fn a_newer_record_is_not_judged() {
    let newer = format!(r#"{{"v":2,"log":"{LOG}","anything":[1,2]}}"#);
    assert_eq!(Record::decode(newer.as_bytes()).unwrap_err(), DecodeError::Newer { v: 2, log: LOG });
}

#[test]
fn what_is_no_record_is_foreign() {
    let id = LOG.to_string();
    for bad in [
        String::new(),
        "null".into(),
        r#"{"food":"pie"}"#.into(),
        format!(r#"{{"v":0,"log":"{id}","ready":true}}"#),
        format!(r#"{{"v":1,"log":"{id}"}}"#),
        format!(r#"{{"v":1,"log":"{id}","ready":false}}"#),
        format!(r#"{{"v":1,"log":"{id}","ready":true,"seq":1}}"#),
        format!(r#"{{"v":1,"log":"{id}","genesis":{{"partitions":0,"partition":0}}}}"#),
        format!(
            r#"{{"v":1,"log":"{id}","writer":"{id}","seq":-1,"time":"2026-01-01T00:00:00Z","commands":[]}}"#
        ),
        format!(r#"{{"v":1,"log":"{id}","writer":"{id}","seq":1,"time":"soon","commands":[]}}"#),
    ] {
        let error = Record::decode(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Foreign(_)), "{bad}: {error}");
    }
}

#[test]
fn the_frame_has_a_bound() {
    let time = Timestamp::MAX;
    let frame = pack(LOG, WRITER, u64::MAX, time, std::iter::empty());
    assert!(frame.len() <= FRAME_BYTES_MAX, "{}", frame.len());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn no_mutation_makes_the_decoder_panic(at in 0usize..400, byte: u8) {
        let mut bytes = golden_commit();
        let len = bytes.len();
        bytes[at % len] = byte;
        let _ = Record::decode(&bytes);
    }
}
