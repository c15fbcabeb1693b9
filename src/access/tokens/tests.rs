//! Sound tokens are taken; whatever else looks like one is not.

use super::*;
use crate::settings::Settings;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const PRESENT: &str = "the secret of today, long enough for it";
const PREVIOUS: &str = "the secret of yesterday, long enough too";

fn auth() -> Auth {
    Auth {
        secret: Secret::from(PRESENT.to_owned()),
        previous_secret: Secret::default(),
        issuer: "refold".into(),
        audience: "refold".into(),
        token_life: Duration::from_mins(30),
        ..Settings::load(&[]).unwrap().auth
    }
}

fn tokens(secret: &str, change: impl FnOnce(&mut Auth)) -> Tokens {
    let mut auth = auth();
    change(&mut auth);
    Tokens::new(&Secret::from(secret.to_owned()), &auth)
}

fn ours() -> Tokens {
    tokens(PRESENT, |_| {})
}

fn ada() -> Caller {
    Caller { id: "7".into(), username: "ada".into(), role: Role::User }
}

fn issued(tokens: &Tokens) -> String {
    tokens.issue(&ada(), 3).unwrap().token
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn read(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A token of ours with another header and other claims, signed as it should be.
fn signed(change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let token = issued(&ours());
    let parts: Vec<_> = token.split('.').collect();
    let (mut header, mut claims) = (read(parts[0]), read(parts[1]));
    change(&mut header, &mut claims);
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = hs256::sign(PRESENT.as_bytes(), message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn what_was_issued_is_taken() {
    let claims = ours().verify(&issued(&ours())).unwrap();
    assert_eq!((claims.caller(), claims.pwd), (ada(), 3));
    assert_eq!((claims.exp - claims.iat, claims.nbf), (30 * 60, claims.iat));
    assert_eq!(claims.ends(), UNIX_EPOCH + Duration::from_secs(claims.exp + SKEW_SECONDS + 1));
    assert_ne!(issued(&ours()), issued(&ours()), "each has an id of its own");
}

/// The example of RFC 7515, appendix A.1, whose key is no text.
#[test]
fn signatures_are_those_of_the_standard() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = BASE64_URL_SAFE_NO_PAD.decode(key).unwrap();
    let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                   eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = BASE64_URL_SAFE_NO_PAD.encode(hs256::sign(&key, message.as_bytes()));
    assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(
        jsonwebtoken::crypto::sign(message.as_bytes(), &hs256::keys(&key).0, Algorithm::HS256).unwrap(),
        signature
    );
}

#[test]
fn two_secrets_are_taken_and_the_first_signs() {
    let before = tokens(PREVIOUS, |_| {});
    let during = tokens(PRESENT, |auth| auth.previous_secret = PREVIOUS.to_owned().into());
    let after = ours();
    let (old, new) = (issued(&before), issued(&during));
    assert!(during.verify(&old).is_ok() && during.verify(&new).is_ok() && after.verify(&new).is_ok());
    assert_eq!((after.verify(&old), before.verify(&new)), (Err(Refusal::Signature), Err(Refusal::Signature)));
}

#[test]
fn tokens_of_and_for_others_are_refused() {
    let refused = |change: fn(&mut Auth)| ours().verify(&issued(&tokens(PRESENT, change))).unwrap_err();
    assert_eq!(refused(|auth| auth.issuer = "other".into()), Refusal::Issuer);
    assert_eq!(refused(|auth| auth.audience = "other".into()), Refusal::Audience);
}

#[test]
fn a_token_is_good_for_a_while_give_or_take_half_a_minute() {
    let shifted = |name: &'static str, seconds: i64| {
        let now = i64::try_from(get_current_timestamp()).unwrap();
        ours().verify(&signed(|_, claims| claims[name] = json!(now + seconds))).map(|_| ())
    };
    assert_eq!((shifted("exp", -20), shifted("nbf", 20)), (Ok(()), Ok(())));
    assert_eq!((shifted("exp", -40), shifted("nbf", 40)), (Err(Refusal::Expired), Err(Refusal::NotYet)));
}

#[test]
fn every_claim_is_needed() {
    for name in ["iss", "aud", "sub", "username", "role", "iat", "nbf", "exp", "jti", "pwd"] {
        let token = signed(|_, claims| drop(claims.as_object_mut().unwrap().remove(name)));
        assert_eq!(ours().verify(&token), Err(Refusal::Malformed), "{name}");
        let token = signed(|_, claims| claims[name] = Value::Null);
        assert_eq!(ours().verify(&token), Err(Refusal::Malformed), "{name}");
    }
    let token = signed(|_, claims| claims["role"] = json!("root"));
    assert_eq!(ours().verify(&token), Err(Refusal::Malformed));
}

#[test]
fn no_other_algorithm_is_taken() {
    for name in ["HS384", "HS512", "RS256", "ES256", "EdDSA"] {
        let token = signed(|header, _| header["alg"] = json!(name));
        assert_eq!(ours().verify(&token), Err(Refusal::Algorithm), "{name}");
    }
    for name in ["none", "None", "hs256", ""] {
        let token = signed(|header, _| header["alg"] = json!(name));
        let (message, _) = token.rsplit_once('.').unwrap();
        for token in [token.clone(), format!("{message}."), message.to_owned()] {
            assert_eq!(ours().verify(&token), Err(Refusal::Malformed), "{name}: {token}");
        }
    }
}

#[test]
fn what_must_be_understood_is_not() {
    for crit in [json!(["b64"]), json!(["exp"]), json!([])] {
        let token = signed(|header, _| header["crit"] = crit);
        assert_eq!(ours().verify(&token), Err(Refusal::Critical));
    }
    let token = signed(|header, _| header["crit"] = json!("b64"));
    assert_eq!(ours().verify(&token), Err(Refusal::Malformed));
}

#[test]
fn the_key_must_be_named() {
    for kid in [Value::Null, json!(""), json!("00000000")] {
        let token = signed(|header, _| header["kid"] = kid);
        assert_eq!(ours().verify(&token), Err(Refusal::Signature));
    }
}

#[test]
fn whatever_is_changed_makes_it_void() {
    let token = issued(&ours());
    for at in 0..token.len() {
        for other in ['A', 'B', '.', '='] {
            let mut changed = token.clone();
            changed.replace_range(at..=at, &other.to_string());
            assert!(changed == token || ours().verify(&changed).is_err(), "{at}: {changed}");
        }
    }
    for token in [
        "",
        ".",
        "..",
        "a.b.c",
        "Bearer",
        &"a".repeat(1 << 20),
        &format!("{token}.{token}"),
        &format!("{token}\n"),
    ] {
        assert!(ours().verify(token).is_err(), "{token:.20}");
    }
}
