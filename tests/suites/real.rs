//! Real programs of the machine, doing real work: a copy of each under Folio as `PT_INTERP` gives what the original
//! gives, and has no page of glibc's loader mapped; and, as root, the same with everything they start under Folio too.

#[path = "real/programs.rs"]
mod programs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use folio_tests::compare;
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Run, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::{maps, namespace, workspace};
use libtest_mimic::Trial;

use programs::{PROGRAMS, Program};

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = vec![suite::test("real::control", control)];
    for program in PROGRAMS {
        let with = interpreter.clone();
        tests.push(suite::test(format!("real::{}::copied", program.name), move || copied(program, &with)));
        let with = interpreter.clone();
        tests.push(suite::test(format!("real::{}::mounted", program.name), move || mounted(program, &with)));
    }
    Ok(tests)
}

/// The check for glibc's loader sees it where it is: in a program that runs under it.
fn control() -> Result<Verdict> {
    let mapped = maps::at_exit(&Run::new("/bin/true"))?;
    let seen = !maps::glibc_loader(&mapped).is_empty();
    Ok(if seen { Verdict::Pass } else { Verdict::Fail(format!("glibc's loader is not seen in\n{mapped}")) })
}

/// A copy of the program whose `PT_INTERP` names the interpreter under test.
fn copied(program: &'static Program, interpreter: &Interpreter) -> Result<Verdict> {
    let Some(original) = located(program) else { return Ok(missing(program)) };
    let folder = workspace::fresh(&format!("real/{}", program.name))?;
    let run = prepare(program, &original, &folder)?;
    // A tree of its own for the copy, with the original's libraries beside it, so that `$ORIGIN/../lib` finds them.
    let tree = folder.join("tree");
    std::fs::create_dir_all(tree.join("bin"))?;
    if let Some(lib) = original.parent().and_then(Path::parent).map(|prefix| prefix.join("lib")) {
        std::os::unix::fs::symlink(lib, tree.join("lib"))?;
    }
    let copy = tree.join("bin").join(original.file_name().context("a program has a name")?);
    interpreter.adopt(&original, &copy)?;
    let adopted = Run { program: copy, ..run.clone() };
    let mut findings = judge(program, &run, &adopted)?;
    if !interpreter.is_stand_in() {
        let mapped = maps::at_exit(&adopted)?;
        let glibc = maps::glibc_loader(&mapped);
        if !glibc.is_empty() {
            findings.push(format!("glibc's loader is mapped:\n{}", glibc.join("\n")));
        }
    }
    Ok(Verdict::from_findings(findings))
}

/// The program in place, with the interpreter under test bound over glibc's.
fn mounted(program: &'static Program, interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a bind mount needs root".to_owned()));
    }
    let Some(original) = located(program) else { return Ok(missing(program)) };
    let folder = workspace::fresh(&format!("real/{}.mounted", program.name))?;
    let run = prepare(program, &original, &folder)?;
    let inside = namespace::with_interpreter_mounted(&run, interpreter.path())?;
    Ok(Verdict::from_findings(judge(program, &run, &inside)?))
}

/// Where the program is, when all that it starts is there too.
fn located(program: &Program) -> Option<PathBuf> {
    program.needs.iter().all(|name| find(name).is_some()).then(|| locate(program.program)).flatten()
}

fn missing(program: &Program) -> Verdict {
    Verdict::Skip(format!("{} is not installed (tests/packages.txt names its package)", program.program))
}

/// Finds the program; rustup's toolchain stands for cargo and rustc, whose names on the path are a proxy's.
fn locate(name: &str) -> Option<PathBuf> {
    if matches!(name, "cargo" | "rustc") {
        let cargo = PathBuf::from(std::env::var_os("CARGO")?);
        let tool = cargo.with_file_name(name);
        return tool.is_file().then_some(tool);
    }
    std::fs::canonicalize(find(name)?).ok()
}

/// Makes the working folder ready with the program's preparation script, and says how to run it.
fn prepare(program: &Program, original: &Path, folder: &Path) -> Result<Run> {
    let work = folder.join("work");
    std::fs::create_dir_all(&work)?;
    let preparation =
        Run::new("/bin/sh").args(["-ec", program.prepare]).in_folder(&work).env("HOME", &work).outcome()?;
    anyhow::ensure!(
        preparation.status == folio_tests::run::Status::Exit(0),
        "preparation failed: {}",
        String::from_utf8_lossy(&preparation.stderr)
    );
    Ok(Run::new(original)
        .named(original)
        .args(program.arguments.iter().copied())
        .in_folder(&work)
        .env("HOME", &work)
        .with_input(program.input)
        .within(Duration::from_secs(120)))
}

fn judge(program: &Program, original: &Run, adopted: &Run) -> Result<Vec<String>> {
    let expected = original.outcome()?;
    let mut findings = Vec::new();
    let said = String::from_utf8_lossy(&expected.stdout);
    if expected.status != folio_tests::run::Status::Exit(0) || !said.contains(program.expect) {
        findings.push(format!(
            "under glibc: {}, without {:?} in its output\n{said}{}",
            expected.status,
            program.expect,
            String::from_utf8_lossy(&expected.stderr)
        ));
    }
    if let Some(difference) = compare::difference(&expected, &adopted.outcome()?) {
        findings.push(format!("{difference}reproduce: {}\n", adopted.reproduction()));
    }
    Ok(findings)
}
