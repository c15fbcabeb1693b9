//! Tokens (JWT, signed with HS256): who has a sound one is who it says, until it expires.

use super::{Caller, hs256};
use crate::settings::auth::Auth;
use crate::settings::secret::Secret;
use anyhow::Context;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, get_current_timestamp};
use refold_domain::users::Role;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// How much the clocks of whoever issues and takes tokens may differ, in seconds.
pub const SKEW_SECONDS: u64 = 30;
/// How many bytes a token may have; ours have about 400.
const TOKEN_BYTES_MAX: usize = 4_096;
/// What is signed to name a secret without telling it, and how much of the signature is the name.
const KEY_ID: (&[u8], usize) = (b"refold: the id of this key", 8);

/// Issues tokens, and takes those that were issued.
pub struct Tokens {
    signs: Key,
    /// The one that was used before the present one.
    previous: Option<Key>,
    claimed: Validation,
    issuer: String,
    audience: String,
    life: Duration,
}

/// A secret.
struct Key {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// A token that was just issued.
pub struct Issued {
    /// The token.
    pub token: String,
    /// How long it is good.
    pub life: Duration,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// Whose it is: the user's id, or an operator's.
    pub sub: String,
    /// The user's name.
    pub username: String,
    /// What its user may do.
    pub role: Role,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// From when on it is good.
    pub nbf: u64,
    /// Until when it is good.
    pub exp: u64,
    /// Its own id.
    pub jti: Uuid,
    /// Which of its user's tokens are taken: a change of the password and being shut out raise it, and those from before are
    /// refused.
    pub pwd: u64,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none.
    #[error("it is no token of this service")]
    Malformed,
    /// The signature is not HS256.
    #[error("it is signed in a way that is not taken")]
    Algorithm,
    /// Whoever wrote it wants something of its readers (RFC 7515, 4.1.11).
    #[error("it asks for extensions, of which none are known here (crit)")]
    Critical,
    /// Another secret has signed it, or it was changed.
    #[error("its signature is not that of this service")]
    Signature,
    /// Another service has issued it.
    #[error("it was issued by another service")]
    Issuer,
    /// It was issued for another service.
    #[error("it was issued for another service")]
    Audience,
    /// It is too early.
    #[error("it is not good yet")]
    NotYet,
    /// It is too late.
    #[error("it has expired")]
    Expired,
}

impl Tokens {
    /// Signs with `secret`; the rest is as the settings say.
    pub fn new(secret: &Secret, settings: &Auth) -> Self {
        let mut claimed = Validation::new(Algorithm::HS256);
        claimed.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        claimed.set_issuer(&[&settings.issuer]);
        claimed.set_audience(&[&settings.audience]);
        claimed.validate_nbf = true;
        claimed.leeway = SKEW_SECONDS;
        let previous = Some(&settings.previous_secret).filter(|previous| !previous.is_empty());
        Self {
            signs: Key::new(secret),
            previous: previous.map(Key::new),
            claimed,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            life: settings.token_life,
        }
    }

    /// A token for somebody whose password has this number.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn issue(&self, caller: &Caller, pwd: u64) -> anyhow::Result<Issued> {
        let now = get_current_timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: caller.id.clone(),
            username: caller.username.clone(),
            role: caller.role,
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.life.as_secs()),
            jti: Uuid::now_v7(),
            pwd,
        };
        let header = Header { kid: Some(self.signs.id.clone()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signs.encoding);
        Ok(Issued { token: token.context("cannot write a token")?, life: self.life })
    }

    /// What a token says, if it is one of ours and good at this moment. Whether its user may still come in it does not
    /// know.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let header = jsonwebtoken::decode_header(token)?;
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let mut keys = [Some(&self.signs), self.previous.as_ref()].into_iter().flatten();
        let key = keys.find(|key| header.kid.as_ref() == Some(&key.id)).ok_or(Refusal::Signature)?;
        Ok(jsonwebtoken::decode(token, &key.decoding, &self.claimed)?.claims)
    }
}

impl Claims {
    /// Who it is that has the token.
    pub fn caller(&self) -> Caller {
        Caller { id: self.sub.clone(), username: self.username.clone(), role: self.role }
    }

    /// When the token is taken no more: with the second after the last one in which it was.
    pub fn ends(&self) -> SystemTime {
        let ends = Duration::from_secs(self.exp.saturating_add(SKEW_SECONDS + 1));
        UNIX_EPOCH.checked_add(ends).unwrap_or(UNIX_EPOCH)
    }
}

impl Key {
    fn new(secret: &Secret) -> Self {
        let secret = secret.reveal().as_bytes();
        let (message, digits) = KEY_ID;
        let mut id: String = hs256::sign(secret, message).iter().map(|byte| format!("{byte:02x}")).collect();
        id.truncate(digits);
        let (encoding, decoding) = hs256::keys(secret);
        Self { id, encoding, decoding }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Self::Algorithm,
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::ImmatureSignature => Self::NotYet,
            ErrorKind::ExpiredSignature => Self::Expired,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
