//! `folio profile`: where the time of a program's start went, by what was done and for which library.
//!
//! The interpreter takes the times itself (`LD_FOLIO_PROFILE`) and ends the process where the program would be entered. Page
//! faults and the objects that lookups ask cost time to count, so they are taken in a run of their own. Of the other
//! runs the fastest is shown: what else the machine does only lengthens a start, and the parts of one run belong together.

mod account;
mod flame;
mod record;
mod runs;
mod text;
mod trace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueHint};
use serde::Serialize;

pub use self::account::{Library, Part, Relocations};
use self::account::{Tree, relocations};
use crate::draw::save;
use crate::output::{Output, Progress};
use crate::{loader, run};

#[derive(Args, Debug)]
pub struct Arguments {
    /// A path, or a name to look for in PATH
    #[arg(value_hint = ValueHint::CommandName)]
    program: String,
    /// What the program gets as its arguments; only initializers see them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// How many starts are timed; the fastest is shown
    #[arg(long, default_value_t = 11, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How many seconds one start may take
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    limit: u64,
    /// Draw a flame graph as SVG
    #[arg(long, value_name = "FILE")]
    flame: Option<PathBuf>,
    /// Write the start as a trace that Perfetto and chrome://tracing open
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    loader::elf_program(&arguments.program)?;
    let limit = Duration::from_secs(arguments.limit);
    let start = runs::Start { program: &arguments.program, arguments: &arguments.arguments, limit };
    let records = start.records(usize::from(arguments.runs), &progress)?;
    drop(progress);
    let (timed, counted) = (&records.fastest, &records.counted);
    let tree = Tree::grow(timed);
    let title = run::title(&arguments.program, &arguments.arguments);
    if let Some(path) = &arguments.flame {
        save(path, &flame::svg(&tree, &Tree::grow(counted), timed, &title))?;
    }
    if let Some(path) = &arguments.trace {
        save(path, &(serde_json::to_string(&trace::events(timed, &title))? + "\n"))?;
    }
    let profile = Profile::new(&tree, &records, title);
    arguments.output.print(&profile, || profile.text())
}

/// A start, taken apart. Times are in microseconds.
#[derive(Debug, Serialize)]
pub struct Profile {
    pub program: String,
    /// How many starts were timed, and the linker's part in their median and in the slowest.
    pub runs: usize,
    pub median: f64,
    pub slowest: f64,
    /// Before the linker's first look, in the run that is shown: fork, exec, and the linker's relocation of itself.
    pub kernel: f64,
    /// The linker's part, to the program's entry, which all that follows adds up to.
    pub linker: f64,
    pub minor_faults: u64,
    pub major_faults: u64,
    /// What was done, by time.
    pub parts: Vec<Part>,
    /// For which object, by time.
    pub libraries: Vec<Library>,
    /// Which relocations the files ask for, by number.
    pub relocations: Vec<Relocations>,
}

impl Profile {
    fn new(tree: &Tree, records: &runs::Records, program: String) -> Self {
        let counted = Tree::grow(&records.counted);
        let libraries = account::libraries(tree, &counted, &records.fastest, &records.counted);
        Self {
            program,
            runs: records.runs,
            median: records.median,
            slowest: records.slowest,
            kernel: records.fastest.before,
            linker: records.fastest.total(),
            minor_faults: counted.root.faults[0],
            major_faults: counted.root.faults[1],
            parts: account::parts(tree, &counted),
            relocations: relocations(&libraries),
            libraries,
        }
    }
}
