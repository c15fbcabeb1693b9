//! Lines of JSON, a command each; blank ones are skipped.

use super::{Row, Sent, read};
use crate::cli::feed::system::System;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// How many bytes a line may have: as many as a service takes of one command unless it is told otherwise.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    system: System,
    line: u64,
}

impl Lines {
    pub(super) fn new(path: &Path, file: File, system: System) -> Self {
        Self { path: path.to_owned(), file: BufReader::new(file), system, line: 0 }
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut line = self.file.by_ref().take(LINE_BYTES_MAX + 1);
            let bytes = line.read_until(b'\n', &mut text);
            if bytes.with_context(|| format!("cannot read {}", self.path.display()))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if text.len() as u64 > LINE_BYTES_MAX {
                bail!("{}:{}: has more than {LINE_BYTES_MAX} bytes", self.path.display(), self.line);
            }
            let command = text.trim_ascii();
            if !command.is_empty() {
                let sent = |()| Sent { command: command.to_owned(), times: 1 };
                let read = read(command, self.system).map(sent);
                return Ok(Some(Row { line: self.line, read }));
            }
        }
    }
}
