//! `refold store`: looks after the store of read models.

use super::USAGE;
use crate::service::store_place;
use crate::settings::Settings;
use anyhow::Result;
use refold_adapters::lock::DataDir;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

/// Empties the store, once somebody has agreed.
///
/// # Errors
/// When the store cannot be emptied.
pub fn empty(settings: &Settings, yes: bool) -> Result<ExitCode> {
    let place = store_place(settings)?;
    let question = format!("Drop all read models in {place}? The next start folds them again.");
    match agreed(yes, &question, io::stdin().is_terminal(), &mut io::stdin().lock(), &mut io::stderr())? {
        Answer::Yes => {
            // A process that serves would go on with files that are gone.
            let _held = DataDir::lock(&settings.data_dir)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let removed = runtime.block_on(place.remove())?;
            println!("{}", if removed { "The store is empty." } else { "There was no store." });
            Ok(ExitCode::SUCCESS)
        }
        Answer::No => {
            eprintln!("Nothing was changed.");
            Ok(ExitCode::FAILURE)
        }
        Answer::NobodyToAsk => {
            eprintln!("refold: to empty the store in {place} without a terminal to ask at, add --yes");
            Ok(ExitCode::from(USAGE))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    NobodyToAsk,
}

fn agreed(
    yes: bool,
    question: &str,
    is_terminal: bool,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Answer> {
    if yes {
        return Ok(Answer::Yes);
    }
    if !is_terminal {
        return Ok(Answer::NobodyToAsk);
    }
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    let agrees = matches!(line.trim().to_lowercase().as_str(), "y" | "yes");
    Ok(if agrees { Answer::Yes } else { Answer::No })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(yes: bool, is_terminal: bool, typed: &str) -> (Answer, String) {
        let mut asked = Vec::new();
        let answer = agreed(yes, "Drop it?", is_terminal, &mut typed.as_bytes(), &mut asked).unwrap();
        (answer, String::from_utf8(asked).unwrap())
    }

    #[test]
    fn yes_needs_no_question() {
        for is_terminal in [true, false] {
            assert_eq!(answer(true, is_terminal, ""), (Answer::Yes, String::new()));
        }
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        assert_eq!(answer(false, false, "y\n"), (Answer::NobodyToAsk, String::new()));
    }

    #[test]
    fn only_a_yes_is_one() {
        for (typed, expected) in [
            ("y\n", Answer::Yes),
            ("YES\n", Answer::Yes),
            ("\n", Answer::No),
            ("", Answer::No),
            ("yy\n", Answer::No),
        ] {
            assert_eq!(answer(false, true, typed), (expected, "Drop it? [y/N] ".to_owned()), "{typed:?}");
        }
    }
}
