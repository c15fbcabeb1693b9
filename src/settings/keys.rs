//! Which keys there are, and which values each of them may have.

use super::access::Need;
use super::auth::{SECRET_BYTES_DIFFER_MIN, SECRET_BYTES_MIN, is_secret};
use super::cors::{ORIGINS_MAX, are_origins};
use super::layer::Entry;
use super::options;
use config::{Value, ValueKind};
use refold_adapters::{BROKERS, brokers};
use refold_domain::nearest;
use refold_projections::definition::{CATEGORIES_EXPECTED, Categories};
use refold_projections::store::kinds::KINDS;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::iter::successors;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use tracing_subscriber::EnvFilter;

const TIMES_MS: RangeInclusive<u64> = 100..=600_000;
const MIB: u64 = 1_048_576;
/// How long a log's name may be: it is part of names for which servers have limits.
const LOG_NAME_CHARS_MAX: usize = 64;
/// What a filter may say, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Whose lines a filter may name: ours, and those of the libraries that write any.
const CRATES: [&str; 9] = [
    "refold",
    "refold_adapters",
    "refold_domain",
    "refold_projections",
    "hyper",
    "hyper_util",
    "mio",
    "poem",
    "poem_openapi",
];

/// The section whose keys are routes: which ones there are is not known here.
pub(super) const ACCESS: &str = "access";

/// Every key but those of [`ACCESS`], with what is allowed for it.
pub(super) const KEYS: &[(&str, Allowed)] = &[
    ("data_dir", Allowed::Path),
    ("role", Allowed::Word(&["all", "api", "projector"])),
    ("http.listen", Allowed::Address),
    ("http.body_bytes_max", Allowed::Number(1_024..=16 * MIB)),
    ("http.ndjson_bytes_max", Allowed::Number(1_024..=64 * MIB)),
    ("http.ndjson_requests_max", Allowed::Number(1..=1_000)),
    ("http.connections_max", Allowed::Number(1..=1_000_000)),
    ("http.requests_max", Allowed::Number(1..=100_000)),
    ("http.streams_max", Allowed::Number(1..=1_000_000)),
    ("http.stream_timeout_ms", Allowed::Number(TIMES_MS)),
    ("http.head_timeout_ms", Allowed::Number(TIMES_MS)),
    ("http.body_timeout_ms", Allowed::Number(TIMES_MS)),
    ("http.answer_timeout_ms", Allowed::Number(TIMES_MS)),
    ("http.stop_timeout_ms", Allowed::Number(TIMES_MS)),
    ("auth.secret", Allowed::Secret),
    ("auth.previous_secret", Allowed::Secret),
    ("auth.issuer", Allowed::Name),
    ("auth.audience", Allowed::Name),
    ("auth.token_minutes", Allowed::Number(1..=1_440)),
    ("auth.hashes_max", Allowed::Number(0..=256)),
    ("auth.hashes_queue_max", Allowed::Number(0..=10_000)),
    ("auth.failed_logins_max", Allowed::Number(0..=1_000_000)),
    ("auth.failed_logins_window_ms", Allowed::Number(TIMES_MS)),
    ("auth.logins_max", Allowed::Number(0..=1_000_000)),
    ("auth.logins_window_ms", Allowed::Number(TIMES_MS)),
    ("log.broker", Allowed::Broker),
    ("log.name", Allowed::LogName),
    ("log.create", Allowed::Truth),
    ("log.check_every_ms", Allowed::Number(TIMES_MS)),
    ("log.partitions", Allowed::Number(1..=1_024)),
    ("store.kind", Allowed::Word(&["embedded", "redis"])),
    ("writer.queue_commands_max", Allowed::Number(1..=1_000_000)),
    ("writer.append_wait_ms", Allowed::Number(TIMES_MS)),
    ("decide.wait_ms", Allowed::Number(TIMES_MS)),
    ("projections.dir", Allowed::PathOrEmpty),
    ("vehicles.suspicious", Allowed::Categories),
    ("cors.origins", Allowed::Origins),
    ("telemetry.log", Allowed::Filter),
    ("telemetry.format", Allowed::Word(&["text", "json"])),
];

/// What is allowed for a key.
#[derive(Clone)]
pub(super) enum Allowed {
    /// A whole number within bounds.
    Number(RangeInclusive<u64>),
    /// One of these words.
    Word(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// A path.
    Path,
    /// A path, or nothing.
    PathOrEmpty,
    /// A filter of `tracing`.
    Filter,
    /// A text, but not the empty one.
    Name,
    /// Enough bytes, or nothing; never shown.
    Secret,
    /// Categories of vehicles.
    Categories,
    /// Origins of pages.
    Origins,
    /// A broker.
    Broker,
    /// What the names on any server may begin with.
    LogName,
    /// Yes or no.
    Truth,
    /// Whatever a setting of a broker or store may be: of the kind that its default is.
    Like(&'static toml::Value),
}

/// Whether an entry gives a secret away to whoever reads it. What everybody has as it comes is none.
pub(super) fn holds_secret(Entry { key, value, .. }: &Entry) -> bool {
    let usual = options::default_of(key).and_then(toml::Value::as_str).unwrap_or_default();
    allowed(key).is_some_and(|allowed| is_hidden(key, &allowed))
        && matches!(&value.kind, ValueKind::String(text) if !text.is_empty() && text != usual)
}

/// Finds fault with an entry: its key is not known, or its value is not allowed.
pub(super) fn problem(entry: &Entry) -> Result<(), String> {
    let Entry { key, value, source } = entry;
    if let Some(route) = route(key) {
        return needs(route, value).map_err(|wrong| format!("{source}: {wrong}"));
    }
    if let Some(allowed) = allowed(key) {
        let fits = allowed.has(&value.kind, source.is_text());
        let shown = if is_hidden(key, &allowed) { "(secret)".to_owned() } else { shown(&value.kind) };
        let fault = || format!("{source}: {key} = {shown} is not allowed: it must be {allowed}");
        return fits.then_some(()).ok_or_else(fault);
    }
    if key != ACCESS && (key.is_empty() || names_in(key).is_empty()) {
        return Err(format!("{source}: {}", unknown(key)));
    }
    let sets_nothing = matches!(value.kind, ValueKind::Table(_));
    let names = names_in(key).into_iter().collect::<Vec<_>>().join(", ");
    let inside = if key == ACCESS { "routes, such as \"GET /stats\"" } else { &names };
    let fault = || format!("{source}: {key} is a section, not a value; its keys: {inside}");
    sets_nothing.then_some(()).ok_or_else(fault)
}

fn allowed(key: &str) -> Option<Cow<'static, Allowed>> {
    let ours = KEYS.iter().find(|(known, _)| *known == key).map(|(_, allowed)| Cow::Borrowed(allowed));
    ours.or_else(|| Some(Cow::Owned(Allowed::Like(options::default_of(key)?))))
}

/// Whether its value must not be shown, not even where it is wrong.
fn is_hidden(key: &str, allowed: &Allowed) -> bool {
    matches!(allowed, Allowed::Secret) || matches!(allowed, Allowed::Like(_)) && options::is_secret(key)
}

/// The route that a key of [`ACCESS`] names.
pub(super) fn route(key: &str) -> Option<&str> {
    key.strip_prefix(ACCESS)?.strip_prefix('.')
}

/// Finds fault with what a route is said to need.
fn needs(route: &str, value: &Value) -> Result<(), String> {
    let is_need = |need: &Need| matches!(&value.kind, ValueKind::String(text) if text == need.name());
    let shown = || shown(&value.kind);
    let words = || Need::ALL.map(Need::name).join("\" or \"");
    let fault = || {
        format!(
            "[{ACCESS}] {} = {} is not allowed: it must be \"{}\"",
            nearest::quoted(route),
            shown(),
            words()
        )
    };
    Need::ALL.iter().any(is_need).then_some(()).ok_or_else(fault)
}

/// A sentence about a key that is not known, with those that are known at its level.
fn unknown(key: &str) -> String {
    let above = |key: &'_ str| key.rsplit_once('.').map(|(above, _)| above.to_owned());
    let mut sections = successors(above(key), |section| above(section));
    if let Some(value) = sections.find(|section| allowed(section).is_some()) {
        return format!("unknown key {}: {value} is a value, not a section", nearest::quoted(key));
    }
    let (section, name) = match key.split_once('.') {
        Some((section, rest)) if !names_in(section).is_empty() => (section, rest),
        _ => ("", key),
    };
    let name = name.split('.').next().unwrap_or(name);
    let hint = nearest::hint(name, names_in(section).iter().copied());
    match section {
        "" => format!("unknown key {}: {hint}", nearest::quoted(name)),
        _ => format!("unknown key {} in [{section}]: {hint}", nearest::quoted(name)),
    }
}

impl Allowed {
    fn has(&self, value: &ValueKind, is_text: bool) -> bool {
        match (self, value) {
            (Self::Number(range), ValueKind::I64(number)) => {
                u64::try_from(*number).is_ok_and(|number| range.contains(&number))
            }
            (Self::Number(range), ValueKind::String(text)) if is_text => {
                text.parse().is_ok_and(|number: u64| range.contains(&number))
            }
            (Self::Word(words), ValueKind::String(text)) => words.contains(&text.as_str()),
            (Self::Address, ValueKind::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::Path, ValueKind::String(text)) => !text.is_empty(),
            (Self::PathOrEmpty, ValueKind::String(_)) => true,
            (Self::Filter, ValueKind::String(text)) => is_filter(text),
            (Self::Name, ValueKind::String(text)) => !text.trim().is_empty(),
            (Self::Secret, ValueKind::String(text)) => text.is_empty() || is_secret(text),
            (Self::Categories, ValueKind::String(text)) => text.parse::<Categories>().is_ok(),
            (Self::Origins, value) => are_origins(value, is_text),
            (Self::Broker, ValueKind::String(text)) => brokers().any(|broker| broker == text),
            (Self::LogName, ValueKind::String(text)) => is_log_name(text),
            (Self::Truth, value) => options::fitting(&toml::Value::Boolean(true), value, is_text).is_some(),
            (Self::Like(default), value) => options::fitting(default, value, is_text).is_some(),
            _ => false,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(range) => write!(f, "a whole number, {} to {}", range.start(), range.end()),
            Self::Word(words) => write!(f, "\"{}\"", words.join("\" or \"")),
            Self::Address => f.write_str("an IP address and a port, such as \"127.0.0.1:8080\""),
            Self::Path => f.write_str("a path"),
            Self::PathOrEmpty => f.write_str("a path, or \"\""),
            Self::Name => f.write_str("a text that is not empty"),
            Self::Secret => write!(
                f,
                "at least {SECRET_BYTES_MIN} bytes, {SECRET_BYTES_DIFFER_MIN} different ones among them, such as \
                 `openssl rand -base64 48` prints, or \"\""
            ),
            Self::Categories => f.write_str(CATEGORIES_EXPECTED),
            Self::Origins => write!(
                f,
                "a list of at most {ORIGINS_MAX} origins as browsers write them, such as \"https://app.example.org\", \
                 without a path"
            ),
            Self::Broker => write!(f, "\"{}\"", brokers().collect::<Vec<_>>().join("\" or \"")),
            Self::LogName => {
                write!(f, "1 to {LOG_NAME_CHARS_MAX} of the letters a to z, digits, \"-\" and \"_\"")
            }
            Self::Truth => f.write_str("true or false"),
            Self::Like(default) => f.write_str(options::expected(default)),
            Self::Filter => write!(
                f,
                "a level ({}) or a filter of levels and crates, such as \"info,refold=debug\"; crates: {}",
                LEVELS.join(", "),
                crates().collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

/// Whose lines there may be: ours, and those of the clients of brokers and stores, which are left out unless somebody names them.
fn crates() -> impl Iterator<Item = &'static str> {
    let clients = BROKERS.iter().map(|broker| broker.client).chain(KINDS.iter().map(|kind| kind.client));
    CRATES.into_iter().chain(clients.flatten().copied())
}

fn is_crate(name: &str) -> bool {
    crates().any(|known| known == name)
}

/// Whether `tracing` takes it, and it names levels and crates that are: anything else would silence everything.
fn is_filter(text: &str) -> bool {
    let knows = |part: &str| {
        let (target, level) =
            part.split_once('=').map_or((part, None), |(target, level)| (target, Some(level)));
        let is_level = |word: &str| LEVELS.contains(&word.to_lowercase().as_str());
        let owner = target.split("::").next().unwrap_or(target);
        match level {
            Some(level) => is_crate(owner) && is_level(level),
            None => is_crate(owner) || is_level(target),
        }
    };
    text.split(',').all(|part| knows(part.trim())) && EnvFilter::try_new(text).is_ok()
}

fn is_log_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=LOG_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits)
}

fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) => nearest::quoted(text),
        ValueKind::Table(_) => "a table".to_owned(),
        // With its point, which tells it from the whole number.
        ValueKind::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    }
}

/// The names that stand in a section, or outside of all for the section "".
fn names_in(section: &str) -> BTreeSet<&'static str> {
    let inside = KEYS.iter().filter_map(|(key, _)| match section {
        "" => Some(*key),
        _ => key.strip_prefix(section)?.strip_prefix('.'),
    });
    let also = section.is_empty().then_some(ACCESS);
    let of_brokers = options::names_in(section);
    inside.map(|key| key.split('.').next().unwrap_or(key)).chain(also).chain(of_brokers).collect()
}
