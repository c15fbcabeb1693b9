//! The `refold` binary: parses the command line, runs it, and says in one block what went wrong.

use clap::Parser;
use refold::cli::{Cli, told};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// Gives back what is free; see docs/decisions/0013.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        anstream::eprintln!("{}", told(&error));
        ExitCode::FAILURE
    })
}
