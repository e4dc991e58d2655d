//! Budgets: what the start of generated programs may cost, in things that a busy machine counts like an idle one.
//!
//! The programs need no libc, so the figures are the linker's own and do not move with the distribution. A start that costs
//! more than its budget fails `cargo xtask test`; one that has a reason gets a new budget, with the reason beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use folio::compare::measure;
use folio::draw::grouped;
use folio::process::launch::apply_surroundings;
use folio::table::{indented, table};
use serde::{Deserialize, Serialize};

use super::closure::{Closure, Shape, Variant};
use super::cost;
use super::stage::{Interpreter, Stage, succeed};
use super::start::Start;
use crate::repository;

/// `ci/budget.json`.
#[derive(Serialize, Deserialize)]
struct Budget {
    /// Why the figures are what they are: that of the last change.
    reason: String,
    programs: BTreeMap<String, Figures>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Figures {
    /// Executed in the process from its first to its last, as callgrind counts them.
    instructions: u64,
    system_calls: u64,
    /// In as many starts as `STARTS` says.
    minor_faults: u64,
    /// Pages of mapped files.
    private_dirty: u64,
}

impl Figures {
    fn named(self) -> [(&'static str, u64); 4] {
        [
            ("instructions", self.instructions),
            ("system calls", self.system_calls),
            (MINOR_FAULTS, self.minor_faults),
            ("dirty file pages", self.private_dirty),
        ]
    }
}

/// How much more than its budget a figure may be, in percent. Instructions vary with the length of the environment and with
/// where the kernel puts things. System calls and dirty pages do not.
const SLACK: [u64; 4] = [1, 0, 3, 0];

/// Faults vary by one or two from start to start: the kernel maps text by sixteen pages, which begin anywhere in the file where
/// addresses are random. Among a hundred starts one fault more in each is seen, and chance is not.
const STARTS: u64 = 100;
const MINOR_FAULTS: &str = "faults of 100 starts";

fn path() -> PathBuf {
    repository::root().join("ci/budget.json")
}

/// Holds all programs against their budgets.
pub fn check(interpreter: &Path) -> Result<()> {
    let text = fs::read_to_string(path()).with_context(|| format!("cannot read {}", path().display()))?;
    let budget: Budget = serde_json::from_str(&text).context("ci/budget.json is not in its form")?;
    let costs = costs(interpreter)?;
    ensure!(
        budget.programs.keys().eq(costs.keys()),
        "ci/budget.json has budgets for other programs than there are: cargo xtask bench --update-budget \"REASON\""
    );
    let mut rows = table(&["program", "figure", ">budget", ">now", ""]);
    let mut over = Vec::new();
    for ((program, cost), allowed) in costs.iter().zip(budget.programs.values()) {
        for (((figure, now), (_, allowed)), slack) in cost.named().into_iter().zip(allowed.named()).zip(SLACK) {
            let verdict = verdict(now, allowed, slack);
            if verdict == Verdict::Over {
                over.push(format!("{program}: {figure}"));
            }
            let name = if figure == "instructions" { program } else { "" };
            rows.add_row([name, figure, &grouped(allowed), &grouped(now), verdict.word()]);
        }
    }
    print!("{}", indented(&rows, 0));
    if !over.is_empty() {
        bail!(
            "a start costs more than its budget ({}); where that is right, say why: cargo xtask bench --update-budget \"REASON\"",
            over.join("; ")
        );
    }
    Ok(())
}

/// Makes what the programs cost now their budgets.
pub fn update(interpreter: &Path, reason: &str) -> Result<()> {
    ensure!(!reason.trim().is_empty(), "a budget changes for a reason: say which");
    let budget = Budget { reason: reason.trim().to_owned(), programs: costs(interpreter)? };
    fs::write(path(), serde_json::to_string_pretty(&budget)? + "\n")?;
    println!("{} is new; commit it with the change that is the reason", path().display());
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Over,
    Within,
    /// So much less that the budget would hide a step back.
    Less,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Within => "",
            Self::Less => "less: the budget can shrink",
        }
    }
}

/// Within the slack above the budget, and not further than twice that below it.
fn verdict(now: u64, budget: u64, slack: u64) -> Verdict {
    if now * 100 > budget * (100 + slack) {
        Verdict::Over
    } else if now * 100 < budget * (100 - 2 * slack) {
        Verdict::Less
    } else {
        Verdict::Within
    }
}

/// What each program costs.
fn costs(interpreter: &Path) -> Result<BTreeMap<String, Figures>> {
    let stage = Stage::set(interpreter)?;
    let folio = stage.interpreter(Interpreter::Folio)?;
    let alone = Closure::assemble(&stage.folder().join("alone"), Shape { libraries: 0, symbols: 0 })?;
    let closure = Closure::assemble(&stage.folder().join("closure"), Shape { libraries: 20, symbols: 100 })?;
    let mut programs = vec![("no library".to_owned(), alone.bare(Variant::Plain, folio)?)];
    for variant in Variant::ALL {
        programs.push((variant.name().to_owned(), closure.bare(variant, folio)?));
    }
    programs.into_iter().map(|(name, program)| Ok((name, figures(&stage, program)?))).collect()
}

fn figures(stage: &Stage, program: PathBuf) -> Result<Figures> {
    let start = Start::new(stage, program.clone(), &program, &[]);
    // Files that the disk does not have yet would count as dirty, and the first run brings them into memory.
    succeed(Command::new("sync").arg("--file-system").arg(stage.folder()))?;
    succeed(&mut start.command())?;
    let cost = cost::cost(&start.command())?;
    let limit = Duration::from_secs(60);
    let minor_faults =
        (0..STARTS).map(|_| Ok(measure::cost(&start.command(), limit)?.minor_faults)).sum::<Result<u64>>()?;
    Ok(Figures {
        instructions: instructions(stage, &start)?,
        system_calls: cost.system_calls,
        minor_faults,
        private_dirty: cost.private_dirty,
    })
}

/// Counts with callgrind (valgrind(1)).
fn instructions(stage: &Stage, start: &Start) -> Result<u64> {
    let counts = stage.folder().join("callgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", counts.display()));
    valgrind.arg(start.file());
    apply_surroundings(&start.command(), &mut valgrind);
    succeed(&mut valgrind)?;
    let text = fs::read_to_string(&counts).context("callgrind wrote no counts")?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    total.context("callgrind's counts have no total")?.trim().parse().context("callgrind's total is not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_slack_is_over_and_much_less_is_news() {
        let verdicts = [1009, 1010, 1011, 981, 980, 979].map(|now| verdict(now, 1000, 1));
        assert_eq!(
            verdicts,
            [Verdict::Within, Verdict::Within, Verdict::Over, Verdict::Within, Verdict::Within, Verdict::Less]
        );
        assert_eq!([41, 42, 43].map(|now| verdict(now, 42, 0)), [Verdict::Less, Verdict::Within, Verdict::Over]);
    }
}
