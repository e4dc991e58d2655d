//! Thread checkers: guests whose threads open, close, throw and fork run under helgrind and ThreadSanitizer, with glibc's
//! loader and with Folio. Nothing is reported with Folio that is not reported with glibc's, and nothing of Folio itself.
//!
//! helgrind leaves out what a loader's own instructions do to memory, by its soname; what it sees of a loader are the locks
//! that it takes in libc, and what others find there. (What Folio does without a lock is checked by the models.)
//! Nor does it see the lock of the stacks that libc keeps of threads that have ended: with either loader, one thread is said
//! to clear a DTV that another made. So none are kept, as its manual says of such reports.

#[path = "checkers/report.rs"]
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use folio_tests::directives::{Mode, Step};
use folio_tests::guest::Guest;
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Outcome, Run, Status, find};
use folio_tests::suite::{self, Verdict};
use libtest_mimic::Trial;

use report::Report;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Helgrind,
    ThreadSanitizer,
}

/// Under each tool: the guest, the words that it is started with, and those of a long run. Namespaces are beyond
/// ThreadSanitizer, which would be there once in each; and in a child of fork it waits for threads that are no more.
const GUESTS: [(Tool, &str, &[&str], &[&str]); 6] = [
    (Tool::Helgrind, "dl_stress", &[], &[]),
    (Tool::Helgrind, "dl_stress_fork", &["6", "2"], &["16", "30"]),
    (Tool::Helgrind, "ns_stress", &[], &[]),
    (Tool::ThreadSanitizer, "dl_stress", &[], &[]),
    (Tool::ThreadSanitizer, "dlopen_threads", &[], &[]),
    (Tool::ThreadSanitizer, "tls_placed_in_use", &[], &[]),
];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let is_long = std::env::var_os("FOLIO_ALL").is_some_and(|all| all == "1");
    let mut tests = Vec::new();
    for (tool, name, short, long) in GUESTS {
        let interpreter = interpreter.clone();
        let words = if is_long { long } else { short };
        tests.push(suite::test(format!("checkers::{tool:?}::{name}"), move || {
            clean(tool, &guest(name)?, words, &interpreter)
        }));
    }
    let with = interpreter.clone();
    tests.push(suite::test("checkers::reports_are_understood", move || reports_are_understood(&with)));
    for tool in [Tool::Helgrind, Tool::ThreadSanitizer] {
        let interpreter = interpreter.clone();
        tests
            .push(suite::test(format!("checkers::{tool:?}::a_race_is_seen"), move || race_is_seen(tool, &interpreter)));
    }
    Ok(tests)
}

fn guest(name: &str) -> Result<Guest> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    Guest::all(&folder)?.into_iter().find(|guest| guest.name == name).with_context(|| format!("no guest {name}"))
}

/// Compares what a tool reports of a guest with what it reports under glibc's loader.
fn clean(tool: Tool, guest: &Guest, words: &[&str], interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("the interpreter under test is glibc's own".to_owned()));
    }
    let (native, adopted) = programs(tool, guest, interpreter)?;
    let known: BTreeSet<String> =
        reports(tool, guest, &native, words, interpreter)?.1.iter().map(Report::place).collect();
    let (outcome, found) = reports(tool, guest, &adopted, words, interpreter)?;
    let mut findings = Vec::new();
    if !matches!(outcome.status, Status::Exit(_)) {
        findings.push(format!("{}\n{}", outcome.status, String::from_utf8_lossy(&outcome.stderr)));
    }
    for report in &found {
        if report.names_loader {
            findings.push(format!("names Folio:\n{}", report.text));
        } else if !known.contains(&report.place()) {
            findings.push(format!("not reported with glibc's loader:\n{}", report.text));
        }
    }
    Ok(Verdict::from_findings(findings))
}

/// Reports are told apart, and the loader is recognised in them.
fn reports_are_understood(interpreter: &Interpreter) -> Result<Verdict> {
    let [path, short] = [interpreter.path(), interpreter.short()].map(Path::display);
    let end = short.to_string();
    let end = end.rsplit('/').next().unwrap_or_default();
    let helgrind = format!(
        "==7== Helgrind\n==7== ------\n==7== \n==7== Thread #2 was created\n==7==    at 0x1: clone (clone.S:76)\n==7== \n\
         ==7== ------\n==7== \n==7== Possible data race at 0x5 by thread #3\n==7==    at 0x2: ??? (in /x/vgpreload_y.so)\n\
         ==7==    by 0x3: look (a.c:3)\n==9== other\n==7==    by 0x4: open (in {path})\n==7== \n\
         ==7== ------\n==7== \n==7== Possible data race at 0x6 by thread #4\n==7==    at 0x3: ??? (in /lib/libgcc_s.so.1)\n"
    );
    let sanitizer = format!(
        "==================\nWARNING: ThreadSanitizer: data race (pid=7)\n    #0 free tsan.cpp:7 (libtsan.so.2+0x4)\n    \
         #1 <null> <null> ({end}+0x5) (BuildId: 7)\n==================\n==================\n\
         WARNING: ThreadSanitizer: thread leak (pid=7)\n    #0 run a.c:7 (program+0x4)\n==================\n"
    );
    let mut all = report::of_helgrind(&helgrind, interpreter);
    all.extend(report::of_thread_sanitizer(&sanitizer, interpreter));
    let found: Vec<(String, bool)> = all.iter().map(|report| (report.place(), report.names_loader)).collect();
    let expected = [
        ("Possible data race at by thread in look".to_owned(), true),
        ("Possible data race at by thread in /lib/libgcc_s.so.1".to_owned(), false),
        (format!("data race in {end}"), true),
        ("thread leak in program".to_owned(), false),
    ];
    Ok(if found == expected { Verdict::Pass } else { Verdict::Fail(format!("understood: {found:?}")) })
}

/// Both tools see a race of the program's own under Folio.
fn race_is_seen(tool: Tool, interpreter: &Interpreter) -> Result<Verdict> {
    let guest = guest("race")?;
    let (_, adopted) = programs(tool, &guest, interpreter)?;
    let (outcome, found) = reports(tool, &guest, &adopted, &[], interpreter)?;
    let is_seen = found.iter().any(|report| report.text.contains("race_on_purpose"));
    let said = || format!("no race is reported: {}\n{}", outcome.status, String::from_utf8_lossy(&outcome.stderr));
    Ok(if is_seen { Verdict::Pass } else { Verdict::Fail(said()) })
}

/// The guest's program, built for the tool, and its copy for the interpreter under test.
fn programs(tool: Tool, guest: &Guest, interpreter: &Interpreter) -> Result<(PathBuf, PathBuf)> {
    let mut guest = guest.clone();
    if tool == Tool::ThreadSanitizer {
        for step in &mut guest.directives.steps {
            match step {
                Step::Library { flags, .. } | Step::Program { flags } => flags.insert_str(0, "-fsanitize=thread "),
                Step::Shell(_) => {}
            }
        }
    }
    let folder = guest.build(Mode::Pie)?;
    let (program, copy) = (folder.join("program"), folder.join("program.checked"));
    interpreter.adopt(&program, &copy)?;
    Ok((program, copy))
}

/// Runs a program under the tool.
fn reports(
    tool: Tool,
    guest: &Guest,
    program: &Path,
    words: &[&str],
    interpreter: &Interpreter,
) -> Result<(Outcome, Vec<Report>)> {
    let run = match tool {
        Tool::Helgrind => Run::new(find("valgrind").context("valgrind is not installed")?)
            .args(["--tool=helgrind", "--history-level=approx", "--num-callers=30"])
            .args([program.as_os_str()]),
        // Reports do not end the program, nor decide on its status.
        Tool::ThreadSanitizer => Run::new(program).env("TSAN_OPTIONS", "exitcode=0"),
    };
    let mut run = run.args(words).in_folder(program.parent().context("a program lies in a folder")?);
    run.limit = Duration::from_secs(300);
    let mut tunables: Vec<&str> = Vec::new();
    if tool == Tool::Helgrind {
        tunables.push("glibc.pthread.stack_cache_size=0");
    }
    for launch in &guest.directives.launches {
        for (key, value) in &launch.environment {
            if key == "GLIBC_TUNABLES" {
                tunables.push(value);
            } else {
                run = run.env(key, value);
            }
        }
    }
    let outcome = run.env("GLIBC_TUNABLES", tunables.join(":")).outcome()?;
    let said = String::from_utf8_lossy(&outcome.stderr);
    let reports = match tool {
        Tool::Helgrind => {
            ensure!(said.contains("Helgrind, a thread error detector"), "helgrind has not run: {said}");
            report::of_helgrind(&said, interpreter)
        }
        Tool::ThreadSanitizer => report::of_thread_sanitizer(&said, interpreter),
    };
    Ok((outcome, reports))
}
