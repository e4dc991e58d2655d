//! `cargo run -p folio-tests --bin sweep [FOLDER] [--json FILE]`: every program of /usr/bin (or FOLDER) with `--version`
//! and with `--help`, under glibc's loader and with Folio bound over glibc's loader, compared. Needs root.
//!
//! A program is run natively twice first: one whose own output varies proves nothing and is left out. Each run has its
//! own process group, an empty standard input, a scratch folder as working and home folder, and ten seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Outcome, Run, Status};
use folio_tests::{compare, namespace, workspace};
use nix::sys::resource::{Resource, setrlimit};
use serde_json::json;

/// The share of equal runs, in percent, below which the sweep fails.
const REQUIRED: f64 = 99.0;

/// Programs that do something to the machine, or wait for it, whatever their arguments say.
const EXCLUDED: &[(&str, &str)] = &[
    ("chvt", "switches the console"),
    ("deallocvt", "closes consoles"),
    ("dbus-daemon", "stays"),
    ("dbus-launch", "leaves a daemon behind"),
    ("gdbserver", "listens"),
    ("gpg-agent", "leaves a daemon behind"),
    ("init", "is the machine's first process"),
    ("openvt", "takes a console"),
    ("pg_ctlcluster", "starts servers"),
    ("pkttyagent", "waits for a console"),
    ("setsid", "leaves the process group"),
    ("ssh-agent", "leaves a daemon behind"),
    ("systemd-inhibit", "talks to the machine's first process"),
    ("telinit", "talks to the machine's first process"),
    ("wall", "writes to every terminal"),
    ("Xvfb", "is a display server"),
    ("yes", "is endless when its arguments are not options"),
];

/// What came of one program with one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Varies,
    Different(String),
}

fn main() -> Result<ExitCode> {
    ensure!(workspace::is_root(), "binding the interpreter over glibc's loader needs root");
    let mut folder = PathBuf::from("/usr/bin");
    let mut report = workspace::target("sweep")?.join("sweep.json");
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        if word == "--json" {
            report = words.next().context("--json FILE")?.into();
        } else {
            folder = word.into();
        }
    }
    // A program that writes without end is stopped by the size of its output.
    setrlimit(Resource::RLIMIT_FSIZE, 64 << 20, 64 << 20)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let interpreter = Interpreter::under_test()?;
    let programs = programs(&folder)?;
    let results = sweep(&programs, &interpreter)?;
    let summary = Summary::of(&results);
    summary.print();
    fs::write(&report, serde_json::to_string_pretty(&summary.json())?)?;
    println!("details: {}", report.display());
    Ok(if summary.share() >= REQUIRED { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every executable file of the folder, each file once, without those that are excluded.
fn programs(folder: &Path) -> Result<Vec<PathBuf>> {
    use std::os::unix::fs::PermissionsExt;
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(file) = fs::canonicalize(&path) else { continue };
        let executable = fs::metadata(&file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
        if executable && !EXCLUDED.iter().any(|(excluded, _)| *excluded == name) {
            // Names of one file, such as busybox's or awk's, can behave differently, so the name decides.
            programs.insert(name, path);
        }
    }
    Ok(programs.into_values().collect())
}

fn sweep(programs: &[PathBuf], interpreter: &Interpreter) -> Result<Vec<(String, Comparison)>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, |count| count.get());
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (next, results) = (&next, &results);
            scope.spawn(move || {
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for argument in ["--version", "--help"] {
                        let label = format!("{} {argument}", program.file_name().unwrap_or_default().to_string_lossy());
                        let result = one(program, argument, worker, interpreter)
                            .unwrap_or_else(|error| Comparison::Different(format!("{error:#}")));
                        if let Ok(mut results) = results.lock() {
                            results.push((label, result));
                        }
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    results.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(results)
}

fn one(program: &Path, argument: &str, worker: usize, interpreter: &Interpreter) -> Result<Comparison> {
    let run = || -> Result<Run> {
        let scratch = workspace::fresh(&format!("sweep/scratch-{worker}"))?;
        Ok(Run::new(program)
            .args([argument])
            .in_folder(&scratch)
            .env("HOME", &scratch)
            .env("DISPLAY", "")
            .within(Duration::from_secs(10)))
    };
    let native = || -> Result<Outcome> { run()?.outcome() };
    // What cannot even be started natively, such as a script whose interpreter is not installed, is left out too.
    let Ok(expected) = native() else { return Ok(Comparison::Varies) };
    if expected.status == Status::Timeout || expected != native()? {
        return Ok(Comparison::Varies);
    }
    let mounted = || -> Result<Outcome> { namespace::with_interpreter_mounted(&run()?, interpreter.path())?.outcome() };
    let actual = mounted()?;
    if actual == expected {
        return Ok(Comparison::Equal);
    }
    // Some vary more seldom than every second time: ask both sides once more before saying that they differ.
    if native()? != expected {
        return Ok(Comparison::Varies);
    }
    let again = mounted()?;
    Ok(match compare::difference(&expected, &again) {
        None => Comparison::Equal,
        Some(text) => Comparison::Different(text),
    })
}

/// The counts, and what differs.
struct Summary {
    total: usize,
    equal: usize,
    varies: Vec<String>,
    different: Vec<(String, String)>,
}

impl Summary {
    fn of(results: &[(String, Comparison)]) -> Self {
        let mut summary = Self { total: results.len(), equal: 0, varies: Vec::new(), different: Vec::new() };
        for (label, result) in results {
            match result {
                Comparison::Equal => summary.equal += 1,
                Comparison::Varies => summary.varies.push(label.clone()),
                Comparison::Different(text) => summary.different.push((label.clone(), text.clone())),
            }
        }
        summary
    }

    fn share(&self) -> f64 {
        let compared = self.equal + self.different.len();
        if compared == 0 { 0.0 } else { 100.0 * self.equal as f64 / compared as f64 }
    }

    fn print(&self) {
        for (label, text) in &self.different {
            println!("── {label}\n{text}");
        }
        println!("runs         {:>6}", self.total);
        println!("left out     {:>6}  (their own output varies, or they do not start or end)", self.varies.len());
        println!("equal        {:>6}", self.equal);
        println!("different    {:>6}", self.different.len());
        println!("equal share  {:>9.2} %", self.share());
        for (label, _) in &self.different {
            println!("  differs: {label}");
        }
    }

    fn json(&self) -> serde_json::Value {
        let different: BTreeMap<_, _> = self.different.iter().cloned().collect();
        let excluded: BTreeMap<_, _> = EXCLUDED.iter().copied().collect();
        json!({
            "runs": self.total, "equal": self.equal, "share": self.share(),
            "left_out": self.varies, "different": different, "excluded": excluded,
        })
    }
}
