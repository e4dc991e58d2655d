//! `folio compare`: the system calls of one program under glibc's dynamic linker and under Folio, side by side.

pub mod measure;
pub mod role;
pub mod strace;
mod tracer;

mod page;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum, ValueHint};
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::draw::save;
use crate::output::{Output, Progress};
use crate::table::{indented, table};
use crate::{loader, run as start};
use measure::{Cost, Timing};
use role::{Labelled, Role};
use strace::Trace;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A path, or a name to look for in PATH
    #[arg(value_hint = ValueHint::CommandName)]
    program: String,
    /// What the program gets as its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
    /// How many pairs of runs are timed, at most; 0 leaves times out
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    pairs: usize,
    /// How many seconds are spent on timing, and on waiting for the program to end
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    limit: u64,
    /// What follows the system calls; by default strace(1), where it is installed
    #[arg(long, value_enum, value_name = "TOOL")]
    follow: Option<Follow>,
    /// Write a page for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// How system calls are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Follow {
    Strace,
    Ptrace,
}

/// One program under two dynamic linkers.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub glibc: Side,
    pub folio: Side,
    pub followed_by: Follow,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

#[derive(Debug, Serialize)]
pub struct Side {
    pub calls: Vec<Labelled>,
    /// How the process ended, in strace's words.
    pub ending: String,
    /// Of a run that nobody followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    loader::elf_program(&arguments.program)?;
    // Both linkers get the program as their argument, so that both do the same work.
    let command = |linker: &Path| start::command(linker, &arguments.program, &arguments.arguments);
    let (glibc, folio) = (command(Path::new(loader::GLIBC))?, command(&loader::find()?)?);
    let limit = Duration::from_secs(arguments.limit);
    progress.say("measuring memory");
    let costs = [measure::cost(&glibc, limit)?, measure::cost(&folio, limit)?];
    progress.say("following system calls");
    let mut comparison = follow(&glibc, &folio, arguments.follow)?;
    (comparison.glibc.cost, comparison.folio.cost) = (Some(costs[0]), Some(costs[1]));
    if arguments.pairs > 0 {
        comparison.timing = Some(measure::times(&glibc, &folio, arguments.pairs, limit, &progress)?);
    }
    drop(progress);
    if let Some(path) = &arguments.html {
        let title = start::title(&arguments.program, &arguments.arguments);
        save(path, &page::html(&comparison, &title))?;
    }
    arguments.output.print(&comparison, || comparison.text())
}

/// The system calls of two ways to start a program.
pub fn commands(glibc: &Command, folio: &Command) -> Result<Comparison> {
    follow(glibc, folio, None)
}

fn follow(glibc: &Command, folio: &Command, tool: Option<Follow>) -> Result<Comparison> {
    let side = |trace: Trace| Side { calls: role::label(&trace.calls), ending: trace.ending, cost: None };
    let with = |tool: Follow| -> Result<Comparison> {
        let trace = match tool {
            Follow::Strace => strace::trace,
            Follow::Ptrace => tracer::trace,
        };
        Ok(Comparison { glibc: side(trace(glibc)?), folio: side(trace(folio)?), followed_by: tool, timing: None })
    };
    match tool {
        Some(tool) => with(tool),
        None => with(Follow::Strace).or_else(|error| {
            let missing =
                error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
            if missing { with(Follow::Ptrace) } else { Err(error) }
        }),
    }
}

/// How often each side makes calls of one role.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    pub role: Role,
    pub glibc: usize,
    pub folio: usize,
}

/// The calls of both sides in order; those that do the same for the same file stand on one line.
type Line<'a> = (Option<&'a Labelled>, Option<&'a Labelled>);

impl Comparison {
    fn aligned(&self) -> Vec<Line<'_>> {
        let key = |call: &Labelled| (call.role, call.subject.clone());
        let (left, right): (Vec<_>, Vec<_>) =
            (self.glibc.calls.iter().map(key).collect(), self.folio.calls.iter().map(key).collect());
        let (glibc, folio) = (&self.glibc.calls, &self.folio.calls);
        let mut lines: Vec<Line<'_>> = Vec::new();
        for op in capture_diff_slices(Algorithm::Myers, &left, &right) {
            let (old, new) = (op.old_range(), op.new_range());
            if matches!(op, DiffOp::Equal { .. }) {
                lines.extend(glibc[old].iter().map(Some).zip(folio[new].iter().map(Some)));
            } else {
                lines.extend(glibc[old].iter().map(|call| (Some(call), None)));
                lines.extend(folio[new].iter().map(|call| (None, Some(call))));
            }
        }
        lines
    }

    /// Calls by role, in the order in which a start usually goes through them.
    pub fn counts(&self) -> Vec<Count> {
        let mut counts: BTreeMap<Role, (usize, usize)> = BTreeMap::new();
        for call in &self.glibc.calls {
            counts.entry(call.role).or_default().0 += 1;
        }
        for call in &self.folio.calls {
            counts.entry(call.role).or_default().1 += 1;
        }
        counts.into_iter().map(|(role, (glibc, folio))| Count { role, glibc, folio }).collect()
    }

    /// The calls side by side. Stretches that belong to libc and the program are folded into one line each.
    pub fn calls_text(&self, indent: usize) -> String {
        let mut rows = table(&["what it does", "for which file", "under glibc's ld.so", "under Folio"]);
        let lines = self.aligned();
        let own = |line: &Line<'_>| line.0.or(line.1).is_some_and(|call| call.role == Role::Program);
        for stretch in lines.chunk_by(|a, b| own(a) && own(b)) {
            let cell = |side: for<'a> fn(&Line<'a>) -> Option<&'a Labelled>| {
                let calls: Vec<_> = stretch.iter().filter_map(side).collect();
                match calls.as_slice() {
                    [] => "·".to_owned(),
                    [call] => call.short.clone(),
                    more => format!("{} calls", more.len()),
                }
            };
            let Some(call) = stretch[0].0.or(stretch[0].1) else { continue };
            let subject = if stretch.len() == 1 { call.subject.as_str() } else { "" };
            rows.add_row([call.role.label(), subject, &cell(|line| line.0), &cell(|line| line.1)]);
        }
        indented(&rows, indent)
    }

    /// How many calls each role takes.
    pub fn counts_text(&self, indent: usize) -> String {
        let mut rows = table(&["system calls", ">glibc", ">Folio"]);
        for count in self.counts() {
            rows.add_row([count.role.label().to_owned(), count.glibc.to_string(), count.folio.to_string()]);
        }
        let total = |side: &Side| side.calls.len().to_string();
        rows.add_row(["all together".to_owned(), total(&self.glibc), total(&self.folio)]);
        indented(&rows, indent)
    }

    /// What a run costs, side by side.
    fn costs_text(&self) -> String {
        let mut rows = table(&["a run", ">glibc", ">Folio", ">Folio / glibc"]);
        if let (Some(glibc), Some(folio)) = (self.glibc.cost, self.folio.cost) {
            let figures = [
                ("page faults", glibc.minor_faults, folio.minor_faults),
                ("page faults that read the disk", glibc.major_faults, folio.major_faults),
                ("private dirty pages (own copies)", glibc.private_dirty, folio.private_dirty),
                ("resident pages at its end", glibc.resident, folio.resident),
            ];
            for (what, glibc, folio) in figures {
                let ratio = if glibc == 0 { String::new() } else { format!("{:.2}", folio as f64 / glibc as f64) };
                rows.add_row([what.to_owned(), glibc.to_string(), folio.to_string(), ratio]);
            }
        }
        if let Some(timing) = &self.timing {
            let (glibc, folio) = (&timing.glibc, &timing.folio);
            let times = [
                ("time: median, µs", glibc.median, folio.median),
                ("time: lower quartile", glibc.lower_quartile, folio.lower_quartile),
                ("time: upper quartile", glibc.upper_quartile, folio.upper_quartile),
                ("time: fastest", glibc.fastest, folio.fastest),
            ];
            for (index, (what, glibc, folio)) in times.into_iter().enumerate() {
                let ratio = if index == 0 { format!("{:.3}", timing.ratio) } else { String::new() };
                rows.add_row([what.to_owned(), format!("{glibc:.0}"), format!("{folio:.0}"), ratio]);
            }
        }
        indented(&rows, 0)
    }

    /// What the times say, in one sentence.
    fn verdict(&self) -> Option<String> {
        let timing = self.timing.as_ref()?;
        let (from, to) = (timing.ratio_from, timing.ratio_to);
        let verdict = if to < 1.0 {
            format!("Folio is faster by {:.1} %", (1.0 - timing.ratio) * 100.0)
        } else if from > 1.0 {
            format!("Folio is slower by {:.1} %", (timing.ratio - 1.0) * 100.0)
        } else {
            "the difference is within the spread".to_owned()
        };
        Some(format!(
            "{} pairs of runs in turn: {verdict} (median ratio {:.3}, with 95 % between {from:.3} and {to:.3}).",
            timing.pairs, timing.ratio
        ))
    }

    /// Whether both did the same, as far as their ends tell.
    fn ending(&self) -> String {
        if self.glibc.ending == self.folio.ending {
            format!("Both {}.", self.glibc.ending)
        } else {
            format!("Under glibc the program {}, under Folio it {}.", self.glibc.ending, self.folio.ending)
        }
    }

    /// The whole comparison, and a sentence when the two did not end alike.
    pub fn text(&self) -> String {
        let verdict = self.verdict().map(|verdict| verdict + "\n").unwrap_or_default();
        let (calls, counts, costs) = (self.calls_text(0), self.counts_text(0), self.costs_text());
        format!("{calls}\n{counts}\n{costs}\n{verdict}{}\n", self.ending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(role: Role, subject: &str) -> Labelled {
        Labelled { role, subject: subject.to_owned(), short: subject.to_owned(), line: String::new() }
    }

    #[test]
    fn calls_of_one_role_and_file_stand_on_one_line() {
        let side = |calls| Side { calls, ending: "exited with 0".to_owned(), cost: None };
        let comparison = Comparison {
            followed_by: Follow::Strace,
            timing: None,
            glibc: side(vec![call(Role::Open, "a"), call(Role::ReadHeader, "a"), call(Role::Close, "a")]),
            folio: side(vec![call(Role::Open, "a"), call(Role::Identify, "a"), call(Role::Close, "a")]),
        };
        let both: Vec<_> = comparison.aligned().iter().map(|(l, r)| (l.map(|c| c.role), r.map(|c| c.role))).collect();
        let expected = [
            (Some(Role::Open), Some(Role::Open)),
            (Some(Role::ReadHeader), None),
            (None, Some(Role::Identify)),
            (Some(Role::Close), Some(Role::Close)),
        ];
        assert_eq!(both, expected);
        assert!(comparison.counts().contains(&Count { role: Role::ReadHeader, glibc: 1, folio: 0 }));
        assert!(comparison.counts().contains(&Count { role: Role::Open, glibc: 1, folio: 1 }));
    }
}
