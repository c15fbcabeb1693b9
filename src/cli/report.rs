//! A report: what was checked, what was found, and what to do about it.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// In order.
    Ok,
    /// It works, and something about it may do harm.
    Risk,
    /// It does not work.
    Failed,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: a word or two.
    pub name: String,
    /// What it came to.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All that was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which it was checked.
    pub checks: Vec<Check>,
}

impl Check {
    /// It is in order.
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Ok, found: found.into(), remedy: None }
    }

    /// It works, and may do harm unless the remedy is taken.
    pub fn risk(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Risk, remedy: Some(remedy.into()), ..Self::ok(name, found) }
    }

    /// It does not work until the remedy is taken.
    pub fn failed(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, remedy: Some(remedy.into()), ..Self::ok(name, found) }
    }
}

impl Report {
    /// Success unless something failed; a risk is no failure.
    pub fn exit_code(&self) -> ExitCode {
        if self.count(Outcome::Failed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Prints it on standard output: as one JSON object, or for people, coloured where a terminal shows colours and
    /// `NO_COLOR` does not forbid it.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn print(&self, json: bool) -> io::Result<()> {
        let mut output = anstream::stdout().lock();
        if json { self.write_json(&mut output) } else { self.write_text(&mut output) }
    }

    fn write_json(&self, output: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *output, self)?;
        writeln!(output)
    }

    fn write_text(&self, output: &mut impl Write) -> io::Result<()> {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for check in &self.checks {
            check.write_text(width, output)?;
        }
        let [ok, risks, failed] = [Outcome::Ok, Outcome::Risk, Outcome::Failed].map(|one| self.count(one));
        writeln!(output, "\n{} checked: {ok} ok, {risks} at risk, {failed} failed", self.checks.len())
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }
}

impl Check {
    fn write_text(&self, width: usize, output: &mut impl Write) -> io::Result<()> {
        let Self { name, outcome, found, remedy } = self;
        let (style, word) = (outcome.style(), outcome.word());
        let margin = format!("\n{:1$}", "", width + 2 + Outcome::WIDTH + 2);
        let found = found.trim_end().replace('\n', &margin);
        writeln!(output, "{name:width$}  {style}{word:0$}{style:#}  {found}", Outcome::WIDTH)?;
        let Some(remedy) = remedy else { return Ok(()) };
        writeln!(output, "{}=> {}", &margin[1..], remedy.trim_end().replace('\n', &margin))
    }
}

impl Outcome {
    /// How many columns the longest word takes.
    const WIDTH: usize = 6;

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Risk => "risk",
            Self::Failed => "failed",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => AnsiColor::Green.on_default(),
            Self::Risk => AnsiColor::Yellow.on_default().bold(),
            Self::Failed => AnsiColor::Red.on_default().bold(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::AutoStream;
    use serde_json::{Value, json};

    fn report() -> Report {
        Report {
            checks: vec![
                Check::ok("settings", "from refold.toml"),
                Check::risk("log", "the disk is\nnearly full", "make room"),
                Check::failed("definitions", "foods.toml:3: no", "correct it\nor remove it"),
            ],
        }
    }

    fn text(report: &Report) -> String {
        let mut plain = AutoStream::never(Vec::new());
        report.write_text(&mut plain).unwrap();
        String::from_utf8(plain.into_inner()).unwrap()
    }

    #[test]
    fn people_get_columns() {
        let expected = "\
settings     ok      from refold.toml
log          risk    the disk is
                     nearly full
                     => make room
definitions  failed  foods.toml:3: no
                     => correct it
                     or remove it

3 checked: 1 ok, 1 at risk, 1 failed
";
        assert_eq!(text(&report()), expected);
    }

    #[test]
    fn only_the_outcome_is_coloured() {
        let mut coloured = Vec::new();
        report().write_text(&mut coloured).unwrap();
        let coloured = String::from_utf8(coloured).unwrap();
        assert!(coloured.starts_with("settings     \u{1b}[32mok    \u{1b}[0m  from"), "{coloured:?}");
        assert_eq!(coloured.matches("\u{1b}[0m").count(), 3);
    }

    #[test]
    fn machines_get_json() {
        let mut bytes = Vec::new();
        report().write_json(&mut bytes).unwrap();
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            read["checks"][0],
            json!({"name": "settings", "outcome": "ok", "found": "from refold.toml"})
        );
        assert_eq!(read["checks"][1]["remedy"], "make room");
        assert_eq!(bytes.last(), Some(&b'\n'));
    }

    #[test]
    fn only_a_failure_fails() {
        let code = |checks| format!("{:?}", Report { checks }.exit_code());
        let [ok, risk, failed] = report().checks.try_into().unwrap();
        assert_eq!(code(vec![ok, risk]), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(vec![failed]), format!("{:?}", ExitCode::FAILURE));
    }
}
