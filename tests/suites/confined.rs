//! Programs in confinement, as service managers and containers confine them: under filters of system calls (seccomp(2)), where
//! they have to run as under glibc's loader, and in memory cgroups that are too small (cgroups(7)), where they may end as
//! under glibc's loader, and not hang.

#[path = "confined/cgroup.rs"]
mod cgroup;
#[path = "confined/filter.rs"]
mod filter;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Run, find};
use folio_tests::suite::{self, Verdict};
use libtest_mimic::Trial;

/// Programs, and what they are asked to do: calls that need many libraries, other processes, and threads.
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("bash", &["-c", "echo $((6 * 7)); /bin/echo child; (exit 3) || echo $?"]),
    (
        "python3",
        &[
            "-c",
            "import json, ssl, threading; t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()",
        ],
    ),
];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for (program, arguments) in PROGRAMS {
        for filter in filter::ALL {
            let with = interpreter.clone();
            tests.push(suite::test(format!("confined::{}::{program}", filter.name), move || {
                let Some(pair) = Pair::new(filter.name, program, arguments, &with)? else {
                    return Ok(Verdict::Skip(format!("{program} is not installed")));
                };
                filter.test(&pair)
            }));
        }
        let with = interpreter.clone();
        tests.push(suite::test(format!("confined::cgroup::{program}"), move || {
            let Some(pair) = Pair::new("cgroup", program, arguments, &with)? else {
                return Ok(Verdict::Skip(format!("{program} is not installed")));
            };
            cgroup::test(&pair)
        }));
    }
    Ok(tests)
}

/// A program under glibc's loader, and its copy under the one under test.
struct Pair {
    name: &'static str,
    arguments: &'static [&'static str],
    native: PathBuf,
    adopted: PathBuf,
    folder: PathBuf,
}

impl Pair {
    fn new(
        test: &str,
        name: &'static str,
        arguments: &'static [&'static str],
        interpreter: &Interpreter,
    ) -> Result<Option<Pair>> {
        let Some(native) = find(name) else { return Ok(None) };
        let folder = folio_tests::workspace::fresh(&format!("confined/{test}/{name}"))?;
        let adopted = folder.join(native.file_name().context("a program has a name")?);
        interpreter.adopt(&native, &adopted)?;
        Ok(Some(Pair { name, arguments, native, adopted, folder }))
    }

    /// The run of one of them by a launcher, which is given some words first.
    fn launch(&self, launcher: &Path, words: &[&str], program: &Path) -> Run {
        Run::new(launcher)
            .args(words.iter().copied())
            .args([program])
            .args(self.arguments.iter().copied())
            .in_folder("/")
    }
}
