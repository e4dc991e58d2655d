//! Users of the loader's run-time interface: programs that open libraries, and tools that look into programs that do.
//!
//! Each is a script of `users/`. One of `dlopen/` runs with everything that it starts under the interpreter, which lies over
//! glibc's in a mount namespace: so it needs root, and set-user-ID programs keep their bit. One of `tools/` runs a tool under
//! glibc on programs that it links for `$INTERPRETER`. Both are run with glibc's loader too, and must do the same.

#[path = "users/script.rs"]
mod script;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::run::{Outcome, Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::{compare, namespace, workspace};
use libtest_mimic::Trial;

use script::Script;

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/users");
    let with = interpreter.clone();
    let mut tests = vec![suite::test("users::control", move || control(&with))];
    type Check = fn(&Script, &Interpreter) -> Result<Verdict>;
    for (kind, check) in [("dlopen", mounted as Check), ("tools", linked as Check)] {
        for script in Script::all(&folder.join(kind))? {
            let (with, ignored) = (interpreter.clone(), script.heavy && !workspace::all_suites());
            let name = format!("users::{kind}::{}", script.name);
            let test = suite::test(name, move || {
                let missing = script.needs.iter().find(|name| find(name).is_none() && !Path::new(name).is_file());
                match missing {
                    Some(name) => {
                        Ok(Verdict::Skip(format!("{name} is not installed (its package is in tests/packages*.txt)")))
                    }
                    None => check(&script, &with),
                }
            });
            tests.push(test.with_ignored_flag(ignored));
        }
    }
    Ok(tests)
}

/// What lies behind glibc's path where the scripts of `dlopen/` run is the interpreter under test.
fn control(interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a bind mount needs root".to_owned()));
    }
    let run = Run::new("/usr/bin/cmp").args([interpreter.path(), Path::new(GLIBC)]);
    let outcome = namespace::with_interpreter_mounted(&run, interpreter.path())?.outcome()?;
    let same = outcome.status == Status::Exit(0);
    Ok(if same { Verdict::Pass } else { Verdict::Fail(String::from_utf8_lossy(&outcome.stdout).into_owned()) })
}

/// The script and all that it starts, with the interpreter over glibc's.
fn mounted(script: &Script, interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a bind mount needs root".to_owned()));
    }
    let expected = run(script)?.outcome()?;
    let inside = namespace::with_interpreter_mounted(&run(script)?, interpreter.path())?;
    Ok(judge(script, &expected, &inside.outcome()?, &inside))
}

/// The script, whose programs are linked for the one interpreter and for the other.
fn linked(script: &Script, interpreter: &Interpreter) -> Result<Verdict> {
    let outcome = |path: &Path| -> Result<(Outcome, Run)> {
        let run = run(script)?.env("INTERPRETER", path);
        let mut outcome = run.outcome()?;
        for stream in [&mut outcome.stdout, &mut outcome.stderr] {
            *stream = compare::replace(stream, &path.display().to_string(), "INTERPRETER");
            *stream = compare::without_addresses(stream);
        }
        Ok((outcome, run))
    };
    let (expected, _) = outcome(Path::new(GLIBC))?;
    let (actual, run) = outcome(interpreter.path())?;
    Ok(judge(script, &expected, &actual, &run))
}

/// The script in a fresh working folder, which other users can reach.
fn run(script: &Script) -> Result<Run> {
    let folder = PathBuf::from(format!("/tmp/folio-users-{}", nix::unistd::geteuid())).join(&script.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    Ok(Run::new("/bin/bash").args([&script.path]).in_folder(folder).within(Duration::from_secs(300)))
}

fn judge(script: &Script, expected: &Outcome, actual: &Outcome, adopted: &Run) -> Verdict {
    let mut findings = Vec::new();
    let said = String::from_utf8_lossy(&expected.stdout);
    for text in script.expect.iter().filter(|text| !said.contains(text.as_str())) {
        let errors = String::from_utf8_lossy(&expected.stderr);
        findings.push(format!("under glibc: {}, without {text:?} in its output\n{said}{errors}", expected.status));
    }
    if expected.status != Status::Exit(0) {
        findings.push(format!("under glibc: {}", expected.status));
    }
    if let Some(difference) = compare::difference(expected, actual) {
        findings.push(format!("{difference}reproduce: {}\n", adopted.reproduction()));
    }
    Verdict::from_findings(findings)
}
