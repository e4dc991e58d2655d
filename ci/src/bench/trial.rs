//! The trial of one workload: all ways to start it in turn, in an order that is drawn anew for each round, so that whatever
//! else the machine does falls on all of them alike.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use folio::compare::measure::{quantile, sorted};
use folio::output::Progress;
use serde::Serialize;

use super::cost::{self, Cost};
use super::stage::{Entry, Interpreter, Stage};
use super::start::{Ending, Paper, Start};
use super::workload::Workload;

/// One way to start a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Glibc,
    /// The same under glibc's linker once more, in another copy: both must take the same time.
    Control,
    Folio,
    /// Under glibc's linker up to the program's first instruction.
    GlibcLink,
    FolioLink,
    /// With an interpreter that only exits: what the kernel alone takes.
    Exec,
    Musl,
    StaticPie,
    /// A static program that only exits.
    Empty,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    pub median: f64,
    /// The 10th percentile: what a run takes when nothing disturbs it.
    pub tenth: f64,
}

impl Times {
    pub fn of(runs: &[f64]) -> Self {
        let ordered = sorted(runs.to_vec());
        Self { median: quantile(&ordered, 0.5), tenth: quantile(&ordered, 0.1) }
    }

    /// Both less those of another.
    pub fn less(self, other: Self) -> Self {
        Self { median: self.median - other.median, tenth: self.tenth - other.tenth }
    }
}

/// What was measured of one way.
#[derive(Clone, Debug)]
pub struct Measured {
    way: Way,
    start: Start,
    runs: Vec<f64>,
    faults: Vec<f64>,
}

/// What was counted of one way.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub cost: Cost,
    /// The median, if the kernel counts them.
    pub page_faults: Option<f64>,
}

/// What was measured of one workload.
pub struct Trial {
    pub workload: Workload,
    pub measured: Vec<Measured>,
    pub glibc: Counted,
    pub folio: Counted,
    /// Of single CPUID instructions.
    pub cpuid: Vec<f64>,
    /// Which attempt this was.
    pub attempt: usize,
}

impl Trial {
    pub fn times(&self, way: Way) -> Option<Times> {
        Some(Times::of(&self.way(way)?.runs))
    }

    pub fn faults(&self, way: Way) -> Option<f64> {
        Some(quantile(&sorted(self.way(way)?.faults.clone()), 0.5))
    }

    fn way(&self, way: Way) -> Option<&Measured> {
        of_way(&self.measured, way)
    }

    /// The time of one copy under glibc's linker as a ratio to that of the other.
    pub fn control(&self) -> f64 {
        let median = |way| self.times(way).unwrap_or_default().median;
        median(Way::Glibc) / median(Way::Control)
    }
}

/// Copies the workload for each way, checks each, and measures them.
pub fn trial(
    stage: &Stage,
    workload: &Workload,
    (rounds, attempt): (usize, usize),
    dice: &mut Dice,
    progress: &Progress,
) -> Result<Trial> {
    let mut paper = Paper::new(stage)?;
    let mut ways = ways(stage, workload, attempt, &mut paper)?;
    let mut cpuid = Vec::new();
    for round in 0..rounds {
        progress.say(&format!("{}, round {} of {rounds}", workload.name, round + 1));
        cpuid.extend(cost::cpuid_times());
        for way in dice.order(ways.len()) {
            let (measured, expected) = &mut ways[way];
            let run = paper.checked(&measured.start, expected)?;
            measured.runs.push(run.microseconds);
            measured.faults.push(run.minor_faults as f64);
        }
    }
    let measured: Vec<Measured> = ways.into_iter().map(|(measured, _)| measured).collect();
    let counted = |way| -> Result<Counted> {
        let command = of_way(&measured, way).context("both linkers are measured")?.start.command();
        Ok(Counted { cost: cost::cost(&command)?, page_faults: page_faults(&command)? })
    };
    let (glibc, folio) = (counted(Way::Glibc)?, counted(Way::Folio)?);
    Ok(Trial { workload: workload.clone(), measured, glibc, folio, cpuid, attempt })
}

fn of_way(measured: &[Measured], way: Way) -> Option<&Measured> {
    measured.iter().find(|measured| measured.way == way)
}

/// The median of what some starts take: addresses are random, and a fault brings in pages that lie around it.
fn page_faults(command: &Command) -> Result<Option<f64>> {
    const STARTS: usize = 21;
    let counted: Option<Vec<u64>> = (0..STARTS).map(|_| cost::page_faults(command)).collect::<Result<_>>()?;
    Ok(counted.map(|counted| quantile(&sorted(counted.into_iter().map(|faults| faults as f64).collect()), 0.5)))
}

/// All ways of a workload, each with how it must end. Each runs once before it counts, which brings its file into memory.
fn ways(stage: &Stage, workload: &Workload, attempt: usize, paper: &mut Paper) -> Result<Vec<(Measured, Ending)>> {
    let start = |place: &str, program, interpreter, entry| -> Result<Start> {
        let place = format!("{}-{attempt}/{place}", workload.name.replace(' ', ""));
        let file = stage.copy(&place, program, interpreter, entry)?;
        Ok(Start::new(stage, file, &workload.program, &workload.arguments))
    };
    let (glibc, folio, program) = (Some(Interpreter::Glibc), Some(Interpreter::Folio), &workload.program);
    let mut starts = vec![
        (Way::Glibc, start("glibc", program, glibc, Entry::Own)?),
        (Way::Control, start("again", program, glibc, Entry::Own)?),
        (Way::Folio, start("folio", program, folio, Entry::Own)?),
        (Way::GlibcLink, start("glink", program, glibc, Entry::Exits)?),
        (Way::FolioLink, start("flink", program, folio, Entry::Exits)?),
        (Way::Exec, start("exits", program, Some(Interpreter::Exits), Entry::Own)?),
    ];
    if let Some(program) = &workload.musl {
        starts.push((Way::Musl, start("musl", program, Some(Interpreter::Musl), Entry::Own)?));
    }
    if let Some(program) = &workload.static_pie {
        starts.push((Way::StaticPie, start("static", program, None, Entry::Own)?));
        starts.push((Way::Empty, Start::new(stage, stage.empty(), &workload.program, &[])));
    }
    let (mut whole, mut linked) = (None, None);
    let mut ways = Vec::new();
    for (way, start) in starts {
        let (_, ending) = paper.run(&start)?;
        let expected = match way {
            Way::Exec | Way::Empty => Ending { status: 0, output: Vec::new() },
            // Initializers of libraries may write.
            Way::GlibcLink | Way::FolioLink => linked.get_or_insert_with(|| ending.clone()).clone(),
            _ => whole.get_or_insert_with(|| ending.clone()).clone(),
        };
        ensure!(expected.status == 0, "{}: fails under glibc's linker ({:#x})", workload.name, expected.status);
        if let (Way::Glibc, Some(output)) = (way, &workload.output) {
            ensure!(expected.output == output.as_bytes(), "{}: does not write {output:?}", workload.name);
        }
        paper.checked(&start, &expected)?;
        ways.push((Measured { way, start, runs: Vec::new(), faults: Vec::new() }, expected));
    }
    Ok(ways)
}

/// Draws orders (Marsaglia, *Xorshift RNGs*, and Fisher and Yates). A seed gives the same orders again.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.max(1))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_whole_and_each_place_gets_each_way() {
        let mut dice = Dice::new(7);
        let mut firsts = [0; 6];
        for _ in 0..600 {
            let order = dice.order(6);
            let mut all = order.clone();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 5]);
            firsts[order[0]] += 1;
        }
        assert!(firsts.iter().all(|count| (60..140).contains(count)), "{firsts:?}");
    }

    #[test]
    fn times_are_the_median_and_the_tenth_percentile() {
        let runs: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(Times::of(&runs), Times { median: 50.0, tenth: 10.0 });
        assert_eq!(Times::of(&runs).less(Times { median: 20.0, tenth: 4.0 }), Times { median: 30.0, tenth: 6.0 });
    }
}
