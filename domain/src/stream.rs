//! What guards protect: streams, and the partition each one lives in.
//!
//! A stream's partition follows from its name alone. `<system>:<key>` lives where its key lives; an
//! idempotency key lives with the partition key of the command it protects, which stands at the end of its
//! name: `idem:<hash of the scope>:<partition key>`. All users live together, so that one command may guard a user name
//! and an e-mail address.

use crate::hash::{Hash, partition_of};
use serde::Serialize;

/// The prefix of streams that are idempotency keys; the gate numbers them.
pub const IDEMPOTENCY: &str = "idem:";

/// The system of users: each lives under its user name, normalised.
pub const USER: &str = "user";

/// The system of the users' e-mail addresses, normalised.
pub const EMAIL: &str = "email";

/// The partition key of all users and their e-mail addresses. Part of the format.
pub const USERS: &str = "users";

/// How many accepted keys of a partition an idempotency key is remembered for. Part of the format: a key
/// whose number lies this much or more below the partition's counter is absent.
pub const KEYS_REMEMBERED: u64 = 100_000;

/// The stream of an aggregate or of a unique name: `<system>:<key>`.
pub fn name(system: &str, key: &str) -> String {
    format!("{system}:{key}")
}

/// The stream of an idempotency key.
///
/// `caller` says who asked, `route` is the method and path with its parameters, `partition_key` is the key
/// of the command's partition and `key` what the client sent.
pub fn idempotency(caller: &str, route: &str, partition_key: &str, key: &str) -> String {
    idempotency_of(&(caller, route, partition_key, key), partition_key)
}

/// The stream of one part of a request with an idempotency key: of a chunk of facts, or of a line.
///
/// The part is a number in the scope and no text, so no key that a client may send is the key of another's part.
pub fn idempotency_of_part(caller: &str, route: &str, partition_key: &str, key: &str, part: u32) -> String {
    idempotency_of(&(caller, route, partition_key, key, part), partition_key)
}

fn idempotency_of(scope: &impl Serialize, partition_key: &str) -> String {
    let scope = Hash::of_command(scope);
    format!("{IDEMPOTENCY}{scope}:{partition_key}")
}

/// Whether this stream is an idempotency key.
pub fn is_idempotency(stream: &str) -> bool {
    stream.starts_with(IDEMPOTENCY)
}

/// The partition of a stream in a log of `partitions` partitions.
pub fn partition(stream: &str, partitions: u32) -> u32 {
    partition_of(partition_key(stream), partitions)
}

fn partition_key(stream: &str) -> &str {
    match stream.split_once(':') {
        Some((USER | EMAIL, _)) => USERS,
        Some(("idem", scoped)) => scoped.split_once(':').map_or(scoped, |(_, key)| key),
        Some((_, key)) => key,
        None => stream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_lives_with_what_it_protects() {
        for key in ["7", "a:b", "", "é"] {
            let protected = partition(&name("intro", key), 8);
            let idem = idempotency("", "PUT /introductions/7", key, "k1");
            assert_eq!(partition(&idem, 8), protected, "{key}");
            assert_eq!(protected, partition_of(key, 8));
        }
    }

    #[test]
    fn every_part_of_the_scope_counts() {
        let names = [
            idempotency("", "POST /foods", "p", "k"),
            idempotency("ada", "POST /foods", "p", "k"),
            idempotency("", "POST /food", "sp", "k"),
            idempotency("", "POST /foods", "p", "k2"),
            idempotency("", "POST /foods", "p", "k/1"),
            idempotency("", "POST /foods", "p", "k\",1"),
            idempotency_of_part("", "POST /foods", "p", "k", 0),
            idempotency_of_part("", "POST /foods", "p", "k", 1),
            idempotency_of_part("", "POST /foods", "p", "k1", 0),
        ];
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn names_stay_the_same_for_ever() {
        assert_eq!(idempotency("", "POST /foods", "p", "k"), "idem:73532ef244f9be55:p");
        assert_eq!(idempotency_of_part("", "POST /foods", "p", "k", 1), "idem:8c790f8f440490e0:p");
    }

    #[test]
    fn users_live_together_for_ever() {
        for (partitions, lives) in [(1, 0), (8, 1), (12, 5), (1_024, 617)] {
            let streams = ["user:ada", "user:", "email:ada@example.org", "email:a:b", &name(USER, "é")];
            assert_eq!(streams.map(|stream| partition(stream, partitions)), [lives; 5], "{partitions}");
            assert_eq!(partition(&idempotency("", "POST /users", USERS, "k"), partitions), lives);
        }
        // Others are not meant.
        for other in ["users:ada", "intro:user:ada", "User:ada", "user"] {
            assert_eq!(partition_key(other), other.split_once(':').map_or(other, |(_, key)| key));
        }
    }

    #[test]
    fn a_name_without_a_colon_is_its_own_key() {
        assert_eq!(partition("lonely", 8), partition_of("lonely", 8));
    }
}
