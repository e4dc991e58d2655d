//! `cargo xtask bench`: how long programs take to start under glibc's dynamic linker and under Folio; and the budgets that
//! say, without a clock, that a start has not become more work.

pub mod budget;
mod closure;
mod cost;
mod machine;
mod picture;
mod report;
pub mod stage;
pub mod start;
mod trial;
mod workload;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueHint;
use folio::loader;
use folio::output::{Output, Progress};

use crate::{build, packages, repository};
use machine::Machine;
use report::{Cpuid, Report, TOLERANCE};
use stage::{Entry, Interpreter, Stage};
use start::Start;
use trial::{Dice, Trial, trial};
use workload::Workload;

/// Measure the start of programs under glibc's dynamic linker and under Folio
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench --quick\n  cargo xtask bench hello bash ffmpeg\n  cargo xtask bench --json --svg starts.svg > starts.json\n  cargo xtask bench --gate                   # fail when something is short of its target\n  cargo xtask bench --budget                 # no clock: instructions, system calls, faults, dirty pages\n  cargo xtask bench --update-budget \"auditors are asked about vDSO symbols\"\n\nWorkloads: hello bash git python3 perl curl gdb qemu-system-x86_64 ffmpeg inkscape soffice.bin clang rustc\n  closure \"closure -Bsymbolic\" \"closure RELR\" \"closure BIND_NOW\" (200 generated libraries of 500 symbols)\n\nAll runs share one processor, in random order, each side from fresh copies of program and linker; every run's status and\noutput are checked. Two copies under glibc's linker stand against each other too (A/A): where they are more than 3 % apart,\nthe measurement is void and the command fails."
)]
pub struct Bench {
    #[command(flatten)]
    output: Output,
    /// Few runs, for a first impression
    #[arg(long)]
    quick: bool,
    /// How often each way to start a workload runs; 7 with --quick
    #[arg(long, value_name = "NUMBER", default_value_t = 51, value_parser = clap::value_parser!(u16).range(3..))]
    runs: u16,
    /// Fail when something is short of its target; ratios of times count CPUID-neutral
    #[arg(long)]
    gate: bool,
    /// Draw the ratios into this file, unless the measurement is void
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    svg: Option<PathBuf>,
    /// Hold generated programs against the budgets in ci/budget.json instead of timing anything
    #[arg(long, conflicts_with_all = ["quick", "gate", "svg", "workloads"])]
    budget: bool,
    /// Make what these programs cost now their budget, and keep the reason with it
    #[arg(long, value_name = "REASON", conflicts_with_all = ["budget", "quick", "gate", "svg", "workloads"])]
    update_budget: Option<String>,
    /// The interpreter to measure, instead of building one
    #[arg(long, value_name = "FILE", env = "FOLIO_INTERPRETER", hide = true)]
    interpreter: Option<PathBuf>,
    /// Only these workloads
    workloads: Vec<String>,
}

/// How often a row is measured anew when its two copies under glibc's linker disagree.
const ATTEMPTS: usize = 3;

impl Bench {
    pub fn run(&self) -> Result<()> {
        if self.budget || self.update_budget.is_some() {
            packages::ensure(&[packages::BUDGETS])?;
            let interpreter = self.interpreter()?;
            return match &self.update_budget {
                Some(reason) => budget::update(&interpreter, reason),
                None => budget::check(&interpreter),
            };
        }
        let names = self.names()?;
        packages::ensure(&workload::packages(&names))?;
        let interpreter = self.interpreter()?;
        let progress = Progress::new();
        progress.say("building the generated programs");
        let workloads = workload::workloads(&names)?;
        let report = self.measure(&interpreter, &workloads, &progress)?;
        drop(progress);
        self.output.print(&report, || report.text())?;
        if let Some(void) = report.void() {
            bail!(void);
        }
        if let Some(file) = &self.svg {
            folio::draw::save(file, &picture::svg(&report))?;
        }
        let missed = report.missed();
        ensure!(!self.gate || missed.is_empty(), "short of the target: {}", missed.join(", "));
        Ok(())
    }

    fn interpreter(&self) -> Result<PathBuf> {
        match &self.interpreter {
            Some(file) => Ok(file.clone()),
            None => Ok(build::build()?.interpreter),
        }
    }

    /// The workloads that were asked for, in their own order.
    fn names(&self) -> Result<Vec<&'static str>> {
        let all = workload::names();
        if let Some(unknown) = self.workloads.iter().find(|name| !all.contains(&name.as_str())) {
            bail!("no workload is called {unknown}; there are: {}", all.join(", "));
        }
        Ok(all
            .into_iter()
            .filter(|name| self.workloads.is_empty() || self.workloads.iter().any(|n| n == name))
            .collect())
    }

    fn measure(&self, interpreter: &Path, workloads: &[Workload], progress: &Progress) -> Result<Report> {
        let mut stage = Stage::set(interpreter)?;
        stage.adopt(Interpreter::Glibc, Path::new(loader::GLIBC))?;
        if workloads.iter().any(|workload| workload.musl.is_some()) {
            stage.adopt(Interpreter::Musl, Path::new("/lib/ld-musl-x86_64.so.1"))?;
        }
        progress.say("counting CPUID instructions");
        let cpuid = cpuid(&stage)?;
        let mut machine = Machine::claim()?;
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
        let mut dice = Dice::new(seed);
        let (rounds, attempts) = if self.quick { (7, 1) } else { (usize::from(self.runs), ATTEMPTS) };
        let mut trials: Vec<Trial> = Vec::new();
        for workload in workloads {
            let mut attempt = 1;
            trials.push(loop {
                let trial = trial(&stage, workload, (rounds, attempt), &mut dice, progress)?;
                if attempt == attempts || (trial.control() - 1.0).abs() <= TOLERANCE {
                    break trial;
                }
                attempt += 1;
            });
        }
        machine.leave()?;
        Ok(Report::of(machine, (rounds, seed), cpuid, &trials))
    }
}

/// How many CPUID instructions each way to start hello executes.
fn cpuid(stage: &Stage) -> Result<Cpuid> {
    let hello = workload::hello(&repository::root().join("target/bench"))?;
    let count = |place: &str, program: &Path, interpreter| -> Result<u64> {
        let file = stage.copy(&format!("cpuid-{place}"), program, interpreter, Entry::Own)?;
        let counted = cost::cpuid_instructions(&Start::new(stage, file.clone(), &hello.program, &[]).command());
        counted.with_context(|| format!("{} does not start", file.display()))
    };
    let other = |place, program: &Option<PathBuf>, interpreter: Option<Interpreter>| {
        let here = interpreter.is_none_or(|interpreter| stage.interpreter(interpreter).is_ok());
        program.as_deref().filter(|_| here).map(|program| count(place, program, interpreter)).transpose()
    };
    Ok(Cpuid {
        microseconds: 0.0,
        glibc: count("glibc", &hello.program, Some(Interpreter::Glibc))?,
        folio: count("folio", &hello.program, Some(Interpreter::Folio))?,
        musl: other("musl", &hello.musl, Some(Interpreter::Musl))?,
        static_pie: other("static", &hello.static_pie, None)?,
    })
}
