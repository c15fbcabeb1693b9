//! What happens to users, and what is kept of it.

use super::names::username;
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn ada() -> Registered {
    Registered {
        id: "7".into(),
        username: "Ada".into(),
        name: "Ada".into(),
        lastname: "Lovelace".into(),
        role: Role::User,
        email: "Ada@Example.org".into(),
        password: "$hash-1".into(),
    }
}

fn register() -> Command {
    Command::Register(Box::new(ada()))
}

fn change(from: u64) -> Command {
    Command::ChangePassword { from, password: format!("$hash-{}", from + 2) }
}

/// The user after these commands, each of them accepted.
fn given(commands: &[Command]) -> (u64, Option<User>) {
    commands.iter().fold((0, None), |(version, state), command| {
        let (_, kind, data) = happened(when(&(version, state.clone()), command));
        (version + 1, Some(apply(state.as_ref(), kind, &data).unwrap()))
    })
}

fn when(given: &(u64, Option<User>), command: &Command) -> Result<Decision, Rejection> {
    decide("ada", Versions { user: given.0, email: 0 }, given.1.as_ref(), command)
}

fn happened(decision: Result<Decision, Rejection>) -> (Vec<Guard>, &'static str, String) {
    let Ok(Decision::Record { guards, events }) = decision else {
        panic!("not recorded: {decision:?}");
    };
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].key.as_deref(), Some("ada"));
    (guards, events[0].kind, events[0].data.get().to_owned())
}

#[test]
fn given_nobody_when_registered_then_registered_under_both_names() {
    let (guards, kind, data) = happened(when(&given(&[]), &register()));
    let streams: Vec<_> = guards.iter().map(|guard| (guard.stream.as_str(), guard.expected)).collect();
    assert_eq!(streams, [("user:ada", 0), ("email:ada@example.org", 0)]);
    assert_eq!(kind, "user.registered");
    assert!(REGISTERED.read(&data).is_ok());
    let shown = REGISTERED.public(&data).unwrap();
    assert_eq!(shown, r#"{"id":"7","username":"Ada","name":"Ada","lastname":"Lovelace","role":"user"}"#);
}

#[test]
fn given_a_user_when_somebody_registers_with_the_name_or_the_address_then_conflict() {
    let (version, state) = given(&[register()]);
    for (versions, what) in [
        (Versions { user: version, email: 0 }, "user name"),
        (Versions { user: version, email: 1 }, "user name"),
        (Versions { user: 0, email: 1 }, "e-mail address"),
    ] {
        let state = state.as_ref().filter(|_| versions.user > 0);
        let Err(Rejection::Conflict(reason)) = decide("ada", versions, state, &register()) else {
            panic!("it was taken");
        };
        assert!(reason.contains(what) && !reason.contains("xample"), "{reason}");
    }
}

#[test]
fn given_a_user_when_the_password_changes_then_it_is_counted() {
    let user = given(&[register(), change(0), change(1)]).1.unwrap();
    assert_eq!((user.password_changes, user.registered.password.as_str()), (2, "$hash-3"));
    assert_eq!(user.token_number(), 2);
    let (_, kind, data) = happened(when(&given(&[register()]), &change(0)));
    assert_eq!((kind, data.contains("$hash-2")), ("user.password_changed", true));
    assert_eq!(PASSWORD_CHANGED.public(&data).unwrap(), r#"{"id":"7","password_changes":1}"#);
}

#[test]
fn given_a_changed_password_when_changed_from_the_one_before_then_conflict() {
    let rejected = when(&given(&[register(), change(0)]), &change(0));
    assert!(matches!(rejected, Err(Rejection::Conflict(_))));
}

#[test]
fn given_a_user_when_disabled_and_enabled_then_so_it_is_and_once_is_enough() {
    let disabled = given(&[register(), Command::Disable]);
    assert!(!disabled.1.as_ref().unwrap().enabled);
    let enabled = given(&[register(), Command::Disable, Command::Enable]);
    assert!(enabled.1.as_ref().unwrap().enabled);
    assert_eq!(enabled.1.as_ref().unwrap().token_number(), 1, "what was given out before stays dead");
    for (given, again) in [(&disabled, Command::Disable), (&enabled, Command::Enable)] {
        let Ok(Decision::Repeat { stream }) = when(given, &again) else { panic!("{again:?} counted twice") };
        assert_eq!(stream, "user:ada");
    }
    let (_, kind, data) = happened(when(&disabled, &Command::Enable));
    assert_eq!((kind, data.as_str()), ("user.enabled", r#"{"id":"7"}"#));
}

#[test]
fn given_nobody_when_changed_then_not_found() {
    for command in [change(1), Command::Disable, Command::Enable] {
        assert!(matches!(when(&given(&[]), &command), Err(Rejection::NotFound(_))));
    }
}

#[test]
fn data_that_does_not_fit_is_told_without_its_secrets() {
    for (before, data) in [(None, "{}"), (None, r#"{"password":4711}"#), (Some("{}"), "{}")] {
        let told = apply_json(before, PASSWORD_CHANGED.name, data).unwrap_err();
        assert!(!told.contains("4711"), "{told}");
    }
    let told =
        apply_json(None, REGISTERED.name, r#"{"id":"7","password":"4711","role":"4712"}"#).unwrap_err();
    assert_eq!(told, "user.registered: the data does not fit");
}

#[test]
fn what_is_kept_can_be_read_again_and_shows_no_secret_to_debuggers() {
    let user = given(&[register(), change(0), Command::Disable]).1.unwrap();
    let text = serde_json::to_string(&user).unwrap();
    assert_eq!(serde_json::from_str::<User>(&text).unwrap(), user);
    let shown = format!("{user:?} {:?} {:?}", register(), change(1));
    assert!(!shown.contains("hash") && !shown.contains('@'), "{shown}");
}

#[test]
fn every_bad_field_is_named() {
    let body = json!({"username": "a b", "name": "", "email": "nobody", "password": "short", "role": "root", "age": 3});
    let fields: Vec<_> =
        Registration::parse(&body).unwrap_err().into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["username", "name", "lastname", "email", "password", "role", "age"]);
    let fields: Vec<_> = PasswordChange::parse(&json!({"new": ""}))
        .unwrap_err()
        .into_iter()
        .map(|error| error.field)
        .collect();
    assert_eq!(fields, ["current", "new"]);
}

#[test]
fn a_full_body_passes_and_its_hash_knows_nothing_of_the_password() {
    let body = |password: &str| {
        json!({
            "username": "Ada", "name": "Ada", "lastname": "Lovelace", "email": "ada@example.org", "password": password,
        })
    };
    let [one, other] =
        ["correct horse", "battery staple"].map(|password| Registration::parse(&body(password)).unwrap());
    assert_eq!(one.role, Role::User);
    assert_ne!(one, other);
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
}

#[test]
fn what_is_a_user_name_and_what_is_not() {
    for good in [
        "a",
        "Ada",
        "ada.lovelace",
        "ada@example.org",
        "7",
        "Äda",
        "a-b_c+d",
        "愛",
        "Ame\u{301}lie",
        "\u{ff21}da",
        "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
        "\u{663}",
    ] {
        assert_eq!(username(&json!(good)).as_deref(), Ok(good));
    }
    for bad in [
        "",
        " ada",
        "a b",
        ".",
        "..",
        "-a",
        "@a",
        "a/b",
        "a?b",
        "a%b",
        "a:b",
        "a\u{200b}b",
        "a\tb",
        "a\u{a0}",
        // Once composed these are ` and ;
        "a\u{1fef}",
        "a\u{37e}",
        // A mark without a letter, also once it is taken apart; a blank in it, or a mark on one.
        "\u{301}a",
        "\u{ff9e}a",
        "a\u{fdfa}",
        "a\u{fe70}",
        // Nobody's, or anybody's: not assigned, private, no character, what stands for an object.
        "a\u{378}",
        "a\u{e000}",
        "a\u{10fffd}",
        "a\u{ffff}",
        "a\u{fdd0}",
        "a\u{fffc}",
        "a\u{fffd}",
        // Symbols, some of which show nothing.
        "a\u{20ac}",
        "a\u{1d159}",
        "a\u{13441}",
        "a\u{13442}",
        "a\u{16fe4}",
        "a\u{1f600}",
    ] {
        assert!(username(&json!(bad)).is_err(), "{bad:?}");
    }
    assert!(username(&json!("ä".repeat(64))).is_ok() && username(&json!("a".repeat(65))).is_err());
}

#[test]
fn nothing_hides_in_a_user_name() {
    let hidden = [
        "\u{ad}", "\u{34f}", "\u{61c}", "\u{115f}", "\u{17b4}", "\u{180b}", "\u{180e}", "\u{200b}",
        "\u{200d}",
    ];
    let more = [
        "\u{200e}", "\u{202e}", "\u{2060}", "\u{2066}", "\u{2069}", "\u{2800}", "\u{3164}", "\u{fe0f}",
        "\u{feff}",
    ];
    let most = [
        "\u{ffa0}",
        "\u{fff9}",
        "\u{1d173}",
        "\u{e0001}",
        "\u{e0061}",
        "\u{e0100}",
        "\u{85}",
        "\u{7f}",
        "\u{2028}",
    ];
    for unseen in hidden.into_iter().chain(more).chain(most) {
        for name in [format!("a{unseen}da"), format!("ada{unseen}"), format!("{unseen}ada")] {
            assert!(username(&json!(name)).is_err(), "{name:?}");
        }
    }
}

#[test]
fn a_name_does_not_turn_what_stands_around_it() {
    let fields = |name: &str| -> Vec<String> {
        let body = json!({"username": "ada", "name": name, "lastname": name, "email": "a@b.org", "password": "correct horse"});
        let errors = Registration::parse(&body).err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    };
    for bad in
        ["A\u{202e}da", "A\u{2066}da", "A\u{200f}", "A\u{61c}", "A\u{2028}da", "A\u{1b}[31mda", "A\u{85}"]
    {
        assert_eq!(fields(bad), ["name", "lastname"], "{bad:?}");
    }
    // Joiners and the variants of a letter belong to the way in which some names are written.
    for good in
        ["Ada Maria", "O\u{2019}Neil", "\u{645}\u{200c}\u{645}", "\u{845b}\u{e0100}", "\u{5d0}\u{5d1}"]
    {
        assert_eq!(fields(good), [""; 0], "{good:?}");
    }
}

#[test]
fn names_that_look_alike_are_one() {
    for (one, other) in [
        ("Ada", "aDA"),
        ("AM\u{c9}LIE", "ame\u{301}lie"),
        ("\u{212b}", "\u{e5}"),
        ("\u{391}\u{3a3}", "\u{3b1}\u{3c3}"),
        ("\u{3b1}\u{3c2}", "\u{3b1}\u{3c3}"),
        ("Stra\u{df}e", "STRASSE"),
        // What becomes of a mark is the same whether it stands in its letter or behind it.
        ("\u{1fb7}z", "\u{391}\u{342}\u{345}z"),
        ("\u{1ff7}z", "\u{3a9}\u{342}\u{345}z"),
        ("\u{1fc7}z", "\u{397}\u{342}\u{345}z"),
        ("\u{ff41}\u{ff24}a", "ada"),
        ("\u{1d400}\u{1d41d}a", "ada"),
        ("\u{fb01}n", "FIN"),
    ] {
        assert_eq!(normalised(one), normalised(other));
    }
    assert_ne!(normalised("ada"), normalised("adá"));
}

#[test]
fn names_are_kept_under_what_they_were_kept_under() {
    for (name, key) in [
        ("Ada", "ada"),
        ("ada.lovelace+7@Example", "ada.lovelace+7@example"),
        ("\u{c4}DA", "\u{e4}da"),
        ("\u{611b}", "\u{611b}"),
    ] {
        assert_eq!(normalised(name), key);
    }
}

#[test]
fn each_letter_is_one_in_whatever_case_and_however_it_is_composed() {
    let is_plain = |c: &char| c.to_uppercase().eq([*c]) && c.to_lowercase().eq([*c]) && c.nfkd().eq([*c]);
    let is_syllable = |c: &char| ('\u{ac00}'..='\u{d7a3}').contains(c);
    for c in (char::MIN..=char::MAX).filter(|c| !is_plain(c) && !is_syllable(c)) {
        for name in [c.to_string(), format!("{c}z"), format!("\u{3b1}{c}")] {
            let key = normalised(&name);
            let composed = [name.nfc().collect::<String>(), name.nfd().collect(), name.nfkd().collect()];
            let cased = composed.iter().flat_map(|name| [name.to_uppercase(), name.to_lowercase()]);
            for other in cased.chain(composed.clone()).chain([key.clone()]) {
                assert_eq!(normalised(&other), key, "{c:?}: {other:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_normalised_stays_so(text: String) {
        let once = normalised(&text);
        prop_assert_eq!(normalised(&once), once);
    }
}
