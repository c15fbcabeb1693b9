//! The three hashes of the format, all XXH3 with 64 bits and seed 0 (<https://xxhash.com>).
//!
//! They are part of the log's format: changing one would send keys to other partitions and make every
//! record look like a fork, so golden values stand in the tests below.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// A 64-bit XXH3 hash, written as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash(pub u64);

impl Hash {
    /// The hash of a record's bytes as read from the log, or of a command's canonical text.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }

    /// The hash of a parsed command: of its JSON text, whose field order is fixed by its type.
    pub fn of_command(command: &impl Serialize) -> Self {
        Self::of(canonical(command).as_bytes())
    }
}

/// A command, or whatever else has an order of its fields, as one text.
///
/// # Panics
/// Where a value has no form in JSON, which no command has.
pub fn canonical(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a command serialises to JSON")
}

/// The partition that holds `key` in a log of `partitions` partitions.
///
/// # Panics
/// When `partitions` is 0, which no genesis record can say.
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let place = xxh3_64(key.as_bytes()) % u64::from(partitions);
    u32::try_from(place).expect("a remainder of a u32 fits into a u32")
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_hex) {
            return Err(format!("{text:?} is not a hash of 16 lower-case hexadecimal digits"));
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_their_partitions_for_ever() {
        let golden = include_str!("../golden/partitions.txt");
        for line in golden.lines() {
            let (key, of_8, of_12) = line
                .split_once('\t')
                .and_then(|(key, rest)| rest.split_once('\t').map(|(a, b)| (key, a, b)))
                .unwrap();
            assert_eq!(partition_of(key, 8).to_string(), of_8, "{key}");
            assert_eq!(partition_of(key, 12).to_string(), of_12, "{key}");
        }
        assert_eq!(golden.lines().count(), 7);
    }

    #[test]
    fn the_hash_is_xxh3() {
        // Published test vector of XXH3-64: the empty input with seed 0.
        assert_eq!(Hash::of(b"").to_string(), "2d06800538d394c2");
    }

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        let hash = Hash::of(b"pie");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        for bad in ["", "12", "2D06800538D394C2", "+d06800538d394c2", "2d06800538d394c2f"] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }
}
