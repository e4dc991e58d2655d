//! The variables of ld.so(8) by which a user looks into a start or bends it, and the options that list what a start finds.
//!
//! Everything is compared with glibc's loader, on this machine and inside the roots with other glibcs. Process numbers,
//! addresses and times are blotted out, and so are the lines that are about decisions which Folio makes otherwise: it
//! relocates itself before it is asked, and reads the vDSO without a search.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use folio_tests::compare;
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::roots::{self, Root, Unavailable};
use folio_tests::run::{self, Outcome, Run, Status};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;

/// A program with a weak and a strong definition of `who` in its libraries, a needless library, and one that it opens; and a
/// second program whose library lacks a function and an object.
const MAKE: &str = "\
    mkdir lib; \
    echo 'int __attribute__((weak)) who(void) { return 1; }' | gcc -x c -shared -fPIC -o lib/libweak.so -; \
    echo 'int who(void) { return 2; }' | gcc -x c -shared -fPIC -o lib/libstrong.so -; \
    gcc -o program program.c -Llib -Wl,--no-as-needed -lweak -lstrong -lm -Wl,--disable-new-dtags,-rpath,'$ORIGIN/lib'; \
    echo 'int gone(void); extern int lost; int f(void) { return gone() + lost; }' | gcc -x c -shared -fPIC -o lib/libf.so -; \
    echo 'int f(void); int main(void) { return f(); }' | gcc -x c -o broken - -Llib -lf -Wl,-rpath,'$ORIGIN/lib' \
        -Wl,--unresolved-symbols=ignore-all; \
    echo 'int help(void) { return 0; }' | gcc -x c -shared -fPIC -o lib/libfilter.so - -Wl,-f,libabsent.so; \
    echo 'int help(void); int main(void) { return help(); }' | gcc -x c -o filtered - -Llib -lfilter -Wl,-rpath,'$ORIGIN/lib'; \
    gcc -DFAILS -o failing program.c -Llib -Wl,--no-as-needed -lweak -Wl,-rpath,'$ORIGIN/lib'; \
    echo 'int main(void) { return 0; }' | gcc -x c -o plain - -Wl,--no-as-needed -lm";

const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
int who(void);
int main(void) {
#ifdef FAILS
    return dlopen("libf.so", RTLD_NOW) || dlopen("libabsent.so", RTLD_NOW) || dlsym(RTLD_DEFAULT, "absent");
#endif
    void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_GLOBAL);
    dlopen("libz.so.1", RTLD_NOW);
    printf("%d %d\n", who(), dlsym(library, "zlibVersion") != NULL);
    return dlclose(library) | dlclose(library);
}
"#;

/// The folder with the programs, made on first use.
fn made() -> Result<&'static Path> {
    static MADE: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let make = || -> Result<PathBuf> {
        let folder = workspace::fresh("environment/made")?;
        fs::write(folder.join("program.c"), PROGRAM)?;
        let made = Run::new("/bin/sh").args(["-ec", MAKE]).in_folder(&folder).outcome()?;
        ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(folder)
    };
    let made = MADE.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("{error}"))
}

/// Name, program, environment.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const CASES: [Case; 28] = [
    ("failing_files", "failing", &[("LD_DEBUG", "files"), ("LD_BIND_NOW", "1")]),
    ("failing_bindings", "failing", &[("LD_DEBUG", "bindings"), ("LD_BIND_NOW", "1")]),
    ("failing_versions", "failing", &[("LD_DEBUG", "versions")]),
    ("libs", "plain", &[("LD_DEBUG", "libs")]),
    ("files", "program", &[("LD_DEBUG", "files"), ("LD_BIND_NOW", "1")]),
    ("scopes", "program", &[("LD_DEBUG", "scopes")]),
    ("versions", "program", &[("LD_DEBUG", "versions")]),
    ("reloc", "program", &[("LD_DEBUG", "reloc")]),
    ("reloc_now", "program", &[("LD_DEBUG", "reloc"), ("LD_BIND_NOW", "1")]),
    ("bindings", "program", &[("LD_DEBUG", "bindings"), ("LD_BIND_NOW", "1")]),
    ("symbols", "program", &[("LD_DEBUG", "symbols"), ("LD_BIND_NOW", "1")]),
    ("several", "plain", &[("LD_DEBUG", "libs,files: versions"), ("LD_BIND_NOW", "1")]),
    ("all", "plain", &[("LD_DEBUG", "all"), ("LD_BIND_NOW", "1")]),
    ("statistics", "program", &[("LD_DEBUG", "statistics")]),
    ("help", "program", &[("LD_DEBUG", "help")]),
    ("help_and_more", "program", &[("LD_DEBUG", "libs,nonsense,help")]),
    ("unknown", "program", &[("LD_DEBUG", "nonsense")]),
    ("show_auxv", "program", &[("LD_SHOW_AUXV", "1")]),
    ("dynamic_weak", "program", &[("LD_DYNAMIC_WEAK", "")]),
    ("bind_not", "program", &[("LD_BIND_NOT", "1")]),
    ("trace_program", "program", &[("LD_TRACE_LOADED_OBJECTS", "2")]),
    ("trace_empty", "program", &[("LD_TRACE_LOADED_OBJECTS", "")]),
    ("ldd_v", "program", &[("LD_TRACE_LOADED_OBJECTS", "1"), ("LD_VERBOSE", "1")]),
    ("ldd_auxiliary", "filtered", &[("LD_TRACE_LOADED_OBJECTS", "1")]),
    ("ldd_u", "program", &[("LD_TRACE_LOADED_OBJECTS", "1"), ("LD_DEBUG", "unused")]),
    ("ldd_d", "broken", &[("LD_TRACE_LOADED_OBJECTS", "1"), ("LD_WARN", "yes")]),
    ("ldd_r", "broken", &[("LD_TRACE_LOADED_OBJECTS", "1"), ("LD_WARN", "yes"), ("LD_BIND_NOW", "yes")]),
    (
        "ldd_r_v",
        "broken",
        &[("LD_TRACE_LOADED_OBJECTS", "1"), ("LD_WARN", "yes"), ("LD_BIND_NOW", "yes"), ("LD_VERBOSE", "1")],
    ),
];

/// Words of direct starts under `LD_DEBUG=libs`. Without `glibc-hwcaps` folders, which glibc's loader looks for by trying files.
const LOADER_WORDS: [(&str, &[&str]); 2] = [
    ("tried", &["--glibc-hwcaps-mask", "none", "--library-path", "lib:nowhere:other", "./plain"]),
    ("tried_and_missing", &["--glibc-hwcaps-mask", "none", "--library-path", "other", "--inhibit-cache", "./failing"]),
];

/// What glibc's loader looks up for itself, on behalf of the program.
const OWN_SYMBOLS: [&str; 5] = ["_r_debug", "calloc", "free", "malloc", "realloc"];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

/// Where a test runs: on this machine, or inside a root.
type Place = Option<&'static str>;

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for place in [None, Some("trixie"), Some("sid")] {
        for (name, program, environment) in CASES {
            let with = interpreter.clone();
            tests.push(in_place(place, name, move |folder, root| variables(folder, root, program, environment, &with)));
        }
        // Up to 2.36 glibc's loader tries the directories of old hwcaps, too, which Folio does not know.
        for (name, words) in LOADER_WORDS.into_iter().filter(|_| place.is_some()) {
            let with = interpreter.clone();
            tests.push(in_place(place, name, move |folder, root| searches_of_loader(folder, root, words, &with)));
        }
        for option in ["--list-tunables", "--list-diagnostics"] {
            let with = interpreter.clone();
            tests
                .push(in_place(place, &option[2..], move |folder, root| option_of_loader(folder, root, option, &with)));
        }
    }
    let with = interpreter.clone();
    tests.push(in_place(None, "help", move |folder, _| subdirectories_in_help(folder, &with)));
    let with = interpreter.clone();
    tests.push(in_place(None, "output", move |folder, _| output_file(folder, &with)));
    let with = interpreter.clone();
    tests.push(in_place(None, "origin_path", move |folder, _| origin_path(folder, &with)));
    tests.push(in_place(None, "one_line_one_write", move |folder, _| lines_are_writes(folder, &interpreter)));
    Ok(tests)
}

fn in_place(
    place: Place,
    name: &str,
    body: impl FnOnce(&Path, Option<&Root>) -> Result<Verdict> + Send + 'static,
) -> Trial {
    let name = format!("environment::{}::{name}", place.unwrap_or("here"));
    suite::test(name.clone(), move || {
        let root = match place.map(roots::root).transpose()? {
            Some(Err(Unavailable(reason))) => return Ok(Verdict::Skip(reason)),
            Some(Ok(root)) => Some(root),
            None => None,
        };
        let folder = workspace::fresh(&name.replace("::", "/"))?;
        let copied = Run::new("/bin/cp").args(["-a", &made()?.join(".").display().to_string(), "."]).in_folder(&folder);
        ensure!(copied.outcome()?.status == Status::Exit(0), "the programs cannot be copied");
        body(&folder, root.as_ref())
    })
}

/// `--help` ends with the subdirectories of `glibc-hwcaps` that are searched, from which people learn what a processor can do.
fn subdirectories_in_help(folder: &Path, interpreter: &Interpreter) -> Result<Verdict> {
    let lists: [&[&str]; 2] =
        [&["--help"], &["--glibc-hwcaps-prepend", "one:two", "--help", "--glibc-hwcaps-mask", "x86-64-v2"]];
    let mut findings = Vec::new();
    for options in lists {
        let section = |loader: &Path| -> Result<String> {
            let outcome = Run::new(loader).args(options).in_folder(folder).outcome()?;
            let text = String::from_utf8(outcome.stdout)?;
            let from_there = text.lines().skip_while(|line| !line.starts_with("Subdirectories of glibc-hwcaps"));
            Ok(from_there.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"))
        };
        let (expected, actual) = (section(Path::new(GLIBC))?, section(interpreter.path())?);
        ensure!(!expected.is_empty(), "glibc's loader lists no subdirectories");
        if expected != actual {
            findings.push(format!("{options:?}: glibc says\n{expected}\nand Folio\n{actual}\n"));
        }
    }
    Ok(Verdict::from_findings(findings))
}

/// Runs natively and under the interpreter, and says what differs.
fn compared(native: &Run, under_test: &Run, root: Option<&Root>, interpreter: &Interpreter) -> Result<Verdict> {
    let place = |run: &Run| match root {
        Some(root) => root.inside(&dressed_inside(run)),
        None => Ok(run.clone()),
    };
    let under_test = place(under_test)?;
    let expected = normalised(place(native)?.outcome()?, interpreter);
    let actual = normalised(under_test.outcome()?, interpreter);
    let difference = compare::difference(&expected, &actual);
    Ok(Verdict::from_findings(
        difference.into_iter().map(|text| format!("{text}reproduce: {}\n", under_test.reproduction())).collect(),
    ))
}

/// The same run, with its variables set by the last program before it: those that lead into the root do not see them.
fn dressed_inside(run: &Run) -> Run {
    let variables = run.environment.iter().map(|(key, value)| {
        let mut setting = key.clone();
        setting.push("=");
        setting.push(value);
        setting
    });
    let words =
        [OsString::from("-a"), run.name.clone()].into_iter().chain(variables).chain([run.program.clone().into()]);
    Run {
        program: "/usr/bin/env".into(),
        name: "env".into(),
        arguments: words.chain(run.arguments.iter().cloned()).collect(),
        environment: Vec::new(),
        ..run.clone()
    }
}

fn variables(
    folder: &Path,
    root: Option<&Root>,
    program: &str,
    environment: &[(&str, &str)],
    interpreter: &Interpreter,
) -> Result<Verdict> {
    let (native, under_test) = pair(folder, program, environment, interpreter)?;
    compared(&native, &under_test, root, interpreter)
}

/// A run of the program, and of the copy that has the interpreter under test.
fn pair(folder: &Path, program: &str, environment: &[(&str, &str)], interpreter: &Interpreter) -> Result<(Run, Run)> {
    let original = folder.join(program);
    let copy = folder.join(format!("{program}.interp"));
    interpreter.adopt(&original, &copy)?;
    let start = Run::new(original).named(format!("./{program}")).in_folder(folder);
    let native = environment.iter().fold(start, |run, (key, value)| run.env(key, value));
    Ok((native.clone(), Run { program: copy, ..native }))
}

fn option_of_loader(folder: &Path, root: Option<&Root>, option: &str, interpreter: &Interpreter) -> Result<Verdict> {
    let tunables = "glibc.malloc.check=2:glibc.cpu.x86_shared_cache_size=0x100000:glibc.malloc.arena_max=3";
    let run = |loader: PathBuf| {
        let run = Run::new(loader).named("ld.so").args([option]).in_folder(folder);
        run.env("GLIBC_TUNABLES", tunables).env("MALLOC_TOP_PAD_", "4096").env("SECRET", "x")
    };
    compared(&run(GLIBC.into()), &run(interpreter.path().to_owned()), root, interpreter)
}

/// Where a direct start looks for libraries, and what it finds there: nothing, or files of another class or machine.
fn searches_of_loader(
    folder: &Path,
    root: Option<&Root>,
    words: &[&str],
    interpreter: &Interpreter,
) -> Result<Verdict> {
    let make = "mkdir other; cp lib/libweak.so other/libm.so.6; cp lib/libweak.so other/libweak.so; \
        printf '\\001' | dd of=other/libm.so.6 bs=1 seek=4 conv=notrunc status=none; \
        printf '\\050' | dd of=other/libweak.so bs=1 seek=18 conv=notrunc status=none";
    let made = Run::new("/bin/sh").args(["-ec", make]).in_folder(folder).outcome()?;
    ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
    let run = |loader: &Path| Run::new(loader).args(words).in_folder(folder).env("LD_DEBUG", "libs");
    compared(&run(Path::new(GLIBC)), &run(interpreter.path()), root, interpreter)
}

/// Lines go to the file that `LD_DEBUG_OUTPUT` names, with the process' number behind, and nowhere else.
fn output_file(folder: &Path, interpreter: &Interpreter) -> Result<Verdict> {
    let output = folder.join("out").display().to_string();
    let environment = [("LD_DEBUG", "libs"), ("LD_DEBUG_OUTPUT", &*output)];
    let (native, under_test) = pair(folder, "plain", &environment, interpreter)?;
    let mut said = Vec::new();
    for run in [native, under_test] {
        let outcome = run.outcome()?;
        ensure!(outcome.stderr.is_empty(), "{}", String::from_utf8_lossy(&outcome.stderr));
        let is_output =
            |path: &PathBuf| path.extension().is_some_and(|pid| pid.to_string_lossy().parse::<u32>().is_ok());
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let mut files = entries.into_iter().filter(is_output);
        let file = files.next().context("no file was written")?;
        ensure!(files.next().is_none(), "more than one file was written");
        let text = fs::read_to_string(&file)?;
        let pid = file.extension().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(text.lines().all(|line| line.trim_start().starts_with(&format!("{pid}:\t"))), "{text}");
        fs::remove_file(&file)?;
        said.push(without_names(&without_tags(&text), interpreter));
    }
    Ok(if said[0] == said[1] { Verdict::Pass } else { Verdict::Fail(compare::diff(&said[0], &said[1])) })
}

/// Where there is no proc(5), `$ORIGIN` is what `LD_ORIGIN_PATH` says, else the libraries cannot be found.
fn origin_path(folder: &Path, interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("unmounting /proc needs root".to_owned()));
    }
    let moved = folder.join("elsewhere");
    fs::create_dir(&moved)?;
    fs::rename(folder.join("lib"), moved.join("lib"))?;
    let (native, under_test) = pair(folder, "program", &[], interpreter)?;
    let [expected, actual] = [native, under_test].map(|run| -> Result<Outcome> {
        let script = format!("umount -l /proc && LD_ORIGIN_PATH={}// exec \"$0\"", moved.display());
        let words: [OsString; 6] = [
            "--mount".into(),
            "--propagation=private".into(),
            "sh".into(),
            "-c".into(),
            script.into(),
            run.program.into(),
        ];
        Run::new("/usr/bin/unshare").args(words).in_folder(folder).outcome()
    });
    let (expected, actual) = (expected?, actual?);
    ensure!(expected.status == Status::Exit(0), "under glibc: {}", String::from_utf8_lossy(&expected.stderr));
    Ok(Verdict::from_findings(compare::difference(&expected, &actual).into_iter().collect()))
}

/// Folio's lines are whole: a socket of datagrams keeps the borders of writes.
fn lines_are_writes(folder: &Path, interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("the interpreter under test is glibc's own".to_owned()));
    }
    let (_, under_test) = pair(folder, "plain", &[("LD_DEBUG", "libs,scopes,versions")], interpreter)?;
    let (reader, writer) = UnixDatagram::pair()?;
    reader.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut child = run::start(under_test.command().stderr(std::os::fd::OwnedFd::from(writer)))?;
    let mut buffer = [0; 8192];
    let mut count = 0;
    loop {
        let length = reader.recv(&mut buffer).context("the last line did not come")?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        ensure!(text.ends_with('\n') && text.matches('\n').count() == 1, "not one line: {text:?}");
        count += 1;
        if text.contains("calling fini: ") && text.contains("libc.so.6") {
            break;
        }
    }
    ensure!(child.wait()?.success());
    ensure!(count > 20, "only {count} lines");
    Ok(Verdict::Pass)
}

/// Blots out what differs from run to run, and drops what is about the loaders' own work.
fn normalised(mut outcome: Outcome, interpreter: &Interpreter) -> Outcome {
    for stream in [&mut outcome.stdout, &mut outcome.stderr] {
        let text = String::from_utf8_lossy(&compare::without_addresses(stream)).into_owned();
        *stream = without_own_work(&without_names(&without_tags(&text), interpreter)).into_bytes();
    }
    outcome.stderr = compare::without_requester(&outcome.stderr);
    outcome
}

/// Calls both loaders by one name.
fn without_names(text: &str, interpreter: &Interpreter) -> String {
    let names = [interpreter.path(), interpreter.short(), Path::new(GLIBC)];
    names.iter().fold(text.to_owned(), |text, name| text.replace(&name.display().to_string(), "LD"))
}

/// Replaces the process number in front of each line of `LD_DEBUG`, and counts and times in statistics.
fn without_tags(text: &str) -> String {
    let tagged = text.split_inclusive('\n').map(|line| match line.split_once(":\t") {
        Some((pid, rest)) if pid.len() == 10 && pid.trim_start().parse::<u32>().is_ok() => {
            let is_number = |part: char| part.is_ascii_digit() || part == '.';
            let is_count = ["cycles", "relocations"].iter().any(|word| rest.contains(word));
            let rest = if is_count { rest.replace(is_number, "") } else { rest.to_owned() };
            format!("PID:\t{rest}")
        }
        _ => line.to_owned(),
    });
    tagged.collect()
}

/// Drops the lines that are about the loader's own work, and those that name its file.
fn without_own_work(text: &str) -> String {
    const OWN: [&str; 10] = [
        "binding file LD ",
        "binding file linux-vdso",
        "lookup in file=linux-vdso",
        "symbol=_dl_",
        "symbol=__rtld",
        "symbol=pthread_mutex",
        "symbol=__pthread_mutex",
        "\tLD (0x",
        "path.rtld=",
        "AT_EXECFN:",
    ];
    // Addresses, and the number of the processor at hand.
    const UNSTEADY: [&str; 2] = [".a_val", "features[0x0].cpuid[0x1]"];
    let is_own = |line: &str| {
        let by_program = ["./program", "./plain", "./failing", "./broken"]
            .iter()
            .any(|name| line.contains(&format!("binding file {name} ")));
        let is_lookup = |symbol: &&str| {
            line.contains(&format!("symbol={symbol};")) || by_program && line.contains(&format!("`{symbol}'"))
        };
        OWN.iter().chain(&UNSTEADY).any(|text| line.contains(text)) || OWN_SYMBOLS.iter().any(is_lookup)
    };
    let text = text.replace("PID:\t\nPID:\trelocation processing: LD\n", "");
    text.split_inclusive('\n').filter(|line| !is_own(line)).collect()
}
