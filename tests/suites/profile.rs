//! `folio profile` on real programs: its parts add up, and it counts what the interpreter counts under
//! `LD_DEBUG=statistics`; and the record that it is made from, which a set-user-ID program does not write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;
use serde_json::Value;

/// Missing ones are skipped, with their name.
const PROGRAMS: [&str; 6] = ["true", "bash", "git", "gdb", "perl", "curl"];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let command = workspace::command()?;
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for name in PROGRAMS {
        let command = command.clone();
        tests.push(suite::test(format!("profile::{name}"), move || match find(name) {
            Some(program) => profiled(&command, &program),
            None => Ok(Verdict::Skip(format!("{name} is not installed (tests/packages.txt names its package)"))),
        }));
    }
    let with = interpreter.clone();
    tests.push(suite::test("profile::record", move || record(&with)));
    tests.push(suite::test("profile::secure", move || secure(&interpreter)));
    Ok(tests)
}

/// What the interpreter beside the command says of its lookups: how many, and how many more took the answer of one.
fn statistics(command: &Path, program: &Path) -> Result<[u64; 2]> {
    let interpreter = command.with_file_name("ld-folio.so.1");
    let said = Run::new(interpreter).args([program, Path::new("--version")]).env("LD_DEBUG", "statistics").outcome()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let number = |label: &str| -> Result<u64> {
        let line = said.lines().find_map(|line| line.trim_start().split_once(label)).context(said.clone())?;
        Ok(line.1.trim().parse()?)
    };
    Ok([number(" number of relocations: ")?, number(" number of relocations from cache: ")?])
}

/// How many references the start of a program binds to another object than their own: none of these is found without asking one.
fn bound_to_others(command: &Path, program: &Path) -> Result<u64> {
    let interpreter = command.with_file_name("ld-folio.so.1");
    let run = Run::new(interpreter).args([program, Path::new("--version")]).env("LD_DEBUG", "bindings,files");
    let said = String::from_utf8_lossy(&run.outcome()?.stderr).into_owned();
    let start = said.lines().take_while(|line| !line.contains("transferring control: "));
    let ends = start.filter_map(|line| line.split_once("binding file ")?.1.split_once(" to "));
    let file = |text: &str| text.split(" [").next().map(str::to_owned);
    let count = ends.filter(|(from, to)| file(from) != file(to)).count();
    ensure!(count > 0, "{said}");
    Ok(u64::try_from(count)?)
}

fn profiled(command: &Path, program: &Path) -> Result<Verdict> {
    let arguments = ["profile", "--json", "--runs", "3"].map(Into::into);
    let run = Run::new(command).args(arguments.into_iter().chain([program.as_os_str().to_owned()]));
    let outcome = run.outcome()?;
    ensure!(outcome.status == Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    let told: Value = serde_json::from_slice(&outcome.stdout)?;
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_f64().unwrap_or(-1.0);
    let mut findings = Vec::new();
    let mut check = |holds: bool, what: String| findings.extend((!holds).then_some(what));

    let whole = number(&told["linker"]);
    let parts: f64 = list("parts").iter().map(|part| number(&part["time"])).sum();
    check((parts - whole).abs() <= whole * 1e-6, format!("the parts are {parts} µs, the whole is {whole} µs"));
    let of_libraries: f64 = list("libraries").iter().map(|library| number(&library["time"])).sum();
    check(of_libraries > 0.0 && of_libraries < whole, format!("libraries take {of_libraries} of {whole} µs"));
    let faults: u64 = list("parts").iter().filter_map(|part| part["minor_faults"].as_u64()).sum();
    check(faults > 20 && told["minor_faults"] == faults, format!("{faults} and {} faults", told["minor_faults"]));

    let sum = |figure: &str| list("libraries").iter().filter_map(|library| library[figure].as_u64()).sum::<u64>();
    let [bound, repeated] = statistics(command, program)?;
    // The statistics leave out references that nobody defines.
    check(sum("lookups") >= bound, format!("{} lookups, {bound} bound", sum("lookups")));
    check(sum("lookups") <= bound + bound / 4 + 50, format!("{} lookups, {bound} bound", sum("lookups")));
    check(sum("repeated") == repeated, format!("{} and {repeated} repeated", sum("repeated")));
    let others = bound_to_others(command, program)?;
    check(sum("asked") >= others, format!("{} objects asked for {others} references", sum("asked")));
    check(sum("filtered") < sum("asked"), format!("{} of {} filtered", sum("filtered"), sum("asked")));
    // libc resolves its own string functions at least.
    check(sum("resolvers") > 20, format!("{} resolvers", sum("resolvers")));
    let longest = list("libraries").iter().filter_map(|library| library["longest"].as_u64()).max();
    let objects = list("libraries").len() as u64;
    check(longest.is_some_and(|longest| longest > 0 && longest <= objects + 2), format!("{longest:?} of {objects}"));

    // The program's code does not run, and all that it needs was relocated.
    let listed = Run::new(command.with_file_name("ld-folio.so.1")).args([Path::new("--list"), program]).outcome()?;
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let Some((_, path)) = line.split_once(" => ") else { continue };
        let path = path.split(" (").next().unwrap_or(path);
        let is_there = list("libraries").iter().any(|it| it["path"] == path && number(&it["relocate"]) > 0.0);
        check(is_there, format!("{path} is not in the profile"));
    }
    Ok(Verdict::from_findings(findings))
}

/// A program copied into a folder that everybody may write to, with the interpreter under test.
fn adopted(name: &str, program: &str, interpreter: &Interpreter) -> Result<(PathBuf, PathBuf)> {
    let folder = PathBuf::from(format!("/tmp/folio-profile-{name}-{}", std::process::id()));
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    let copy = folder.join("program");
    interpreter.adopt(&find(program).with_context(|| program.to_owned())?, &copy)?;
    Ok((folder, copy))
}

fn records(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let records = |path: &Result<PathBuf>| path.as_ref().is_ok_and(|path| path.to_string_lossy().contains("/record."));
    entries.filter(records).collect()
}

const STAND_IN: &str = "glibc's loader writes no profile";

/// Without `stop` the program runs, and the record is there; a value that names no file is passed over.
fn record(interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip(STAND_IN.to_owned()));
    }
    let (folder, copy) = adopted("record", "echo", interpreter)?;
    let mut findings = Vec::new();
    for (value, count) in [("nonsense", 0), (":{}/record", 1), ("counts,later:{}/record", 2), ("stop:{}/record", 3)] {
        let value = value.replace("{}", &folder.display().to_string());
        let outcome = Run::new(&copy).args(["runs"]).env("LD_FOLIO_PROFILE", &value).outcome()?;
        let expected: &[u8] = if value.starts_with("stop") { b"" } else { b"runs\n" };
        if outcome.status != Status::Exit(0) || outcome.stdout != expected {
            findings.push(format!("{value}: {} {}", outcome.status, String::from_utf8_lossy(&outcome.stdout)));
        }
        let written = records(&folder)?;
        if written.len() != count {
            findings.push(format!("{value}: {} records", written.len()));
        }
        for path in written {
            let text = fs::read_to_string(&path)?;
            if !text.starts_with("folio-profile 1\nstart ") || !text.contains("\nspan initialise ") {
                findings.push(text);
            }
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(Verdict::from_findings(findings))
}

/// A set-user-ID program writes nothing where its user wants it, and does not see the variable.
fn secure(interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip(STAND_IN.to_owned()));
    }
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a set-user-ID program of root's needs root".to_owned()));
    }
    let (folder, copy) = adopted("secure", "env", &interpreter.reachable()?)?;
    let mut findings = Vec::new();
    for (mode, seen) in [(0o4755, 0), (0o755, 1)] {
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode))?;
        let outcome = Run::new(find("setpriv").context("setpriv (package util-linux) is missing")?)
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/env"])
            .args([format!("LD_FOLIO_PROFILE=:{}/record", folder.display())])
            .args([&copy])
            .outcome()?;
        ensure!(outcome.status == Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
        let variables = String::from_utf8_lossy(&outcome.stdout).matches("LD_FOLIO_PROFILE=").count();
        // /usr/bin/env itself runs under the loader that it names.
        let written = records(&folder)?.len();
        if (variables, written) != (seen, seen) {
            findings.push(format!("mode {mode:o}: {variables} variables seen, {written} records"));
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(Verdict::from_findings(findings))
}
