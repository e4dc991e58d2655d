//! `cargo xtask demo`: real programs under Folio, and what the kernel makes of it, for readers who have never seen a
//! dynamic linker. Whatever is claimed is checked; a claim that does not hold ends the demo with a sentence.

mod calls;
mod conversation;
mod counter;
mod frames;
mod same;
mod stage;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{build, packages};
use stage::Stage;

/// Show real programs running under Folio, and which of their pages are in memory once
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --json | jq .claims\n\nAs root it shows frame numbers, otherwise the kernel's summary."
)]
pub struct Demo {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// The interpreter to show, instead of building one
    #[arg(long, value_name = "FILE", env = "FOLIO_INTERPRETER", hide = true)]
    interpreter: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    programs: same::Programs,
    calls: calls::Calls,
    frames: frames::Frames,
    counter: counter::Counter,
    /// How many claims were checked; all held.
    claims: usize,
}

/// Counts the claims that were checked.
#[derive(Default)]
pub struct Claims(usize);

impl Claims {
    /// Ends the demo with a sentence when the claim does not hold.
    pub fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
        if !holds {
            bail!(otherwise());
        }
        self.0 += 1;
        Ok(())
    }
}

const INTRODUCTION: &str = "\
A program on disk is not complete: its file names libraries that it needs, and a dynamic linker. When the program
starts, the kernel starts that linker first; it finds the libraries, maps them into the process, fills in the addresses
that were left open, and then jumps into the program. On this machine every program names glibc's linker,
ld-linux-x86-64.so.2. Folio is another one. Here it takes over, alone: the other one is never loaded.
";

impl Demo {
    pub fn run(&self) -> Result<()> {
        packages::ensure(&[packages::DEMO])?;
        let interpreter = match &self.interpreter {
            Some(file) => file.clone(),
            None => build::build()?.interpreter,
        };
        let mut claims = Claims::default();
        self.say(|| INTRODUCTION.to_owned())?;
        progress("compiling the demo's own programs");
        let stage = Stage::set(&interpreter)?;

        progress("running programs");
        let programs = same::show(&stage, &mut claims)?;
        self.say(|| programs.text())?;
        progress("tracing");
        let calls = calls::show(&stage, &mut claims)?;
        self.say(|| calls.text())?;
        progress("starting four processes");
        let frames = frames::show(&stage, &mut claims)?;
        self.say(|| frames.text())?;
        progress("counting");
        let counter = counter::show(&stage, &mut claims)?;
        self.say(|| counter.text())?;

        self.say(|| format!("{} claims were checked on this machine just now, and all of them held.\n", claims.0))?;
        if self.json {
            let report = Report { programs, calls, frames, counter, claims: claims.0 };
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
        Ok(())
    }

    fn say(&self, text: impl FnOnce() -> String) -> Result<()> {
        if !self.json {
            progress("");
            writeln!(io::stdout(), "{}", text())?;
        }
        Ok(())
    }
}

/// One line on a terminal, replaced by the next; nothing in a pipe.
fn progress(what: &str) {
    if io::stderr().is_terminal() && io::stdout().is_terminal() {
        let shown = if what.is_empty() { String::new() } else { format!("{what} ...") };
        eprint!("\r\x1b[K{shown}");
    }
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
