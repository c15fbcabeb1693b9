//! `refold token`: prints a token for an operator, signed with the service's own secret.
//!
//! Who can read the secret is the operator: so no user is needed, and none is asked for a password.

use super::Files;
use crate::access::pass::OPERATOR;
use crate::access::tokens::Tokens;
use crate::access::{Caller, secrets};
use crate::settings::Settings;
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use refold_domain::users::Role;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How many minutes a token may be good: 30 days.
const MINUTES_MAX: u64 = 43_200;

/// What stands below the help.
pub const EXAMPLES: &str = "Examples:
  REFOLD_TOKEN=$(refold token) refold tail      what happens, which is for admins only
  REFOLD_TOKEN=$(refold token --role user) refold feed --system detections
  curl -H \"Authorization: Bearer $(refold token)\" http://127.0.0.1:8080/stats";

/// What to print.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// What the token is good for
    #[arg(long, default_value = "admin", value_parser = PossibleValuesParser::new(["user", "admin"]).map(|word| role(&word)))]
    pub role: Role,
    /// How many minutes it is good, instead of auth.token_minutes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MINUTES_MAX))]
    pub minutes: Option<u64>,
    /// Who uses it: what the service tells of its use
    #[arg(long, default_value = "console", value_parser = name)]
    pub name: String,
    /// More settings files.
    #[command(flatten)]
    pub files: Files,
}

/// Prints a token.
///
/// # Errors
/// Where there is no secret to sign it with.
pub fn run(mut settings: Settings, options: &Options) -> Result<ExitCode> {
    if let Some(minutes) = options.minutes {
        settings.auth.token_life = Duration::from_mins(minutes);
    }
    let token = of_operator(&settings, options.role, &options.name)?;
    writeln!(io::stdout(), "{token}").context("cannot print it")?;
    Ok(ExitCode::SUCCESS)
}

/// A token for an operator of the service with these settings.
///
/// # Errors
/// Where there is no secret to sign it with.
pub fn of_operator(settings: &Settings, role: Role, name: &str) -> Result<String> {
    let secret = secrets::find(settings).context("cannot sign a token")?;
    let id = format!("{OPERATOR}{name}");
    let caller = Caller { username: id.clone(), id, role };
    Ok(Tokens::new(&secret, &settings.auth).issue(&caller, 0)?.token)
}

fn role(word: &str) -> Role {
    if word == "admin" { Role::Admin } else { Role::User }
}

fn name(text: &str) -> Result<String, &'static str> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    fits.then(|| text.to_owned()).ok_or("1 to 64 letters, digits and -_.@")
}
