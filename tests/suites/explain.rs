//! `folio explain` against what glibc's loader says of the same start: the same files asked for by the same objects, the
//! same versions, the same winner for every reference, and the same order of initializers.
//!
//! The loader speaks through `LD_DEBUG=files,bindings,versions` with `LD_BIND_NOW`, so that it binds all at once. What it says
//! once the first initializer runs is about dlopen(3) and dlsym(3), of which a plan knows nothing. What it binds for itself is
//! no part of a program's plan either: its own references, those of the vDSO, and last of all the allocator that it uses from
//! then on, in the program's name (*glibc elf/dl-minimal.c, __rtld_malloc_init_real*).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use folio_tests::interpreter::GLIBC;
use folio_tests::run::{Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;
use serde_json::Value;

/// The allocator's functions in the order in which the loader looks them up for itself.
const ALLOCATOR: [&str; 4] = ["calloc", "free", "malloc", "realloc"];

/// Real programs and something that they do quickly. Missing ones are skipped, with their name.
const PROGRAMS: [(&str, &str); 14] = [
    ("bash", "--version"),
    ("curl", "--version"),
    ("file", "--version"),
    ("g++", "--version"),
    ("gdb", "--version"),
    ("git", "--version"),
    ("gpg", "--version"),
    ("node", "--version"),
    ("openssl", "version"),
    ("perl", "--version"),
    ("python3", "--version"),
    ("sqlite3", "--version"),
    ("ssh", "-V"),
    ("vim", "--version"),
];

/// Name, script that makes `program`, environment of its start.
type Special = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Programs that bind something out of the ordinary.
const SPECIAL: [Special; 7] = [
    (
        "interposed",
        "echo 'int who(void){return 1;} int call(void){return who();}' | gcc -x c -shared -fPIC -o liba.so -; \
         echo 'int who(void){return 2;}' | gcc -x c -shared -fPIC -o libb.so -; \
         echo 'int call(void); int main(void){return call();}' | gcc -x c -o program - -L. -Wl,--no-as-needed -lb -la -Wl,-rpath,'$ORIGIN'",
        &[],
    ),
    (
        "protected",
        "echo '__attribute__((visibility(\"protected\"))) int who(void){return 1;} int call(void){return who();} int(*p)(void)=who;' \
            | gcc -x c -shared -fPIC -o liba.so -; \
         echo 'int who(void){return 2;}' | gcc -x c -shared -fPIC -o libb.so -; \
         echo 'int call(void); int main(void){return call();}' | gcc -x c -o program - -L. -Wl,--no-as-needed -lb -la -Wl,-rpath,'$ORIGIN'",
        &[],
    ),
    (
        "symbolic",
        "echo 'int who(void){return 1;} int call(void){return who();}' | gcc -x c -shared -fPIC -c -o a.o -; \
         gcc -shared -o liba.so a.o -Wl,-Bsymbolic-functions; gcc -shared -o libs.so a.o -Wl,-Bsymbolic; \
         echo 'int call(void); int who(void){return 2;} int main(void){return call();}' \
            | gcc -x c -rdynamic -o program - -L. -Wl,--no-as-needed -ls -la -Wl,-rpath,'$ORIGIN'",
        &[],
    ),
    (
        "versions",
        "echo 'A{global:who;}; B{global:who;}A;' >v.map; \
         printf '__asm__(\".symver old,who@A\");__asm__(\".symver new,who@@B\");int old(void){return 1;}int new(void){return 2;}' \
            | gcc -x c -shared -fPIC -o libv.so - -Wl,--version-script=v.map; \
         printf '__asm__(\".symver who,who@A\");int who(void);int first(void){return who();}' \
            | gcc -x c -shared -fPIC -o liba.so - -L. -lv -Wl,-rpath,'$ORIGIN'; \
         echo 'int who(void); int first(void); int main(void){return who()+first();}' \
            | gcc -x c -o program - -L. -Wl,--no-as-needed -la -lv -Wl,-rpath,'$ORIGIN'",
        &[],
    ),
    (
        "copied",
        "echo 'int shared=3; int *where(void){return &shared;}' | gcc -x c -shared -fPIC -o liba.so -; \
         echo 'extern int shared; int *where(void); int main(void){return where()!=&shared;}' \
            | gcc -x c -no-pie -fno-pie -o program - -L. -la -Wl,-rpath,'$ORIGIN'",
        &[],
    ),
    (
        "unique_and_cycle",
        "echo 'template<class T> struct S{static int v;}; template<class T> int S<T>::v=1; extern \"C\" int b(); extern \"C\" int a(){return S<int>::v;} extern \"C\" int ab(){return b();}' >a.cc; \
         echo 'template<class T> struct S{static int v;}; template<class T> int S<T>::v=1; extern \"C\" int a(); extern \"C\" int b(){return S<int>::v+a();}' >b.cc; \
         g++ -shared -fPIC -o libb.so b.cc; g++ -shared -fPIC -o liba.so a.cc -L. -lb -Wl,-rpath,'$ORIGIN'; \
         g++ -shared -fPIC -o libb.so b.cc -L. -la -Wl,-rpath,'$ORIGIN'; \
         echo 'extern \"C\" int ab(); int main(){return ab();}' >m.cc; g++ -o program m.cc -L. -la -Wl,-rpath,'$ORIGIN'",
        &[],
    ),
    (
        "environment",
        "mkdir other; echo 'int who(void){return 1;}' | gcc -x c -shared -fPIC -o libw.so -; \
         echo 'int who(void){return 2;}' | gcc -x c -shared -fPIC -o other/libw.so -; \
         echo 'int who(void){return 3;} int rand(void){return 4;}' | gcc -x c -shared -fPIC -o other/libp.so -; \
         echo 'int who(void); int rand(void); int main(void){return who()+rand();}' | gcc -x c -o program - -L. -lw -Wl,-rpath,'$ORIGIN'",
        &[("LD_LIBRARY_PATH", "nowhere:other"), ("LD_PRELOAD", "libp.so libm.so.6")],
    ),
];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let command = workspace::command()?;
    let mut tests = Vec::new();
    for (name, argument) in PROGRAMS {
        let command = command.clone();
        tests.push(suite::test(format!("explain::{name}"), move || {
            let Some(program) = find(name) else {
                return Ok(Verdict::Skip(format!("{name} is not installed (tests/packages.txt names its package)")));
            };
            compared(name, &command, &program, argument, &[], Path::new("/"))
        }));
    }
    for (name, script, environment) in SPECIAL {
        let command = command.clone();
        tests.push(suite::test(format!("explain::{name}"), move || {
            let folder = workspace::fresh(&format!("explain/{name}"))?;
            let made = Run::new("/bin/sh").args(["-ec", script]).in_folder(&folder).outcome()?;
            ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
            compared(name, &command, &folder.join("program"), "", environment, &folder)
        }));
    }
    Ok(tests)
}

/// What a start decides, in lines that both sides can be brought to.
#[derive(Default)]
struct Start {
    /// `NAME needed by OBJECT`, in order.
    files: Vec<String>,
    versions: Vec<String>,
    /// `OBJECT: SYMBOL VERSION -> WINNER`.
    bindings: BTreeSet<String>,
    initialised: Vec<String>,
}

fn compared(
    name: &str,
    command: &Path,
    program: &Path,
    argument: &str,
    environment: &[(&str, &str)],
    folder: &Path,
) -> Result<Verdict> {
    let with = |mut run: Run| {
        for (name, value) in environment {
            run = run.env(*name, *value);
        }
        run.in_folder(folder)
    };
    let logs = workspace::fresh(&format!("explain/logs-{name}"))?;
    let arguments: Vec<OsString> = if argument.is_empty() { vec![] } else { vec![argument.into()] };
    let run = with(Run::new(program).args(arguments))
        .env("LD_BIND_NOW", "1")
        .env("LD_DEBUG", "files,bindings,versions")
        .env("LD_DEBUG_OUTPUT", logs.join("log"));
    run.outcome()?;
    let glibc = spoken(&first_log(&logs)?, program)?;
    let explained = with(Run::new(command).args(["explain", "--json", "--bindings"]).args([program])).outcome()?;
    ensure!(explained.status == Status::Exit(0), "{}", String::from_utf8_lossy(&explained.stderr));
    let folio = planned(&serde_json::from_slice(&explained.stdout)?)?;
    let mut findings = Vec::new();
    for (what, ours, theirs) in [
        ("files", &folio.files, &glibc.files),
        ("versions", &folio.versions, &glibc.versions),
        ("initialised", &folio.initialised, &glibc.initialised),
    ] {
        if ours != theirs {
            let difference = folio_tests::compare::diff(&theirs.join("\n"), &ours.join("\n"));
            findings.push(format!("{what} (- glibc, + folio explain):\n{difference}"));
        }
    }
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).take(10).cloned().collect::<Vec<_>>();
    let (missing, invented) = (only(&glibc.bindings, &folio.bindings), only(&folio.bindings, &glibc.bindings));
    if !missing.is_empty() || !invented.is_empty() {
        findings.push(format!("bindings:\n- {}\n+ {}", missing.join("\n- "), invented.join("\n+ ")));
    }
    // A comparison of nothing with nothing would prove nothing.
    ensure!(glibc.bindings.len() > 1 && !glibc.files.is_empty(), "LD_DEBUG said too little of {}", program.display());
    println!(
        "{}: {} files, {} versions, {} bindings, {} initialised",
        program.display(),
        glibc.files.len(),
        glibc.versions.len(),
        glibc.bindings.len(),
        glibc.initialised.len()
    );
    Ok(Verdict::from_findings(findings))
}

/// The log of the process that was started first. The others are its children's, whose numbers may be lower.
fn first_log(folder: &Path) -> Result<String> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        logs.push((entry.metadata()?.created()?, entry.path()));
    }
    logs.sort();
    let (_, first) = logs.first().context("the loader wrote no log")?;
    Ok(String::from_utf8_lossy(&std::fs::read(first)?).into_owned())
}

/// Reads the lines of `LD_DEBUG`.
fn spoken(log: &str, program: &Path) -> Result<Start> {
    let mut start = Start::default();
    let shown = program.display().to_string();
    let mut has_begun = false;
    let mut bindings = Vec::new();
    for line in log.lines() {
        let line = line.split_once(":\t").map_or(line, |(_, line)| line).trim();
        if let Some(path) = line.strip_prefix("calling init: ").or_else(|| line.strip_prefix("initialize program: ")) {
            has_begun = true;
            start.initialised.push(path.to_owned());
        }
        if line.starts_with("initialize program: ") || line.starts_with("transferring control") {
            break;
        }
        if has_begun {
            continue;
        }
        if let Some((name, requester)) = between(line, "file=", " [0];  needed by ") {
            start.files.push(format!("{name} needed by {}", without_namespace(requester)));
        } else if let Some((version, rest)) = between(line, "checking for version `", "' in file ") {
            let (provider, requester) = rest.split_once(" required by file ").context("a need has a requester")?;
            let (provider, requester) = (without_namespace(provider), without_namespace(requester));
            start.versions.push(format!("{version} of {provider} for {requester}"));
        } else if let Some((requester, rest)) = between(line, "binding file ", " [0] to ") {
            let (winner, symbol) = rest.split_once(": ").context("a binding has a symbol")?;
            let (requester, winner) = (without_namespace(requester), without_namespace(winner));
            if requester != GLIBC && !requester.starts_with("linux-vdso") {
                bindings.push(format!("{requester}: {symbol} -> {winner}"));
            }
        }
    }
    let of_program = bindings.len().checked_sub(ALLOCATOR.len()).context("the loader looks its allocator up")?;
    for (line, name) in bindings.split_off(of_program).iter().zip(ALLOCATOR) {
        let is_own = line.starts_with(&format!("{shown}: normal symbol `{name}' "));
        ensure!(is_own, "not the loader's own lookup of {name}: {line}");
    }
    start.bindings.extend(bindings);
    ensure!(start.initialised.last() == Some(&shown), "{shown} was not initialised: {:?}", start.initialised.last());
    Ok(start)
}

fn between<'l>(line: &'l str, before: &str, middle: &str) -> Option<(&'l str, &'l str)> {
    line.strip_prefix(before)?.split_once(middle)
}

fn without_namespace(name: &str) -> &str {
    name.strip_suffix(" [0]").unwrap_or(name)
}

/// Reads the answer of `folio explain`.
fn planned(answer: &Value) -> Result<Start> {
    let list = |name: &str| answer[name].as_array().with_context(|| format!("the answer has {name}"));
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut start = Start::default();
    for search in list("searches")? {
        start.files.push(format!("{} needed by {}", text(search, "name"), text(search, "requester")));
    }
    for need in list("versions")? {
        let (version, provider) = (text(need, "version"), text(need, "provider"));
        start.versions.push(format!("{version} of {provider} for {}", text(need, "requester")));
    }
    for binding in list("bindings")? {
        let how = if binding["protected"] == true { "protected" } else { "normal" };
        let version = binding["version"].as_str().map_or(String::new(), |version| format!(" [{version}]"));
        let symbol = format!("{how} symbol `{}'{version}", text(binding, "symbol"));
        start.bindings.insert(format!("{}: {symbol} -> {}", text(binding, "requester"), text(binding, "winner")));
    }
    start.initialised = list("initialization")?.iter().map(|step| text(step, "path")).collect();
    Ok(start)
}
