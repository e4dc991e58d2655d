//! `--list` and `LD_TRACE_LOADED_OBJECTS`, which ldd uses: the same objects at the same places in the same order.
//!
//! Addresses differ from run to run, and the line of the interpreter names the interpreter that lists, so addresses are
//! blotted out and that one line is left out.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use folio_tests::compare;
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::run::{Outcome, Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;

const PROGRAMS: [&str; 6] = ["bash", "curl", "git", "perl", "python3", "vim"];

/// Small programs that list something out of the ordinary, made in a folder by a shell script.
const SPECIAL: [(&str, &str); 3] = [
    (
        "missing",
        "echo 'int gone(void) { return 0; }' | gcc -x c -shared -fPIC -o libgone.so -; \
         echo 'int gone(void); int main(void) { return gone(); }' | gcc -x c -o program - -L. -lgone; rm libgone.so",
    ),
    (
        "no_needs",
        "echo 'void _start(void) {}' | gcc -x c -nostdlib -pie -fPIE -o program - -Wl,-dynamic-linker=/lib64/ld-linux-x86-64.so.2",
    ),
    (
        "runpath",
        "mkdir a; echo 'int f(void) { return 0; }' | gcc -x c -shared -fPIC -o a/libf.so -; \
         echo 'int f(void); int main(void) { return f(); }' | gcc -x c -o program - -La -lf -Wl,-rpath,'$ORIGIN/a/../a'",
    ),
];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for name in PROGRAMS {
        let with = interpreter.clone();
        tests.push(suite::test(format!("listing::{name}"), move || {
            let Some(program) = find(name) else {
                return Ok(Verdict::Skip(format!("{name} is not installed (tests/packages.txt names its package)")));
            };
            let folder = workspace::fresh(&format!("listing/{name}"))?;
            std::fs::copy(std::fs::canonicalize(program)?, folder.join("program"))?;
            listed(&folder, &with)
        }));
    }
    for (name, script) in SPECIAL {
        let with = interpreter.clone();
        tests.push(suite::test(format!("listing::{name}"), move || {
            let folder = workspace::fresh(&format!("listing/{name}"))?;
            let made = Run::new("/bin/sh").args(["-ec", script]).in_folder(&folder).outcome()?;
            ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
            listed(&folder, &with)
        }));
    }
    Ok(tests)
}

/// Lists `program` of the folder in both ways under both interpreters.
fn listed(folder: &Path, interpreter: &Interpreter) -> Result<Verdict> {
    let program = folder.join("program");
    let copy = folder.join("program.interp");
    interpreter.adopt(&program, &copy)?;
    let traced =
        |program: &Path| Run::new(program).named("./program").env("LD_TRACE_LOADED_OBJECTS", "1").in_folder(folder);
    let list = |loader: &Path| Run::new(loader).named("ld.so").args(["--list", "./program"]).in_folder(folder);
    let pairs = [(traced(&program), traced(&copy)), (list(Path::new(GLIBC)), list(interpreter.path()))];
    let mut findings = Vec::new();
    for (native, under_test) in pairs {
        let expected = without_interpreter(native.outcome()?, Path::new(GLIBC))?;
        let actual = without_interpreter(under_test.outcome()?, interpreter.path())?;
        let difference = compare::difference(&expected, &actual);
        findings.extend(difference.map(|text| format!("{text}reproduce: {}\n", under_test.reproduction())));
    }
    Ok(Verdict::from_findings(findings))
}

fn without_interpreter(mut outcome: Outcome, interpreter: &Path) -> Result<Outcome> {
    let name = interpreter.file_name().context("an interpreter has a name")?.to_string_lossy().into_owned();
    let text = String::from_utf8(compare::without_addresses(&outcome.stdout))?;
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains(&name) && !line.contains("/ld-linux") && !line.contains("/tmp/folio-"))
        .collect();
    outcome.stdout = kept.join("\n").into_bytes();
    outcome.stderr = compare::without_requester(&outcome.stderr);
    Ok(outcome)
}
