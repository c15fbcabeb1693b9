//! A table of commands (CSV): a field a column, named in the first line. A column `count` says how often each is sent.

use super::{Row, Sent, check, skip_mark};
use crate::cli::feed::system::{Column, System};
use anyhow::{Context, Result, anyhow, bail};
use csv::{Reader, StringRecord};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// The column that is no field.
const COUNT: &str = "count";
/// How many bytes the line with the columns' names may have.
const NAMES_BYTES_MAX: u64 = 1 << 16;
/// How often one command is sent at most.
const COUNT_MAX: u64 = 1_000_000_000;

type Columns = Vec<(String, Option<Column>)>;

/// Reads a table.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    table: Reader<File>,
    system: System,
    /// What stands in each column: its name as it is written, and a field unless it is the count.
    columns: Columns,
    record: StringRecord,
    /// How many lines the library is behind: where lines end in two characters, it has not read the second one yet.
    behind: u64,
}

impl Table {
    /// Begins with the names of the columns.
    pub(super) fn new(path: &Path, mut file: File, system: System) -> Result<Self> {
        if system.columns().is_empty() {
            bail!("{} do not fit into a table: send lines of JSON, in a file not called .csv", system.name());
        }
        let unread = || format!("cannot read {}", path.display());
        let behind = u64::from(ends_in_two(&mut file).with_context(unread)?);
        skip_mark(&mut file).with_context(unread)?;
        let mut table = Reader::from_reader(file);
        let names = table.headers().with_context(unread)?;
        let columns = columns(names, system).map_err(|reason| anyhow!("{}:1: {reason}", path.display()))?;
        Ok(Self { path: path.to_owned(), table, system, columns, record: StringRecord::new(), behind })
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        let line = self.table.position().line() + self.behind;
        match self.table.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Row { line, read: self.read() })),
            Err(error) if error.is_io_error() => {
                Err(error).with_context(|| format!("cannot read {}", self.path.display()))
            }
            Err(error) => Ok(Some(Row { line, read: Err(reason(error.kind())) })),
        }
    }

    fn read(&self) -> Result<Sent, String> {
        let (mut fields, mut times) = (Map::new(), 1);
        for ((name, column), cell) in self.columns.iter().zip(&self.record) {
            match column {
                None => times = count(cell)?,
                // A cell that is empty says nothing; the check tells where something must be said.
                Some(_) if cell.is_empty() => {}
                Some(column) => drop(fields.insert(name.clone(), value(cell, column.is_number))),
            }
        }
        let command = Value::Object(fields);
        check(&command, self.system)?;
        Ok(Sent { command: command.to_string().into_bytes(), times })
    }
}

/// Whether the first line ends in a carriage return and a line feed.
fn ends_in_two(file: &mut File) -> io::Result<bool> {
    let mut line = Vec::new();
    BufReader::new(file.by_ref()).take(NAMES_BYTES_MAX).read_until(b'\n', &mut line)?;
    file.rewind()?;
    Ok(line.ends_with(b"\r\n"))
}

fn columns(names: &StringRecord, system: System) -> Result<Columns, String> {
    let mut columns = Columns::new();
    for name in names {
        if columns.iter().any(|(known, _)| known == name) {
            return Err(format!("the column {name:?} is there twice"));
        }
        columns.push(column(name, system)?);
    }
    Ok(columns)
}

fn column(name: &str, system: System) -> Result<(String, Option<Column>), String> {
    if name == COUNT {
        return Ok((name.to_owned(), None));
    }
    // Producers write some names in capitals, and the service takes them so.
    let known = system.columns().iter().find(|column| column.name.eq_ignore_ascii_case(name));
    let names = || system.columns().iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
    let known = known.ok_or_else(|| {
        format!("there is no column {name:?} in {}; known: {}, {COUNT}", system.name(), names())
    })?;
    Ok((name.to_owned(), Some(*known)))
}

fn value(cell: &str, is_number: bool) -> Value {
    match cell.parse::<i64>() {
        Ok(number) if is_number => number.into(),
        _ => cell.into(),
    }
}

fn count(cell: &str) -> Result<u64, String> {
    let count = cell.parse().ok().filter(|count| *count <= COUNT_MAX);
    count.ok_or_else(|| format!("{COUNT} must be a whole number from 0 to {COUNT_MAX}"))
}

fn reason(kind: &csv::ErrorKind) -> String {
    match kind {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let cells = if *len == 1 { "cell" } else { "cells" };
            format!("has {len} {cells}, where the first line names {expected_len} columns")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".into(),
        _ => "is no line of a table".into(),
    }
}
