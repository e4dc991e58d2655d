//! A kernel that says no: every system call that Folio makes at a start, and at an opening in a running program, fails in
//! turn with each error that it may fail with, and reads come short. A start then runs all the same or says why it does not;
//! an opening succeeds, or dlerror(3) says why it did not, and leaves the process as it was.
//!
//! Limits that a user may set (setrlimit(2)) are gone through as well. The tables are left in `target/faults`.

#[path = "faults/guest.rs"]
mod guest;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Outcome, Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::trace::{Answer, Call, Depth, Limits, Traced, trace, trace_within};
use folio_tests::workspace;
use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::libc;

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

/// A test, by the interpreter that it is about.
type Test = fn(&Interpreter) -> Result<Verdict>;

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let test = |name: &str, body: Test| {
        let interpreter = interpreter.clone();
        suite::test(format!("faults::{name}"), move || {
            if interpreter.is_stand_in() {
                return Ok(Verdict::Skip("only Folio promises this".to_owned()));
            }
            body(&interpreter)
        })
    };
    Ok(vec![
        test("start", start),
        test("start_directly", start_directly),
        test("open", open),
        test("open_first", open_first),
        test("open_many", open_many),
        test("close", close),
        test("audited", audited),
        test("memory", memory),
        test("descriptors", descriptors),
        test("stack", stack),
    ])
}

/// What a call is made to do. A read of so many bytes is one of a file that a slow disk gives piece by piece.
const FAULTS: &[(&str, Answer)] = &[
    ("ENOMEM", Answer::Fail(Errno::ENOMEM)),
    ("EMFILE", Answer::Fail(Errno::EMFILE)),
    ("EINTR", Answer::Fail(Errno::EINTR)),
    ("EACCES", Answer::Fail(Errno::EACCES)),
    ("EPERM", Answer::Fail(Errno::EPERM)),
    ("ENOSYS", Answer::Fail(Errno::ENOSYS)),
    ("short", Answer::Shorten(7)),
];

/// The calls that Folio makes. All of them are in systemd's `@system-service` and in Docker's default profile, so that a
/// program which is held to either runs; a new one belongs here only if it is in both.
const CALLS: &[(i64, &str)] = &[
    (libc::SYS_access, "access"),
    (libc::SYS_arch_prctl, "arch_prctl"),
    (libc::SYS_close, "close"),
    (libc::SYS_exit_group, "exit_group"),
    (libc::SYS_fstat, "fstat"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_getcwd, "getcwd"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_mremap, "mremap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_read, "read"),
    (libc::SYS_readlinkat, "readlinkat"),
    (libc::SYS_readlink, "readlink"),
    (libc::SYS_rseq, "rseq"),
    (libc::SYS_rt_sigaction, "rt_sigaction"),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
    (libc::SYS_set_robust_list, "set_robust_list"),
    (libc::SYS_set_tid_address, "set_tid_address"),
    (libc::SYS_stat, "stat"),
    (libc::SYS_write, "write"),
];

fn name_of(number: i64) -> String {
    let known = CALLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned())
}

/// What came of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Ran,
    Refused,
    /// dlerror(3) said why, and the process is as it was.
    Declined,
    /// Memory that was to be given back is left, and nothing refers to it.
    Left,
    Wrong,
}

impl Effect {
    fn text(self) -> &'static str {
        match self {
            Effect::Ran => "ran",
            Effect::Refused => "sentence",
            Effect::Declined => "dlerror",
            Effect::Left => "left",
            Effect::Wrong => "WRONG",
        }
    }
}

/// Lets each of the linker's calls fail in each way; `window` says which calls count, `judge` what came of one.
fn sweep(
    name: &str,
    run: &Run,
    loader: &Path,
    faults: &[(&str, Answer)],
    mut window: impl FnMut() -> Box<dyn FnMut(&Call) -> bool>,
    judge: impl Fn(&Traced) -> Effect,
) -> Result<Verdict> {
    let mut calls: Vec<i64> = Vec::new();
    let mut counts = window();
    let sound = trace(run, loader, Depth::Whole, |call| {
        if counts(call) && call.is_loaders {
            calls.push(call.number);
        }
        Answer::Make
    })?;
    anyhow::ensure!(judge(&sound) == Effect::Ran, "without any fault: {sound:?}");
    let known: BTreeSet<i64> = CALLS.iter().map(|(number, _)| *number).collect();
    let mut findings: Vec<String> =
        calls.iter().filter(|call| !known.contains(call)).map(|call| format!("makes call {call}")).collect();
    let mut table: BTreeMap<(String, &str), BTreeMap<Effect, u32>> = BTreeMap::new();
    for (index, &number) in calls.iter().enumerate() {
        if number == libc::SYS_exit_group {
            continue;
        }
        for &(fault, answer) in faults {
            let is_read = [libc::SYS_read, libc::SYS_pread64].contains(&number);
            if matches!(answer, Answer::Shorten(_)) && !is_read {
                continue;
            }
            let answer = match answer {
                Answer::Fail(errno) if number == libc::SYS_close => Answer::Pretend(errno),
                answer => answer,
            };
            let mut counts = window();
            let mut at = 0;
            let traced = trace(run, loader, Depth::Whole, |call| {
                let counted = counts(call) && call.is_loaders;
                at += usize::from(counted);
                if counted && at == index + 1 { answer } else { Answer::Make }
            })?;
            let effect = judge(&traced);
            *table.entry((name_of(number), fault)).or_default().entry(effect).or_default() += 1;
            let is_wrong = effect == Effect::Wrong || effect == Effect::Left && number != libc::SYS_munmap;
            if is_wrong {
                let Outcome { stdout, stderr, status } = &traced.outcome;
                let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
                findings.push(format!(
                    "{fault} of {} (call {index}): {status}\n  {:x?}\n  {stdout}  {stderr}",
                    name_of(number),
                    traced.fault
                ));
            }
        }
    }
    let mut text = format!("{name}: {} calls\n", calls.len());
    for ((call, fault), effects) in table {
        let effects: Vec<String> = effects.iter().map(|(effect, count)| format!("{} {count}", effect.text())).collect();
        text += &format!("  {call:<16} {fault:<7} {}\n", effects.join(", "));
    }
    print!("{text}");
    fs::write(workspace::target("faults")?.join(name), text)?;
    Ok(Verdict::from_findings(findings))
}

/// Whether a start ended with a sentence of the linker's and a status of a refusal.
fn is_refusal(outcome: &Outcome) -> bool {
    let said = String::from_utf8_lossy(&outcome.stderr);
    let own =
        |line: &str| line.contains("error while loading shared libraries: ") || line.starts_with("ld-folio.so.1: ");
    let shaped = said.lines().any(|line| own(line) || line.contains(": cannot ")) && !said.contains("internal error");
    shaped && outcome.status == Status::Exit(127)
}

fn bash(run: Run, loader: &Path, name: &str) -> Result<Verdict> {
    let run = run.args(["-c", "echo $((6 * 7)); type cd"]);
    let expected = trace(&run, loader, Depth::Whole, |_| Answer::Make)?.outcome;
    let judge = |traced: &Traced| match &traced.outcome {
        outcome if *outcome == expected => Effect::Ran,
        outcome if is_refusal(outcome) => Effect::Refused,
        // Warnings of a start that went on.
        outcome if outcome.status == expected.status && outcome.stdout == expected.stdout => Effect::Ran,
        _ => Effect::Wrong,
    };
    sweep(name, &run, loader, FAULTS, || Box::new(|_| true), judge)
}

fn start(interpreter: &Interpreter) -> Result<Verdict> {
    let Some(program) = find("bash") else { return Ok(Verdict::Skip("bash is not installed".to_owned())) };
    let copy = workspace::fresh("faults/start.copy")?.join("bash");
    interpreter.adopt(&program, &copy)?;
    bash(Run::new(&copy).named("bash"), interpreter.path(), "start")
}

fn start_directly(interpreter: &Interpreter) -> Result<Verdict> {
    let Some(program) = find("bash") else { return Ok(Verdict::Skip("bash is not installed".to_owned())) };
    let run = Run::new(interpreter.path()).named("ld.so").args([program]);
    bash(run, interpreter.path(), "start_directly")
}

/// A start under an auditor's eyes, which goes on without one that cannot be loaded.
fn audited(interpreter: &Interpreter) -> Result<Verdict> {
    let folder = workspace::fresh("faults/audited.guest")?;
    let program = guest::build(&folder)?;
    interpreter.adopt(&program, &program)?;
    let run = Run::new(&program).named("./guest").args(["nothing"]).in_folder(&folder);
    let run = run.env("LD_AUDIT", folder.join("auditor.so"));
    let judge = |traced: &Traced| match &traced.outcome {
        outcome if outcome.status == Status::Exit(0) => Effect::Ran,
        outcome if is_refusal(outcome) => Effect::Refused,
        _ => Effect::Wrong,
    };
    sweep("audited", &run, interpreter.path(), FAULTS, || Box::new(|_| true), judge)
}

fn open(interpreter: &Interpreter) -> Result<Verdict> {
    opening(interpreter, "open", &["warm", "libouter.so"], FAULTS)
}

fn open_first(interpreter: &Interpreter) -> Result<Verdict> {
    opening(interpreter, "open_first", &["cold", "libouter.so"], FAULTS)
}

/// The closing of what was opened: it cannot fail, whatever the kernel says.
fn close(interpreter: &Interpreter) -> Result<Verdict> {
    opening(interpreter, "close", &["close", "libouter.so"], FAULTS)
}

/// An opening that outgrows the memory that the linker has at hand.
fn open_many(interpreter: &Interpreter) -> Result<Verdict> {
    let faults = if workspace::all_suites() { FAULTS } else { &FAULTS[..1] };
    opening(interpreter, "open_many", &["cold", "libmany.so"], faults)
}

/// The guest opens a library between two calls of getppid(2), and says what came of it and whether anything is left over.
fn opening(interpreter: &Interpreter, name: &str, words: &[&str], faults: &[(&str, Answer)]) -> Result<Verdict> {
    let folder = workspace::fresh(&format!("faults/{name}.guest"))?;
    let program = guest::build(&folder)?;
    interpreter.adopt(&program, &program)?;
    let run = Run::new(&program)
        .named("./guest")
        .args(words.iter().copied())
        .in_folder(&folder)
        .env("LD_LIBRARY_PATH", &folder);
    let window = || -> Box<dyn FnMut(&Call) -> bool> {
        let mut marks = 0;
        Box::new(move |call| {
            marks += u32::from(!call.is_loaders && call.number == libc::SYS_getppid);
            marks == 1
        })
    };
    let judge = |traced: &Traced| {
        let said = String::from_utf8_lossy(&traced.outcome.stdout);
        match traced.outcome.status {
            Status::Exit(0) if said.starts_with("opened") => Effect::Ran,
            Status::Exit(0) if said.starts_with("declined") => Effect::Declined,
            Status::Exit(0) if said.starts_with("closed") => Effect::Ran,
            Status::Exit(0) if said.starts_with("left mappings") => Effect::Left,
            _ => Effect::Wrong,
        }
    };
    sweep(name, &run, interpreter.path(), faults, window, judge)
}

/// Goes through limits, each of which the program must run under or be refused in good order.
fn limited(interpreter: &Interpreter, name: &str, limits: impl Iterator<Item = Limits>) -> Result<Verdict> {
    let folder = workspace::fresh(&format!("faults/{name}.guest"))?;
    let program = guest::build(&folder)?;
    interpreter.adopt(&program, &program)?;
    let run = Run::new(&program).named("./guest").args(["nothing"]).in_folder(&folder).env("LD_LIBRARY_PATH", &folder);
    let (mut findings, mut counts) = (Vec::new(), BTreeMap::new());
    for limit in limits {
        let traced = trace_within(&run, interpreter.path(), Depth::Start, limit, |_| Answer::Make)?;
        let by_kernel = !traced.started;
        let effect = match &traced.outcome {
            _ if by_kernel => "the kernel does not start it",
            outcome if outcome.status == Status::Exit(0) => "ran",
            outcome if is_refusal(outcome) => "sentence",
            // Stacks of nothing: the kernel cannot give the first page beyond what it filled itself.
            outcome
                if matches!(outcome.status, Status::Signal(_)) && limit.stack.is_some_and(|stack| stack < 65536) =>
            {
                "no stack"
            }
            outcome => {
                let said = String::from_utf8_lossy(&outcome.stderr);
                findings.push(format!("{limit:?}: {}: {:x?} {said}", outcome.status, traced.fault));
                "WRONG"
            }
        };
        *counts.entry(effect).or_insert(0) += 1;
    }
    let text = format!("{name}: {counts:?}\n");
    print!("{text}");
    fs::write(workspace::target("faults")?.join(name), text)?;
    if !counts.contains_key("ran") || counts.len() < 2 {
        findings.push(format!("the limits limit nothing: {counts:?}"));
    }
    Ok(Verdict::from_findings(findings))
}

fn memory(interpreter: &Interpreter) -> Result<Verdict> {
    let step = if workspace::all_suites() { 4096 } else { 24 * 4096 };
    limited(interpreter, "memory", (0..10 << 20).step_by(step).map(|memory| Limits { memory, ..Limits::default() }))
}

fn descriptors(interpreter: &Interpreter) -> Result<Verdict> {
    limited(interpreter, "descriptors", (0..8).map(|files| Limits { files: Some(files), ..Limits::default() }))
}

fn stack(interpreter: &Interpreter) -> Result<Verdict> {
    let stacks = (0..256 << 10).step_by(4096);
    limited(interpreter, "stack", stacks.map(|stack| Limits { stack: Some(stack), ..Limits::default() }))
}
