//! The command `folio`: its subcommands, options and help.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

/// Companion of Folio, the dynamic linker that shows what programs share in memory.
#[derive(Parser)]
#[command(version)]
struct Folio {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a program under Folio, without changing its file
    ///
    /// The interpreter is the ld-folio.so.1 beside this command, or else /lib64/ld-folio.so.1.
    #[command(after_help = "Examples:\n  folio run ls -l /usr\n  folio run -- /usr/bin/python3 -c 'print(6 * 7)'")]
    Run(Start),

    /// Show which pages of their files several processes have in memory once
    ///
    /// Root sees frame numbers; an ordinary user gets the kernel's summary of shared and private memory.
    #[command(
        after_help = "Examples:\n  folio share --pid 4711 --pid 4712\n  folio share --json --pid $(pidof nginx | tr ' ' ,)"
    )]
    Share {
        /// A process to look at; repeat it, or list several with commas
        #[arg(short, long = "pid", value_name = "PID", required = true, value_delimiter = ',')]
        pids: Vec<u32>,
        #[command(flatten)]
        output: Output,
    },

    /// Show a program's system calls under glibc's dynamic linker and under Folio, side by side (needs strace)
    ///
    /// Both linkers are started directly, with the program as their argument. The program runs twice, with no input.
    #[command(after_help = "Examples:\n  folio compare true\n  folio compare --json git --version")]
    Compare {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        start: Start,
    },
}

#[derive(Args)]
struct Start {
    /// A path, or a name to look for in PATH
    program: String,
    /// What the program gets as its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

#[derive(Args)]
struct Output {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Output {
    fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? + "\n" } else { text() };
        match io::stdout().write_all(text.as_bytes()) {
            // The reader has seen enough (`folio share … | head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }
}

fn main() -> ExitCode {
    match execute(Folio::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("folio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(start) => match folio::run::run(&start.program, &start.arguments)? {},
        Command::Share { pids, output } => {
            let survey = folio::share::survey(&pids)?;
            output.print(&survey, || survey.text(0))
        }
        Command::Compare { output, start } => {
            let comparison = folio::compare::compare(&start.program, &start.arguments)?;
            output.print(&comparison, || comparison.text())
        }
    }
}
