//! The command `folio`: reads the command line, calls the subcommand, and turns its answer into an exit status.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use folio::interface::{Command, Folio};
use folio::{cache, compare, doctor, explain, lint, patch, profile, run, share};

fn main() -> ExitCode {
    match execute(Folio::parse().command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("folio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(arguments) => match run::run(&arguments)? {},
        Command::Patch(arguments) => patch::run(&arguments)?,
        Command::Share(arguments) => share::run(&arguments)?,
        Command::Compare(arguments) => compare::run(&arguments)?,
        Command::Profile(arguments) => profile::run(&arguments)?,
        Command::Explain(arguments) => return explain::run(&arguments),
        Command::Lint(arguments) => return lint::run(&arguments),
        Command::Cache(what) => return cache::run(&what),
        Command::Doctor(arguments) => return doctor::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}
