//! Introductions: somebody introduces themselves, may revise what they said, and may withdraw it.

use crate::commit::Guard;
use crate::decision::{Decision, Expected, NewEvent, Rejection};
use crate::schema::{Aggregate, EventType, Field, Kind};
use crate::stream;
use crate::validation::{FieldError, Form, email, text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;
use url::Url;

/// The system's name in streams.
pub const SYSTEM: &str = "intro";
/// How many characters a name may have.
pub const NAME_CHARS: RangeInclusive<usize> = 1..=200;
/// How many characters a message may have.
pub const MESSAGE_CHARS: RangeInclusive<usize> = 1..=10_000;
/// How many links there may be.
pub const LINKS: RangeInclusive<usize> = 0..=20;
/// How many characters a link may have.
pub const LINK_CHARS: RangeInclusive<usize> = 8..=2_000;

const FIELDS: &[Field] = &[
    Field::new("id", Kind::Text),
    Field::new("version", Kind::Integer { max: i64::MAX }),
    Field::new("name", Kind::Text),
    Field::new("message", Kind::Text),
    Field::optional("email", Kind::Text),
    Field::optional("links", Kind::List),
];
const AGGREGATE: Option<Aggregate> = Some(Aggregate { system: SYSTEM, apply: apply_json });

/// Somebody introduced themselves; the key is the introduction's id.
pub const INTRODUCED: EventType = EventType {
    name: "introduction.introduced",
    fields: FIELDS,
    has_key: true,
    aggregate: AGGREGATE,
    upcasters: &[],
};
/// An introduction was replaced by another text.
pub const REVISED: EventType = EventType { name: "introduction.revised", ..INTRODUCED };
/// An introduction was taken back.
pub const WITHDRAWN: EventType = EventType {
    name: "introduction.withdrawn",
    fields: &[Field::new("id", Kind::Text), Field::new("version", Kind::Integer { max: i64::MAX })],
    has_key: true,
    aggregate: AGGREGATE,
    upcasters: &[],
};

/// What somebody says of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// Who it is.
    pub name: String,
    /// What they have to say.
    pub message: String,
    /// Where to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<String>>,
}

/// An introduction as it stands: what clients are shown, and the data of the events that make and revise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduced {
    /// Its id.
    pub id: String,
    /// How many commands changed it, its making included.
    pub version: u64,
    /// Who it is.
    pub name: String,
    /// What they have to say.
    pub message: String,
    /// Where to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<String>>,
}

/// The data of a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The introduction's id.
    pub id: String,
    /// Its version after the withdrawal.
    pub version: u64,
}

/// Where an introduction stands; before the first command there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be read.
    Present(Introduced),
    /// It was taken back.
    Withdrawn(Withdrawn),
}

/// What can be asked of an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Command {
    /// Make it.
    Introduce(Introduction),
    /// Replace its text, if it stands at a version that the client expects.
    Revise(Expected, Introduction),
    /// Take it back, if it stands at a version that the client expects.
    Withdraw(Expected),
}

/// The stream of an introduction.
pub fn stream(id: &str) -> String {
    stream::name(SYSTEM, id)
}

/// Decides a command about the introduction `id`, whose stream stands at `version`.
///
/// # Errors
/// The rejection, where the introduction does not allow it.
pub fn decide(
    id: &str,
    version: u64,
    state: Option<&State>,
    command: &Command,
) -> Result<Decision, Rejection> {
    let event = match (state, command) {
        (None, Command::Introduce(introduction)) => shown(INTRODUCED.name, id, version, introduction),
        (Some(_), Command::Introduce(_)) => {
            return Err(Rejection::Conflict(format!("introduction {id} exists already")));
        }
        (None, _) => return Err(Rejection::NotFound(format!("there is no introduction {id}"))),
        (Some(State::Withdrawn(_)), _) => {
            return Err(Rejection::Gone(format!("introduction {id} was withdrawn")));
        }
        (Some(State::Present(current)), Command::Revise(expected, introduction)) => {
            current.must_be(expected)?;
            shown(REVISED.name, id, version, introduction)
        }
        (Some(State::Present(current)), Command::Withdraw(expected)) => {
            current.must_be(expected)?;
            let data = Withdrawn { id: id.to_owned(), version: version + 1 };
            NewEvent::new(WITHDRAWN.name, Some(id.to_owned()), &data)
        }
    };
    Ok(Decision::Record { guards: vec![Guard::step(stream(id), version)], events: vec![event] })
}

/// The state after an event with this data happened.
///
/// # Errors
/// Why the data does not fit the event.
pub fn apply(_before: Option<&State>, kind: &str, data: &str) -> Result<State, String> {
    // Each event says all there is to know, so what was before does not matter.
    let state = if kind == WITHDRAWN.name {
        serde_json::from_str(data).map(State::Withdrawn)
    } else {
        serde_json::from_str(data).map(State::Present)
    };
    state.map_err(|error| format!("{kind}: {error}"))
}

fn apply_json(_before: Option<&str>, kind: &str, data: &str) -> Result<String, String> {
    let state = apply(None, kind, data)?;
    serde_json::to_string(&state).map_err(|error| error.to_string())
}

impl Introduction {
    /// Reads a request body.
    ///
    /// # Errors
    /// Every bad field.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut form = Form::new(body);
        let introduction = Self {
            name: form.text("name", &NAME_CHARS, &[]),
            message: form.text("message", &MESSAGE_CHARS, &['\n', '\r', '\t']),
            email: form.optional("email", email),
            links: form.optional_items("links", &LINKS, link),
        };
        form.finish(introduction)
    }
}

impl Introduced {
    fn must_be(&self, expected: &Expected) -> Result<(), Rejection> {
        if expected.includes(self.version) {
            return Ok(());
        }
        Err(Rejection::Stale(format!(
            "introduction {} stands at version {}: read it again and decide anew",
            self.id, self.version
        )))
    }
}

fn shown(kind: &'static str, id: &str, version: u64, introduction: &Introduction) -> NewEvent {
    let Introduction { name, message, email, links } = introduction.clone();
    let data = Introduced { id: id.to_owned(), version: version + 1, name, message, email, links };
    NewEvent::new(kind, Some(id.to_owned()), &data)
}

fn link(value: &Value) -> Result<String, String> {
    let link = text(value, &LINK_CHARS, &[])?;
    is_web(&link).then_some(link).ok_or_else(|| "must be a URL such as https://example.org/ada".into())
}

/// Whether a text is written as an absolute URL with http or https. The parser alone would mend what is not: it strips
/// blanks, and takes `https:example.org` and `https:\\example.org` for what browsers make of them.
fn is_web(link: &str) -> bool {
    let Some((scheme, rest)) = link.split_once("://") else {
        return false;
    };
    let is_scheme = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let is_written_so = !rest.starts_with('/') && !link.contains(|c: char| c.is_whitespace() || c == '\\');
    is_scheme && is_written_so && Url::parse(link).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ada() -> Introduction {
        Introduction { name: "Ada".into(), message: "Hello".into(), email: None, links: None }
    }

    /// The state after these commands, each of them accepted.
    fn given(commands: &[Command]) -> (u64, Option<State>) {
        commands.iter().fold((0, None), |(version, state), command| {
            let (kind, data) = happened(decide("7", version, state.as_ref(), command));
            (version + 1, Some(apply(state.as_ref(), kind, &data).unwrap()))
        })
    }

    fn when(given: &(u64, Option<State>), command: &Command) -> Result<Decision, Rejection> {
        decide("7", given.0, given.1.as_ref(), command)
    }

    fn happened(decision: Result<Decision, Rejection>) -> (&'static str, String) {
        let Ok(Decision::Record { guards, events }) = decision else {
            panic!("not recorded: {decision:?}");
        };
        assert_eq!((guards.len(), events.len()), (1, 1));
        assert_eq!(guards[0].stream, "intro:7");
        (events[0].kind, events[0].data.get().to_owned())
    }

    fn at(version: u64) -> Expected {
        Expected::OneOf(vec![version])
    }

    const INTRODUCE: fn() -> Command = || Command::Introduce(ada());

    #[test]
    fn given_nothing_when_introduced_then_introduced() {
        let (kind, data) = happened(when(&given(&[]), &INTRODUCE()));
        assert_eq!(kind, "introduction.introduced");
        assert_eq!(data, r#"{"id":"7","version":1,"name":"Ada","message":"Hello"}"#);
        assert!(INTRODUCED.read(&data).is_ok());
    }

    #[test]
    fn given_one_when_introduced_again_then_conflict() {
        let rejected = when(&given(&[INTRODUCE()]), &INTRODUCE());
        assert!(matches!(rejected, Err(Rejection::Conflict(_))));
    }

    #[test]
    fn given_one_when_revised_at_its_version_then_revised() {
        let revise = Command::Revise(at(1), Introduction { email: Some("ada@example.org".into()), ..ada() });
        let (kind, data) = happened(when(&given(&[INTRODUCE()]), &revise));
        assert_eq!(kind, "introduction.revised");
        assert!(data.contains(r#""version":2"#) && data.contains("ada@example.org"));
    }

    #[test]
    fn given_one_when_revised_at_another_version_then_stale() {
        let rejected = when(&given(&[INTRODUCE()]), &Command::Revise(at(2), ada()));
        assert!(matches!(rejected, Err(Rejection::Stale(_))));
    }

    #[test]
    fn given_one_when_withdrawn_then_withdrawn() {
        let (kind, data) = happened(when(&given(&[INTRODUCE()]), &Command::Withdraw(Expected::Any)));
        assert_eq!((kind, data.as_str()), ("introduction.withdrawn", r#"{"id":"7","version":2}"#));
        assert!(WITHDRAWN.read(&data).is_ok());
    }

    #[test]
    fn given_a_withdrawn_one_when_anything_then_rejected() {
        let withdrawn = || given(&[INTRODUCE(), Command::Withdraw(at(1))]);
        for command in [Command::Revise(Expected::Any, ada()), Command::Withdraw(at(2))] {
            assert!(matches!(when(&withdrawn(), &command), Err(Rejection::Gone(_))));
        }
        assert!(matches!(when(&withdrawn(), &INTRODUCE()), Err(Rejection::Conflict(_))));
    }

    #[test]
    fn given_nothing_when_revised_then_not_found() {
        let rejected = when(&given(&[]), &Command::Revise(Expected::Any, ada()));
        assert!(matches!(rejected, Err(Rejection::NotFound(_))));
    }

    #[test]
    fn every_bad_field_is_named() {
        let body =
            json!({"message": "", "email": "nobody", "links": ["http://x.org", "ftp://x.org/"], "age": 3});
        let fields: Vec<_> =
            Introduction::parse(&body).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["name", "message", "email", "links[1]", "age"]);
    }

    #[test]
    fn a_full_body_passes() {
        let body = json!({
            "name": "Ada", "message": "two\nlines", "email": "ada@example.org", "links": ["https://example.org/ada"],
        });
        assert!(Introduction::parse(&body).is_ok());
    }

    #[test]
    fn what_is_a_link_and_what_is_not() {
        for good in [
            "https://example.org",
            "HTTP://3m-x.example.org:65535/a%20b?c=d#e",
            "http://127.0.0.1:8080/",
            "https://[::1]/",
            "https://exämple.org/ä",
        ] {
            assert_eq!(link(&json!(good)).unwrap(), good);
        }
        for bad in [
            "https:example.org",
            "https:\\\\example.org",
            "https://\\example.org",
            "https:///x",
            " https://example.org ",
            "https://example.org/a b",
            "https://example.org\u{a0}",
            "https://",
            "https://:80",
            "https://example.org:65536",
            "ftp://example.org",
            "javascript:x://x",
        ] {
            assert!(link(&json!(bad)).is_err(), "{bad}");
        }
    }
}
