//! Tokens of every kind, signed here: the tests hold the service to the standard, not to its own library.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use refold::access::Caller;
use refold::access::tokens::Tokens;
use refold::settings::Settings;
use refold_domain::users::Role;
use serde_json::Value;
use sha2::Sha256;
use std::sync::LazyLock;
use std::time::Duration;

/// The secret of every service under test, unless a test takes another.
pub(crate) const SECRET: &str = "what the services under test sign with";
/// How long the tokens of tests are good: longer than the longest test.
const LIFE: Duration = Duration::from_hours(12);

/// The token of an operator who may do everything.
pub(crate) fn admin() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| operator(Role::Admin));
    &TOKEN
}

/// The token of an operator who may do what users may.
pub(crate) fn user() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| operator(Role::User));
    &TOKEN
}

fn operator(role: Role) -> String {
    of("operator:test", "operator:test", role)
}

/// A token of anybody, with the first password.
pub(crate) fn of(id: &str, username: &str, role: Role) -> String {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");
    let mut settings = Settings::load(&[default.into()]).unwrap().auth;
    settings.token_life = LIFE;
    let caller = Caller { id: id.to_owned(), username: username.to_owned(), role };
    Tokens::new(&SECRET.to_owned().into(), &settings).issue(&caller, 0).unwrap().token
}

/// The same token with another header and other claims, signed with this secret.
pub(crate) fn changed(token: &str, secret: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let read = |part: &str| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (mut header, mut claims): (Value, Value) = (read(parts[0]), read(parts[1]));
    change(&mut header, &mut claims);
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&message);
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
