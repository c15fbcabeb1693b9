//! The command line: what can be typed, and which file does it.
//!
//! Exit codes: 0 done, 1 failed, 2 typed wrongly.

pub mod backup;
pub mod check;
mod copying;
pub mod feed;
pub mod generate;
pub mod remote;
pub mod report;
pub mod restore;
pub mod serve;
pub mod store;
pub mod tail;
pub mod token;
pub mod topics;
pub mod user;

use crate::plain::lines;
use crate::settings::Settings;
use crate::settings::role::Role;
use anyhow::{Error, Result};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit code of a command that was typed wrongly.
pub const USAGE: u8 = 2;

const EXAMPLES: &str = "Examples:
  refold serve                               serve on 127.0.0.1:8080, data in ./data
  refold --config refold.toml serve          with settings of your own
  REFOLD__HTTP__LISTEN=0.0.0.0:80 refold serve
                                             a setting from the environment
  refold serve --config config/nats.toml     with the log on NATS
  refold serve --config config/nats.toml --config config/redis.toml
                                             and the read models on Redis
  refold check                               is everything in order to serve?
  export REFOLD_TOKEN=$(refold token)        be an operator, for the next two
  refold tail --type food.observed --json    print foods as they are recorded, one JSON object a line
  refold feed --rate 20                      send it made-up commands of all five systems, 20 a second
  refold backup /backups/refold.sqlite       copy the log, while it is served
  refold store empty --yes                   drop the read models; they are folded again from the log

Without --config, settings come from the files that $REFOLD_CONFIG names, or else from the user's
refold/config.toml and from ./refold.toml where they exist. config/default.toml explains every setting.";

/// What stands below the help of `serve`.
const SERVE_EXAMPLES: &str = "Examples:
  refold serve
  refold serve --config refold.toml
  refold serve --config config/nats.toml --config config/redis.toml --role api
  REFOLD__HTTP__LISTEN=127.0.0.1:9000 REFOLD__DATA_DIR=/var/lib/refold refold serve

Every setting is explained in config/default.toml. The variable of one is REFOLD__ and its key, with __ for the dot.";

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "refold",
    version,
    about = "An event-sourced service: commands in, one log, read models out"
)]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    /// The settings files of all commands.
    #[command(flatten)]
    pub files: Files,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings files; they may stand before and after the command's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Files {
    /// Read settings from this file; later ones win over earlier ones
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve commands and queries until stopped
    ///
    /// Serves the page at /, the API with its description at /docs, and everything that the API describes. Needs nothing
    /// but a directory to write to; one process at a time has it, unless a broker and Redis hold all there is. SIGTERM or Ctrl-C stops it: what is under way is
    /// finished first. The log goes to standard error.
    ///
    /// Exit codes: 0 stopped and all finished, 1 it must not start (and why), or something was not finished, 2 typed
    /// wrongly.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        /// More settings files.
        #[command(flatten)]
        files: Files,
        /// What the process does, instead of what the setting `role` says
        #[arg(long, value_enum)]
        role: Option<Role>,
    },
    /// Look whether settings, log, store and definitions are in order; changes neither log nor store
    ///
    /// Each line of the report is something that was checked: in order, at risk (it works, and may do harm) or failed,
    /// with what to do about it. Where the service runs, it has the data; then ask its /readyz.
    ///
    /// Exit codes: 0 nothing failed, 1 something did, 2 typed wrongly.
    Check {
        /// More settings files.
        #[command(flatten)]
        files: Files,
        /// Print the report as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the events of a running service as they happen
    ///
    /// Each event is a line: its time, its type, what it is about, its data. A connection that breaks is made again,
    /// and what happened meanwhile is printed then: nothing is left out and nothing comes twice. Ends when whoever
    /// reads the output has had enough (`refold tail --from start | head`), or with Ctrl-C.
    ///
    /// Exit codes: 0 the reader had enough, 1 the service cannot be reached at first or refuses, 2 typed wrongly; Ctrl-C ends
    /// it as it ends any command.
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::Options),
    /// Play the traffic of the five systems against a running service
    ///
    /// Sends introductions, foods, purchases, detections and pictures, made up or from a file, and prints how many of each
    /// the service recorded and how fast it was. Each request has an Idempotency-Key; one whose outcome is not known (the
    /// connection broke, the service was busy or restarted) is repeated under its key for up to 60 s and counts once. So
    /// what is said to be accepted is what the views must have more than before. Ctrl-C ends it with the summary.
    ///
    /// Where the service wants a token and none is given (--token, $REFOLD_TOKEN), it signs its own, of a user, as `refold
    /// token` does, and another whenever one ends. One that was given ends with its time, and so does the feed: the summary
    /// says where.
    ///
    /// Exit codes: 0 all that was to be sent is recorded, 1 something is not, or it ended before its end, 2 typed wrongly.
    #[command(after_help = feed::EXAMPLES)]
    Feed(Box<feed::Options>),
    /// Copy the log into a file, while it is served or not
    ///
    /// FILE gets the log as it is at one moment: everything that was confirmed before the backup began is in it. The service
    /// goes on meanwhile. The copy is checked as `refold check` does, then takes its place all at once: a backup that fails
    /// or is killed leaves no FILE (killed, it leaves a file FILE.*.partial, which can be removed). Only its owner may read
    /// it: it has everything in it that was ever recorded. Read models are not in it, as they are folded from the log, and
    /// neither are settings and definitions.
    ///
    /// Exit codes: 0 FILE is a whole copy, 1 there is none (and why), 2 typed wrongly.
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Options),
    /// Put a backup in place as the log of a data directory that has none
    ///
    /// FILE must be a whole log with the configured number of partitions, no service may have the data directory, and no log
    /// may be in it: it is never replaced. What was recorded after the backup is lost: it counts anew if it is sent again,
    /// and its receipts and positions mean nothing any more. Read models that were folded from something else, or from more
    /// than there now is, are removed; the next start folds them again.
    ///
    /// Exit codes: 0 restored, 1 not restored (and why), 2 typed wrongly.
    #[command(after_help = restore::EXAMPLES)]
    Restore(restore::Options),
    /// Look after the store of read models
    ///
    /// It holds what was folded from the log, and nothing else: nothing in it is the only copy of anything.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Look after what the log needs on its broker: topics, streams, queues
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Print a token for an operator of the service
    ///
    /// It is signed with the secret of the settings, or with the one that a service on this machine made at its first start
    /// (data_dir/token.secret). Whoever can read that is an operator, and needs no user. `feed`, `tail` and `user` take it
    /// from $REFOLD_TOKEN.
    ///
    /// Exit codes: 0 printed, 1 there is no secret to sign it with, 2 typed wrongly.
    #[command(after_help = token::EXAMPLES)]
    Token(token::Options),
    /// Register users at a running service, shut them out, let them in again, list them
    ///
    /// Asks the service at --url with the token in --token or $REFOLD_TOKEN. Without one it signs one itself, as `refold token`
    /// does: so the first admin needs no other.
    ///
    /// Exit codes: 0 done, 1 the service cannot be reached or refuses, 2 typed wrongly.
    #[command(subcommand, after_help = user::EXAMPLES)]
    User(Box<user::Action>),
    /// Print what makes a shell complete refold's commands and options
    #[command(after_help = generate::COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page
    #[command(after_help = generate::MAN_EXAMPLES)]
    Man {
        /// Write the pages of all commands into this directory instead, which is made if missing
        #[arg(long, value_name = "DIRECTORY")]
        dir: Option<PathBuf>,
    },
}

/// What to do with the store.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Drop all read models; the next start folds them again from the log, which is not touched
    ///
    /// The remedy where the store and the log have parted, after a backup was restored for example. The server must not
    /// be running. Nothing is lost: whatever matters is in the log.
    Empty {
        /// More settings files.
        #[command(flatten)]
        files: Files,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
}

/// What to do with what the log needs on its broker.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TopicsCommand {
    /// Make what is missing, with settings that delete nothing, and look whether what is there deletes nothing
    ///
    /// What is there is not changed, so it may be repeated. `serve` does the same unless log.create is false: then somebody
    /// who may make topics does it with this, once, and the service needs no such right.
    ///
    /// Exit codes: 0 all is there and keeps everything, 1 it is not (and why), 2 typed wrongly.
    Create {
        /// More settings files.
        #[command(flatten)]
        files: Files,
    },
}

impl Cli {
    /// Does what was typed.
    ///
    /// # Errors
    /// When it could not be done.
    pub fn run(self) -> Result<ExitCode> {
        let mut files = self.files.config;
        let mut settings = |more: Files| {
            files.extend(more.config);
            Settings::load(&files)
        };
        match self.command {
            Command::Serve { files, role } => {
                let settings = settings(files)?;
                serve::run(Settings { role: role.unwrap_or(settings.role), ..settings })
            }
            Command::Check { files, json } => check::run(settings(files), json),
            Command::Tail(options) => tail::run(&options),
            Command::Token(options) => token::run(settings(options.files.clone())?, &options),
            Command::Feed(options) => {
                let more = options.files.clone();
                feed::run(|| settings(more), &options)
            }
            Command::User(action) => {
                let more = action.with().files.clone();
                user::run(|| settings(more), &action)
            }
            Command::Completions { shell } => generate::completions(shell),
            Command::Man { dir } => generate::man(dir.as_deref()),
            Command::Backup(options) => backup::run(&settings(options.files.clone())?, &options),
            Command::Restore(options) => restore::run(&settings(options.files.clone())?, &options),
            Command::Topics(TopicsCommand::Create { files }) => topics::create(&settings(files)?),
            Command::Store(StoreCommand::Empty { files, yes }) => store::empty(&settings(files)?, yes),
        }
    }
}

/// An error with its causes, one a line, in the words for the terminal. A library's words may quote what somebody sent.
pub fn told(error: &Error) -> String {
    let mut text = format!("refold: {}", lines(&error.to_string()));
    for cause in error.chain().skip(1) {
        let indented = lines(&cause.to_string()).replace('\n', "\n    ");
        write!(text, "\n  because {indented}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    fn files(names: &[&str]) -> Files {
        Files { config: names.iter().map(PathBuf::from).collect() }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn files_stand_before_and_after_the_command() {
        let typed = parse("refold --config a --config b serve --config c").unwrap();
        assert_eq!(typed.files, files(&["a", "b"]));
        assert_eq!(typed.command, Command::Serve { files: files(&["c"]), role: None });
    }

    #[test]
    fn every_command_is_understood() {
        for (line, command) in [
            ("refold serve", Command::Serve { files: files(&[]), role: None }),
            ("refold serve --role api", Command::Serve { files: files(&[]), role: Some(Role::Api) }),
            ("refold topics create", Command::Topics(TopicsCommand::Create { files: files(&[]) })),
            ("refold check", Command::Check { files: files(&[]), json: false }),
            ("refold completions fish", Command::Completions { shell: Shell::Fish }),
            ("refold man", Command::Man { dir: None }),
            ("refold check --json", Command::Check { files: files(&[]), json: true }),
            (
                "refold store empty --yes",
                Command::Store(StoreCommand::Empty { files: files(&[]), yes: true }),
            ),
        ] {
            assert_eq!(parse(line).unwrap().command, command, "{line}");
        }
    }

    #[test]
    fn what_is_typed_wrongly_ends_with_2() {
        for line in [
            "refold token --role root",
            "refold token --minutes 0",
            "refold token --name a:b",
            "refold",
            "refold sevre",
            "refold serve --port 1",
            "refold store",
            "refold --config",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(USAGE), "{line}");
        }
        assert!(parse("refold sevre").unwrap_err().to_string().contains("serve"), "the nearest is named");
    }

    #[test]
    fn help_and_version_end_with_0() {
        for line in ["refold --help", "refold --version", "refold store empty --help"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
        assert!(Cli::command().render_help().to_string().contains("refold store empty --yes"));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Err::<(), _>(anyhow!("it is locked\nby process 7")).context("cannot open ./data");
        let error = error.context("cannot serve").unwrap_err();
        assert_eq!(
            told(&error),
            "refold: cannot serve\n  because cannot open ./data\n  because it is locked\n    by process 7"
        );
    }

    #[test]
    fn what_an_error_quotes_does_not_move_the_cursor() {
        let error = anyhow!("unknown `\u{1b}[2J\u{9b}`").context("no list\nof \u{202e}users");
        assert_eq!(told(&error), "refold: no list\nof \\u202eusers\n  because unknown `\\u001b[2J\\u009b`");
    }
}
