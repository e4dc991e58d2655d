//! `folio share`: which pages several processes have in memory once, which each has for itself, and why.
//!
//! Root sees frame numbers, so a page counts as shared exactly when two processes' page tables name the same frame. An
//! ordinary user sees which pages still are the file's own, and the page cache holds each page of a file once; of copies
//! he learns only whether somebody else has them too.

mod assembly;
mod causes;
mod detail;
mod figures;
mod frames;
mod page;
mod picture;
mod snapshot;
mod start;
mod survey;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueHint};
use serde::Serialize;

pub use detail::{PrivatePage, private_pages};
pub use figures::{Agreement, Figures, Rollup};
pub use page::{Cause, State};
pub use survey::{Mapped, Process, Segment, Survey, survey};

use crate::draw::save;
use crate::output::{Output, Progress};
use crate::process::status;
use snapshot::Snapshot;
use start::Linker;
use survey::Depth;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A program to start: a path, or a name to look for in PATH
    #[arg(value_hint = ValueHint::CommandName, required_unless_present_any = ["pids", "all"], conflicts_with_all = ["pids", "all"])]
    program: Option<String>,
    /// What the program gets as its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// How many processes of the program to start
    #[arg(short = 'n', long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    copies: u16,
    /// A process to look at; repeat it, or list several with commas
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',', conflicts_with = "all")]
    pids: Vec<u32>,
    /// Look at every process of the machine that may be looked into
    #[arg(long)]
    all: bool,
    /// Which dynamic linker starts the program
    #[arg(long, value_enum, default_value_t = Linker::Own, value_name = "LINKER")]
    under: Linker,
    /// How many seconds the program may take until it waits for input or ends
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
    /// Print one line a file, not one a segment
    #[arg(long)]
    files: bool,
    /// List every private page with its cause
    #[arg(long)]
    pages: bool,
    /// Draw a map as SVG: one cell a page, libraries as blocks, processes side by side
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Write a page for a browser: the map with the tables
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'s> {
    #[serde(flatten)]
    survey: &'s Survey,
    /// What was done to the processes, or to them by us.
    notes: &'s [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    private_pages: Option<Vec<PrivatePage<'s>>>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    let (survey, title, mut notes) = match &arguments.program {
        Some(program) => of_program(arguments, program, &progress)?,
        None if arguments.all => of_machine(&progress)?,
        None => {
            progress.say("reading page tables");
            let survey = survey(&arguments.pids)?;
            let title = title_of(&survey);
            (survey, title, Vec::new())
        }
    };
    notes.extend(text::notes(&survey));
    progress.say("drawing");
    for (path, page) in [(&arguments.map, false), (&arguments.html, true)] {
        if let Some(path) = path {
            let drawing = if page { picture::html(&survey, &title, &notes) } else { picture::svg(&survey, &title) };
            save(path, &drawing)?;
        }
    }
    drop(progress);
    let private_pages = arguments.pages.then(|| private_pages(&survey));
    let report = Report { survey: &survey, notes: &notes, private_pages };
    arguments.output.print(&report, || {
        let mut text = text::tables(&survey, arguments.files);
        if let Some(pages) = &report.private_pages {
            text += &text::pages(pages);
        }
        text += &text::paragraphs(&notes);
        text
    })
}

fn of_program(arguments: &Arguments, name: &str, progress: &Progress) -> Result<(Survey, String, Vec<String>)> {
    let command = arguments.under.command(name, &arguments.arguments)?;
    let copies = usize::from(arguments.copies);
    let started = start::start(&command, copies, Duration::from_secs(arguments.wait), progress)?;
    progress.say("reading page tables");
    let pids: Vec<u32> = started.iter().map(|(tracee, _)| tracee.pid()).collect();
    let survey = survey(&pids)?;
    let mut conditions: Vec<String> = started.iter().map(|(_, condition)| condition.sentence()).collect();
    conditions.sort_unstable();
    conditions.dedup();
    let note = format!("{name} was started {copies} times and {}.", conditions.join("; "));
    Ok((survey, format!("{copies} × {}", text::short_name(name)), vec![note]))
}

/// Every process with memory of its own but this one. Those that end meanwhile, or are closed to us, are counted.
fn of_machine(progress: &Progress) -> Result<(Survey, String, Vec<String>)> {
    let own = std::process::id();
    let pids: Vec<u32> = status::all()?.into_iter().filter(|pid| *pid != own).collect();
    let mut closed = 0;
    let mut snapshots = Vec::new();
    for (number, pid) in (1..).zip(&pids) {
        progress.say(&format!("reading page tables of process {number} of {}", pids.len()));
        // A thread of the kernel has an empty memory map that anybody may read; it is no process that was left out.
        if std::fs::read_link(format!("/proc/{pid}/exe"))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            continue;
        }
        match Snapshot::take(*pid) {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(_) => closed += 1,
        }
    }
    ensure!(
        !snapshots.is_empty(),
        "no process of this machine may be looked into: only a process's owner and root may"
    );
    let mut notes = Vec::new();
    if closed > 0 {
        notes.push(format!("Left out: {closed} that ended meanwhile, or that may be looked into by root only."));
    }
    progress.say("sorting frames");
    let survey = survey::of_snapshots(&snapshots, Depth::Tables);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").context("cannot tell this machine's name")?;
    Ok((survey, format!("all of {}", host.trim_end()), notes))
}

/// `3 × bash, sshd`.
fn title_of(survey: &Survey) -> String {
    let mut names: Vec<(&str, usize)> = Vec::new();
    for process in &survey.processes {
        match names.iter_mut().find(|(name, _)| *name == process.name) {
            Some((_, count)) => *count += 1,
            None => names.push((&process.name, 1)),
        }
    }
    let name =
        |(name, count): &(&str, usize)| if *count > 1 { format!("{count} × {name}") } else { (*name).to_owned() };
    names.iter().map(name).collect::<Vec<_>>().join(", ")
}
