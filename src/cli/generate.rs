//! `refold completions` and `refold man`: what shells and `man` need to know, made of the definition of the command line.

use super::Cli;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What stands below the help of `completions`.
pub const COMPLETIONS_EXAMPLES: &str = "Examples:
  source <(refold completions bash)             in this shell
  refold completions bash > ~/.local/share/bash-completion/completions/refold
  refold completions zsh > ~/.zfunc/_refold     where ~/.zfunc is in $fpath
  refold completions fish > ~/.config/fish/completions/refold.fish";
/// What stands below the help of `man`.
pub const MAN_EXAMPLES: &str = "Examples:
  refold man | man -l -                         read it
  refold man --dir ~/.local/share/man/man1      for `man refold`, `man refold-feed` and the others";

/// Prints what makes a shell complete what is typed.
///
/// # Errors
/// When standard output is closed early.
pub fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "refold", &mut script);
    printed(&script)
}

/// Prints the page of `refold`, or writes those of all commands into a directory.
///
/// # Errors
/// When they cannot be written.
pub fn man(dir: Option<&Path>) -> Result<ExitCode> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page)?;
        return printed(&page);
    };
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("cannot write the pages into {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Printed whole, or as much as anybody reads.
fn printed(text: &[u8]) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print it"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
