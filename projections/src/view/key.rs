//! Keys of views: values one after the other, in bytes that sort as the values do.
//!
//! A text is escaped and ended so that no value is the beginning of another: a zero byte is followed by 0xFF,
//! and two zero bytes end the text. Numbers are big-endian with the sign bit turned over; a time is its second and the
//! nanoseconds in it.

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use refold_domain::schema::Value;
use std::borrow::Cow;

const ABSENT: u8 = 0x01;
const TEXT: u8 = 0x02;
const INTEGER: u8 = 0x03;
const TIME: u8 = 0x04;
/// What follows a zero byte that belongs to a text.
const ESCAPED: u8 = 0xFF;
/// What ends a text.
const END: [u8; 2] = [0, 0];
const SIGN: u64 = 1 << 63;
/// A second in nanoseconds.
const SECOND: i128 = 1_000_000_000;

/// Appends a value to a key. Lists have no order and are no part of keys: definitions refuse them.
pub fn push(key: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Absent | Value::List(_) | Value::Objects(_) => key.push(ABSENT),
        Value::Text(text) => push_text(key, text),
        Value::Integer(number) => push_number(key, INTEGER, *number),
        Value::Time(time) => push_time(key, *time),
    }
}

/// Appends a text to a key.
pub fn push_text(key: &mut Vec<u8>, text: &str) {
    key.push(TEXT);
    for part in text.as_bytes().split_inclusive(|byte| *byte == 0) {
        key.extend_from_slice(part);
        if part.ends_with(&[0]) {
            key.push(ESCAPED);
        }
    }
    key.extend_from_slice(&END);
}

/// Takes the first value off a key.
///
/// # Errors
/// Where the bytes are no key: the store was changed by somebody else.
pub fn pop(key: &mut &[u8]) -> anyhow::Result<Value<'static>> {
    let (tag, rest) = key.split_first().context("a key ends too early")?;
    *key = rest;
    match *tag {
        ABSENT => Ok(Value::Absent),
        TEXT => pop_text(key).map(|text| Value::Text(Cow::Owned(text))),
        INTEGER => pop_number(key).map(Value::Integer),
        TIME => pop_time(key).map(Value::Time),
        other => bail!("a key holds a value of the unknown kind {other}"),
    }
}

/// The second is rounded downwards also before 1970: what follows it only adds.
fn push_time(key: &mut Vec<u8>, time: Timestamp) {
    let nanoseconds = time.as_nanosecond();
    let second =
        i64::try_from(nanoseconds.div_euclid(SECOND)).expect("a timestamp has fewer than 2^63 seconds");
    let rest =
        u32::try_from(nanoseconds.rem_euclid(SECOND)).expect("a second has fewer than 2^32 nanoseconds");
    push_number(key, TIME, second);
    key.extend_from_slice(&rest.to_be_bytes());
}

fn pop_time(key: &mut &[u8]) -> anyhow::Result<Timestamp> {
    let second = pop_number(key)?;
    let (bytes, rest) = key.split_first_chunk().context("a time in a key ends too early")?;
    *key = rest;
    Ok(Timestamp::from_nanosecond(i128::from(second) * SECOND + i128::from(u32::from_be_bytes(*bytes)))?)
}

fn push_number(key: &mut Vec<u8>, tag: u8, number: i64) {
    key.push(tag);
    key.extend_from_slice(&(number.cast_unsigned() ^ SIGN).to_be_bytes());
}

fn pop_number(key: &mut &[u8]) -> anyhow::Result<i64> {
    let (bytes, rest) = key.split_first_chunk::<8>().context("a number in a key ends too early")?;
    *key = rest;
    Ok((u64::from_be_bytes(*bytes) ^ SIGN).cast_signed())
}

fn pop_text(key: &mut &[u8]) -> anyhow::Result<String> {
    let mut text = Vec::new();
    loop {
        let zero = key.iter().position(|byte| *byte == 0).context("a text in a key has no end")?;
        text.extend_from_slice(&key[..zero]);
        let (mark, rest) = key[zero + 1..].split_first().context("a text in a key has no end")?;
        *key = rest;
        match *mark {
            ESCAPED => text.push(0),
            0 => break,
            other => bail!("a text in a key holds a zero byte followed by {other}"),
        }
    }
    let text = String::from_utf8(text);
    ensure!(text.is_ok(), "a text in a key is not UTF-8");
    Ok(text?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Absent),
            "[\u{0}a\u{ff}é]{0,4}".prop_map(|text| Value::Text(text.into())),
            any::<i64>().prop_map(Value::Integer),
            (-3_000_000_000i128..3_000_000_000)
                .prop_map(|nanoseconds| Value::Time(Timestamp::from_nanosecond(nanoseconds).unwrap())),
            Just(Value::Time(Timestamp::MIN)),
            Just(Value::Time(Timestamp::MAX)),
        ]
    }

    fn encode(values: &[Value<'_>]) -> Vec<u8> {
        let mut key = Vec::new();
        values.iter().for_each(|value| push(&mut key, value));
        key
    }

    /// The order that keys must have: kinds first, then values.
    fn rank(value: &Value<'_>) -> (u8, String, i128) {
        match value {
            Value::Absent | Value::List(_) | Value::Objects(_) => (1, String::new(), 0),
            Value::Text(text) => (2, text.to_string(), 0),
            Value::Integer(number) => (3, String::new(), i128::from(*number)),
            Value::Time(time) => (4, String::new(), time.as_nanosecond()),
        }
    }

    proptest! {
        #[test]
        fn keys_read_what_they_write(values in prop::collection::vec(value(), 0..4)) {
            let key = encode(&values);
            let mut rest = key.as_slice();
            for value in &values {
                prop_assert_eq!(&pop(&mut rest).unwrap(), value);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn keys_sort_as_their_values(
            a in prop::collection::vec(value(), 2),
            b in prop::collection::vec(value(), 2),
        ) {
            let ranks = |values: &[Value<'_>]| values.iter().map(rank).collect::<Vec<_>>();
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), ranks(&a).cmp(&ranks(&b)));
        }

        #[test]
        fn no_value_is_the_beginning_of_another(a in value(), b in value()) {
            let (one, other) = (encode(std::slice::from_ref(&a)), encode(std::slice::from_ref(&b)));
            prop_assert_eq!(one.starts_with(&other), a == b);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while pop(&mut rest).is_ok() && !rest.is_empty() {}
        }
    }
}
