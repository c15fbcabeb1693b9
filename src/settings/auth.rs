//! How tokens are signed, and how logins are held up.

use super::secret::Secret;
use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, milliseconds};
use std::collections::BTreeSet;

/// The fewest bytes of a secret: as many as the hash has that signs with it.
pub const SECRET_BYTES_MIN: usize = 32;
/// How many of them must differ. Of what is random and written as hexadecimal digits there are always more.
pub const SECRET_BYTES_DIFFER_MIN: usize = 8;

/// How tokens are signed and for how long they are good, and how logins are held up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// What tokens are signed with.
    pub secret: Secret,
    /// What tokens were signed with before, which are still taken.
    pub previous_secret: Secret,
    /// Who says that it issued a token.
    pub issuer: String,
    /// Whom a token is for.
    pub audience: String,
    /// How long a token is good.
    #[serde(rename = "token_minutes", with = "minutes")]
    pub token_life: Duration,
    /// How many passwords are hashed at once; 0 for half as many as there are cores.
    pub hashes_max: usize,
    /// How many may wait for it.
    pub hashes_queue_max: usize,
    /// How many logins may fail for one user name in the window below; 0 for any number.
    pub failed_logins_max: u32,
    /// See above.
    #[serde(rename = "failed_logins_window_ms", with = "milliseconds")]
    pub failed_logins_window: Duration,
    /// How many logins there may be from one address in the window below; 0 for any number.
    pub logins_max: u32,
    /// See above.
    #[serde(rename = "logins_window_ms", with = "milliseconds")]
    pub logins_window: Duration,
}

/// Whether a text may be a secret: it is long enough, and not the same over and over. Whether somebody can guess it is for
/// the operator to know.
pub fn is_secret(text: &str) -> bool {
    let text = text.trim();
    let differ: BTreeSet<u8> = text.bytes().collect();
    text.len() >= SECRET_BYTES_MIN && differ.len() >= SECRET_BYTES_DIFFER_MIN
}

mod minutes {
    //! A duration written as a whole number of minutes.

    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
        u64::deserialize(value).map(Duration::from_mins)
    }

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        (value.as_secs() / 60).serialize(to)
    }
}
