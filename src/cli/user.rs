//! `refold user`: registers users at a running service, shuts them out, lets them in again, lists them.
//!
//! Without a token it signs one itself, where it can read the service's secret: so the first admin needs no other.

use super::Files;
use super::remote::{Remote, own, told};
use super::token::of_operator;
use crate::plain::plain;
use crate::settings::Settings;
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use refold_domain::users::Role;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How long the service may take for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How many users are asked for at a time.
const PAGE: &str = "1000";
/// How the service knows who it was that did this.
const OPERATOR: &str = "console";

/// What stands below the help.
pub const EXAMPLES: &str = "Examples:
  refold user add ada --name Ada --lastname Lovelace --email ada@example.org --admin
                                               asks for the password
  pass show refold/bob | refold user add bob --name Bob --lastname Builder --email bob@example.org
  refold user disable bob                      their tokens stop working within seconds
  refold user list --json | jq .username";

/// What to do with users.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Register a user; the password is asked for, or read from the first line of standard input
    Add {
        /// The name to log in with
        username: String,
        /// The first name
        #[arg(long)]
        name: String,
        /// The last name
        #[arg(long)]
        lastname: String,
        /// Where to write to
        #[arg(long)]
        email: String,
        /// Let them do everything
        #[arg(long)]
        admin: bool,
        /// The service, and who asks.
        #[command(flatten)]
        with: With,
    },
    /// Shut a user out: no login, and no token of theirs, is taken any more
    Disable {
        /// The name to log in with
        username: String,
        /// The service, and who asks.
        #[command(flatten)]
        with: With,
    },
    /// Let a user in again
    Enable {
        /// The name to log in with
        username: String,
        /// The service, and who asks.
        #[command(flatten)]
        with: With,
    },
    /// List all users
    List {
        /// Print each as one JSON object on a line
        #[arg(long)]
        json: bool,
        /// The service, and who asks.
        #[command(flatten)]
        with: With,
    },
}

/// The service, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct With {
    /// The service; without a token one is signed with the secret of the settings.
    #[command(flatten)]
    pub remote: Remote,
    /// More settings files.
    #[command(flatten)]
    pub files: Files,
}

/// A user, as the service lists them.
#[derive(Debug, Serialize, Deserialize)]
struct Someone {
    id: String,
    username: String,
    name: String,
    lastname: String,
    role: Role,
    enabled: bool,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Someone>,
    next: Option<String>,
}

impl Action {
    /// The service, and who asks.
    pub fn with(&self) -> &With {
        match self {
            Self::Add { with, .. }
            | Self::Disable { with, .. }
            | Self::Enable { with, .. }
            | Self::List { with, .. } => with,
        }
    }
}

/// Does it.
///
/// # Errors
/// Where the service cannot be reached, or refuses, or there is no token.
pub fn run(settings: impl FnOnce() -> Result<Settings>, action: &Action) -> Result<ExitCode> {
    let mut remote = action.with().remote.clone();
    if remote.token.as_ref().is_none_or(String::is_empty) {
        let settings = settings().context("there is no token: give one as $REFOLD_TOKEN")?;
        let signed = of_operator(&settings, Role::Admin, OPERATOR);
        remote.token = Some(signed.context("there is no token: give one as $REFOLD_TOKEN")?);
        // Whoever else listens at the usual place must not be given it.
        remote.url = Some(remote.url.map_or_else(|| own(settings.http.listen), Ok)?);
    }
    let client = remote.client()?.timeout(ANSWER_WAIT).build()?;
    let asked = Asked { remote, client };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(asked.done(action))?;
    Ok(ExitCode::SUCCESS)
}

/// A service that is asked for something.
struct Asked {
    remote: Remote,
    client: Client,
}

impl Asked {
    async fn done(&self, action: &Action) -> Result<()> {
        match action {
            Action::Add { username, name, lastname, email, admin, .. } => {
                let password = password()?;
                let role = if *admin { Role::Admin } else { Role::User };
                let body = json!({
                    "username": username, "name": name, "lastname": lastname, "email": email, "password": password,
                    "role": role,
                });
                let made: Value =
                    self.sent(self.request(Method::POST, "/users").json(&body)).await?.json().await?;
                println!("{username} is registered: {}", plain(made["id"].as_str().unwrap_or_default()));
            }
            Action::Disable { username, .. } => {
                self.sent(self.request(Method::PUT, &self.disabled(username)?)).await?;
                println!("{username} is shut out.");
            }
            Action::Enable { username, .. } => {
                self.sent(self.request(Method::DELETE, &self.disabled(username)?)).await?;
                println!("{username} may come in.");
            }
            Action::List { json, .. } => self.listed(*json).await?,
        }
        Ok(())
    }

    async fn listed(&self, json: bool) -> Result<()> {
        let mut cursor: Option<String> = None;
        let mut output = io::stdout().lock();
        loop {
            let mut url = self.remote.at("/users");
            url.query_pairs_mut().append_pair("limit", PAGE);
            if let Some(cursor) = &cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let request = self.client.get(url);
            let page: Page =
                self.sent(request).await?.json().await.context("the service sent no list of users")?;
            for user in &page.data {
                writeln!(output, "{}", plain(&user.line(json)?)).context("cannot write the list")?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.remote.at(path))
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.with_context(|| self.remote.unreachable())?;
        if !response.status().is_success() {
            bail!(told(response).await);
        }
        Ok(response)
    }

    fn disabled(&self, username: &str) -> Result<String> {
        ensure!(!username.is_empty(), "a user name has at least one character");
        let name = percent_encoding::utf8_percent_encode(username, percent_encoding::NON_ALPHANUMERIC);
        Ok(format!("/users/{name}/disabled"))
    }
}

impl Someone {
    fn line(&self, json: bool) -> Result<String> {
        if json {
            return Ok(serde_json::to_string(self)?);
        }
        let Self { id, username, name, lastname, role, enabled } = self;
        let role = if *role == Role::Admin { "admin" } else { "user" };
        let shut = if *enabled { "" } else { "  disabled" };
        Ok(format!("{username}  {name} {lastname}  {role}  {id}{shut}"))
    }
}

/// The password: asked for twice at a terminal, else the first line of what comes in. Never an argument, which others see.
fn password() -> Result<String> {
    let input = io::stdin();
    if input.is_terminal() {
        let typed = rpassword::prompt_password("Password: ").context("cannot ask for a password")?;
        let again = rpassword::prompt_password("Again: ").context("cannot ask for a password")?;
        ensure!(typed == again, "these are two passwords");
        return Ok(typed);
    }
    first_line(&mut input.lock())
}

fn first_line(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read the password from standard input")?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    ensure!(
        !password.is_empty(),
        "no password came in: write it to standard input, or run this at a terminal"
    );
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        let read = |text: &str| first_line(&mut text.as_bytes()).ok();
        for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nstaple"] {
            assert_eq!(read(text).as_deref(), Some("correct horse"));
        }
        assert_eq!(read(" a b \n").as_deref(), Some(" a b "));
        assert_eq!((read(""), read("\n")), (None, None));
    }
}
