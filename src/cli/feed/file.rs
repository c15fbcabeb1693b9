//! Commands from a file: lines of JSON, or a table (CSV). A file is read twice, first to find what is wrong with it, so
//! that of a bad one nothing is sent.

mod lines;
mod table;

use super::system::System;
use anyhow::{Context, Result, bail};
use lines::Lines;
use refold_domain::validation::FieldError;
use refold_domain::validation::json::{self, Unreadable};
use serde_json::Value;
use std::fmt::Write;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use table::Table;

/// How many bad lines are told.
const BAD_LINES_TOLD: usize = 10;
/// How many of its bad fields are told of each.
const BAD_FIELDS_TOLD: usize = 3;

/// What a line of a file comes to.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: u64,
    read: Result<Sent, String>,
}

/// A command, and how often it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    command: Vec<u8>,
    times: u64,
}

/// A command of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// As it is sent.
    pub(super) json: Vec<u8>,
    /// Where it stands, from 1.
    pub(super) line: u64,
}

/// A file that is good all through.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    rows: Rows,
    /// How many commands it holds.
    commands: u64,
    /// The last line read, while it is to be sent again.
    row: Option<(u64, Sent)>,
}

#[derive(Debug)]
enum Rows {
    Lines(Lines),
    Table(Table),
}

impl File {
    /// Opens a file with commands of a system: a table where it is called `.csv`, or else lines of JSON.
    ///
    /// # Errors
    /// Where it cannot be read, or something in it is no command of that system: with the first of these lines.
    pub(super) fn open(path: &Path, system: System) -> Result<Self> {
        let commands = count(path, system)?;
        Ok(Self { path: path.to_owned(), rows: Rows::open(path, system)?, commands, row: None })
    }

    /// How many commands it holds.
    pub(super) fn commands(&self) -> u64 {
        self.commands
    }

    /// The next command, unless that was all.
    ///
    /// # Errors
    /// Where the file cannot be read any more, or has been changed.
    pub(super) fn next(&mut self) -> Result<Option<Command>> {
        loop {
            if let Some((line, sent)) = &mut self.row
                && sent.times > 0
            {
                sent.times -= 1;
                return Ok(Some(Command { json: sent.command.clone(), line: *line }));
            }
            let Some(Row { line, read }) = self.rows.next()? else { return Ok(None) };
            match read {
                Ok(sent) => self.row = Some((line, sent)),
                Err(reason) => {
                    bail!("{}:{line}: {reason}; the file was changed meanwhile", self.path.display())
                }
            }
        }
    }
}

/// How many commands a file holds that must be good all through.
fn count(path: &Path, system: System) -> Result<u64> {
    let mut rows = Rows::open(path, system)?;
    let (mut commands, mut bad, mut told) = (0u64, 0, String::new());
    while let Some(Row { line, read }) = rows.next()? {
        match read {
            Ok(sent) => commands = commands.saturating_add(sent.times),
            Err(reason) => {
                bad += 1;
                if bad <= BAD_LINES_TOLD {
                    write!(told, "\n{}:{line}: {reason}", path.display())?;
                }
            }
        }
    }
    if bad > BAD_LINES_TOLD {
        write!(told, "\nand {} more lines", bad - BAD_LINES_TOLD)?;
    }
    match (bad, commands) {
        (0, 0) => bail!("{} holds no command", path.display()),
        (0, commands) => Ok(commands),
        _ => bail!("lines of it are no commands of {}; nothing was sent:{told}", system.name()),
    }
}

impl Rows {
    fn open(path: &Path, system: System) -> Result<Self> {
        let mut file =
            std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        // Whatever else can be opened cannot be read twice.
        if !file.metadata()?.is_file() {
            bail!("{} is no file that can be read twice; write what it holds into one", path.display());
        }
        let is_table = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if is_table {
            Ok(Self::Table(Table::new(path, file, system)?))
        } else {
            skip_mark(&mut file).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Self::Lines(Lines::new(path, file, system)))
        }
    }

    fn next(&mut self) -> Result<Option<Row>> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Table(table) => table.next(),
        }
    }
}

/// Skips the mark that some programs write before UTF-8 (a table saved for Excel, say), if it is there.
fn skip_mark(file: &mut std::fs::File) -> io::Result<()> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let mut first = Vec::with_capacity(MARK.len());
    file.by_ref().take(MARK.len() as u64).read_to_end(&mut first)?;
    if first == MARK { Ok(()) } else { file.rewind() }
}

/// Reads a command of a system, and says what is wrong with another.
fn read(text: &[u8], system: System) -> Result<(), String> {
    match json::read(text) {
        Ok(command) => check(&command, system),
        Err(Unreadable::Repeated(errors)) => Err(told(&errors)),
        Err(Unreadable::Syntax(error)) => {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            Err(format!("is no JSON: {what} at column {}", error.column()))
        }
    }
}

fn check(command: &Value, system: System) -> Result<(), String> {
    system.check(command).map_err(|errors| told(&errors))
}

fn told(errors: &[FieldError]) -> String {
    let told = errors.iter().take(BAD_FIELDS_TOLD).map(|error| format!("{} {}", error.field, error.reason));
    let mut told: Vec<_> = told.map(|error| error.trim_start().to_owned()).collect();
    if errors.len() > BAD_FIELDS_TOLD {
        told.push("and more".into());
    }
    told.join("; ")
}

#[cfg(test)]
mod tests;
