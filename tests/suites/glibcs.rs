//! Other glibcs: the guests, and the programs of other distributions, inside their own unpacked roots.

#[path = "real/programs.rs"]
mod programs;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use folio_tests::compare;
use folio_tests::guest::Guest;
use folio_tests::interpreter::Interpreter;
use folio_tests::maps;
use folio_tests::roots::{self, Root, Unavailable};
use folio_tests::run::{Run, Status};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;

use programs::{PROGRAMS, Program};

/// Debian's suites with other glibcs than the oldest one that is supported: 2.41, and the newest there is.
const SUITES: [&str; 2] = ["trixie", "sid"];

/// The versions that Folio has a measured table for: for these, handing over to glibc's loader is a failure.
const TABLES: [&str; 3] = ["2.36", "2.41", "2.43"];

/// Programs that are compared on this machine's own glibc alone: their packages are large, or no package has them.
const HERE_ONLY: [&str; 8] = ["cargo", "gcc", "gdb", "gpg", "node", "rustc", "strace", "vim"];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let guests = Guest::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("guests"))?;
    let mut tests = Vec::new();
    for suite in SUITES {
        let with = interpreter.clone();
        tests.push(in_root(suite, "own_loader", move |root| own_loader(root, &with)));
        for guest in &guests {
            for mode in guest.directives.modes.clone() {
                let (guest, with) = (guest.clone(), interpreter.clone());
                let name = format!("guest::{}::{mode}", guest.name);
                tests.push(in_root(suite, &name, move |root| run_guest(root, &guest, mode, &with)));
            }
        }
        for program in
            PROGRAMS.iter().filter(|program| !HERE_ONLY.contains(&program.program) && program.needs.is_empty())
        {
            let with = interpreter.clone();
            let name = format!("program::{}", program.name);
            tests.push(in_root(suite, &name, move |root| run_program(root, program, &with)));
        }
    }
    Ok(tests)
}

fn in_root(suite: &'static str, name: &str, body: impl FnOnce(&Root) -> Result<Verdict> + Send + 'static) -> Trial {
    suite::test(format!("glibcs::{suite}::{name}"), move || match roots::root(suite)? {
        Ok(root) => body(&root),
        Err(Unavailable(reason)) => Ok(Verdict::Skip(reason)),
    })
}

/// Under Folio alone, unless this glibc has outgrown every table: then the start is handed over, whole.
fn own_loader(root: &Root, interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("the interpreter under test is glibc's own".to_owned()));
    }
    let folder = workspace::fresh(&format!("roots/{}/runs/own_loader", root.suite))?;
    let copy = folder.join("cat");
    interpreter.adopt(&root.path.join("usr/bin/cat"), &copy)?;
    let run = Run::new(&copy).args(["/proc/self/maps"]).in_folder(&folder);
    let outcome = root.inside(&run)?.outcome()?;
    let shown = String::from_utf8_lossy(&outcome.stdout);
    let handed_over = !maps::glibc_loader(&shown).is_empty();
    let version = root.glibc_version()?;
    if outcome.status != Status::Exit(0) || !shown.contains("libc.so.6") {
        return Ok(Verdict::Fail(format!("{}\n{shown}{}", outcome.status, String::from_utf8_lossy(&outcome.stderr))));
    }
    if handed_over && TABLES.contains(&version.as_str()) {
        return Ok(Verdict::Fail(format!("glibc {version} has a table, but glibc's loader was used:\n{shown}")));
    }
    if handed_over {
        eprintln!("{}: glibc {version} has outgrown every table; its start was handed over and works", root.suite);
    }
    Ok(Verdict::Pass)
}

fn run_guest(
    root: &Root,
    guest: &Guest,
    mode: folio_tests::directives::Mode,
    interpreter: &Interpreter,
) -> Result<Verdict> {
    if let Some(reason) = &guest.directives.skip {
        return Ok(Verdict::Skip(reason.clone()));
    }
    if guest.directives.only_folio && interpreter.is_stand_in() {
        return Ok(Verdict::Skip("the interpreter under test is glibc's own".to_owned()));
    }
    Ok(Verdict::from_findings(guest.findings(mode, interpreter, |run| root.inside(&run))?))
}

fn run_program(root: &Root, program: &'static Program, interpreter: &Interpreter) -> Result<Verdict> {
    let original = root.find(program.program).with_context(|| format!("the root has no {}", program.program))?;
    let folder = workspace::fresh(&format!("roots/{}/runs/{}", root.suite, program.name))?;
    let preparation =
        Run::new("/bin/sh").args(["-ec", program.prepare]).in_folder(&folder).env("HOME", &folder).outcome()?;
    anyhow::ensure!(preparation.status == Status::Exit(0), "the preparation script failed");
    let copy = folder.join(original.file_name().context("a program has a name")?);
    interpreter.adopt(&root.path.join(original.strip_prefix("/")?), &copy)?;
    let native = Run::new(&original)
        .args(program.arguments.iter().copied())
        .in_folder(&folder)
        .env("HOME", &folder)
        .with_input(program.input)
        .within(Duration::from_secs(120));
    let adopted = root.inside(&Run { program: copy, ..native.clone() })?;
    let expected = root.inside(&native)?.outcome()?;
    let mut findings = Vec::new();
    if expected.status != Status::Exit(0) || !String::from_utf8_lossy(&expected.stdout).contains(program.expect) {
        let said = [&expected.stdout[..], &expected.stderr[..]].concat();
        findings.push(format!("under glibc: {}\n{}", expected.status, String::from_utf8_lossy(&said)));
    }
    let difference = compare::difference(&expected, &adopted.outcome()?);
    findings.extend(difference.map(|text| format!("{text}reproduce: {}\n", adopted.reproduction())));
    Ok(Verdict::from_findings(findings))
}
