//! The command `folio`: reads the command line, calls what it names, and prints the answer.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use folio::interface::{Command, Folio, Output};
use folio::{compare, doctor, explain, lint, loader, patch, run, share};
use serde::Serialize;

/// What was asked is answered, and the answer is no.
const NO: u8 = 1;

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
        Command::Run { how, start } => match run::run(how, &start.program, &start.arguments)? {},
        Command::Patch { program, output, undo, interpreter } => {
            let interpreter = if undo { loader::GLIBC.as_ref() } else { interpreter.as_path() };
            println!("{}", patch::patch(&program, output.as_deref(), interpreter, undo)?);
        }
        Command::Share { pids, output } => {
            let survey = share::survey(&pids)?;
            print(&output, &survey, || survey.text(0))?;
        }
        Command::Compare { output, start } => {
            let comparison = compare::compare(&start.program, &start.arguments)?;
            print(&output, &comparison, || comparison.text())?;
        }
        Command::Explain { program, symbol, library, with, bindings, output } => {
            let questions = explain::Questions { symbol, library, with, bindings };
            let explanation = explain::explain(&loader::program(&program)?, &questions)?;
            print(&output, &explanation, || explanation.text())?;
            return Ok(ExitCode::from(if explanation.is_complete() { 0 } else { NO }));
        }
        Command::Lint { list_rules: true, output, .. } => {
            let catalogue = lint::catalogue();
            print(&output, &catalogue, || lint::catalogue_text(&catalogue))?;
        }
        Command::Lint { libraries, fix, copy: Some(copy), output, .. } => {
            let fixed = lint::fix(&libraries, &fix, &copy)?;
            print(&output, &fixed, || fixed.text())?;
        }
        Command::Lint { libraries, deny, worst, output, .. } => {
            let report = lint::lint(&libraries, worst, &deny)?;
            print(&output, &report, || report.text())?;
            return Ok(ExitCode::from(report.status()));
        }
        Command::Doctor { output } => {
            let diagnosis = doctor::examine();
            print(&output, &diagnosis, || diagnosis.text())?;
            return Ok(ExitCode::from(if diagnosis.is_usable() { 0 } else { NO }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an answer as text, in colour where somebody sees it, or as JSON.
fn print(output: &Output, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    let result = if output.json {
        let text = serde_json::to_string_pretty(value)? + "\n";
        io::stdout().write_all(text.as_bytes())
    } else {
        anstream::stdout().write_all(text().as_bytes())
    };
    match result {
        // The reader has seen enough (`folio share … | head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
