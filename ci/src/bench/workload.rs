//! What is started: programs of the distribution, and generated ones.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::closure::{Closure, Shape, Variant};
use super::stage::succeed;
use crate::repository;

/// A program, what it is given, and how much faster than under glibc's linker its start has to be.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The least CPUID-neutral ratio of whole runs, glibc's time to Folio's.
    pub target: f64,
    /// What it must write, where that is known beforehand.
    pub output: Option<String>,
    /// The same program for musl's linker.
    pub musl: Option<PathBuf>,
    /// The same program without a linker.
    pub static_pie: Option<PathBuf>,
}

/// A program of the distribution.
struct Installed {
    name: &'static str,
    /// Debian's package.
    package: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    target: f64,
}

const fn installed(
    name: &'static str,
    package: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    target: f64,
) -> Installed {
    Installed { name, package, program, arguments, target }
}

const INSTALLED: [Installed; 11] = [
    installed("bash", "bash", "/usr/bin/bash", &["--norc", "-c", "echo hello"], 1.2),
    installed("git", "git", "/usr/bin/git", &["--version"], 1.2),
    installed("python3", "python3", "/usr/bin/python3", &["-I", "-c", "print('hello')"], 1.0),
    installed("perl", "perl", "/usr/bin/perl", &["-e", "print 'hello'"], 1.2),
    installed("curl", "curl", "/usr/bin/curl", &["--disable", "--version"], 1.2),
    installed("gdb", "gdb", "/usr/bin/gdb", &["--version"], 1.1),
    installed("qemu-system-x86_64", "qemu-system-x86", "/usr/bin/qemu-system-x86_64", &["--version"], 1.3),
    installed("ffmpeg", "ffmpeg", "/usr/bin/ffmpeg", &["-version"], 1.4),
    installed("inkscape", "inkscape", "/usr/bin/inkscape", &["--version"], 1.4),
    installed("soffice.bin", "libreoffice-core", "/usr/lib/libreoffice/program/soffice.bin", &["--version"], 1.15),
    installed("clang", "clang", "/usr/bin/clang", &["--version"], 1.15),
];

const HELLO: &str = "hello";
const RUSTC: &str = "rustc";

/// Link editor, assembler and compilers for the generated programs.
const TOOLS: &str = "binutils gcc libc6-dev musl-tools";

const CLOSURE: Shape = Shape { libraries: 200, symbols: 500 };

/// The names of all workloads, in their order.
pub fn names() -> Vec<&'static str> {
    let installed = INSTALLED.iter().map(|program| program.name);
    let closures = Variant::ALL.into_iter().map(Variant::name);
    [HELLO].into_iter().chain(installed).chain([RUSTC]).chain(closures).collect()
}

/// The Debian packages that these workloads need.
pub fn packages(names: &[&str]) -> Vec<&'static str> {
    let programs = INSTALLED.iter().filter(|program| names.contains(&program.name)).map(|program| program.package);
    programs.chain([TOOLS]).collect()
}

/// Finds or builds these workloads.
pub fn workloads(names: &[&str]) -> Result<Vec<Workload>> {
    // The figures of the closure are those of hello's compilers, so both are built anew when either changes.
    let folder = repository::root().join("target/bench");
    let mut workloads = Vec::new();
    for name in names {
        let installed = INSTALLED.iter().find(|program| program.name == *name);
        let variant = Variant::ALL.into_iter().find(|variant| variant.name() == *name);
        workloads.push(match (installed, variant) {
            (Some(program), _) => program.workload()?,
            (_, Some(variant)) => closure(&folder, variant)?,
            _ if *name == RUSTC => rustc()?,
            _ => hello(&folder)?,
        });
    }
    Ok(workloads)
}

impl Installed {
    fn workload(&self) -> Result<Workload> {
        let program = fs::canonicalize(self.program).with_context(|| format!("cannot find {}", self.program))?;
        Ok(Workload::new(self.name, program, self.arguments, self.target))
    }
}

impl Workload {
    fn new(name: &'static str, program: PathBuf, arguments: &[&str], target: f64) -> Self {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Self { name, program, arguments, target, output: None, musl: None, static_pie: None }
    }
}

/// The compiler itself, which rustup's command of that name starts.
fn rustc() -> Result<Workload> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).current_dir(repository::root()).output();
    let asked = asked.context("cannot start rustc")?;
    ensure!(asked.status.success(), "rustc --print sysroot: {}", asked.status);
    let program = Path::new(String::from_utf8(asked.stdout)?.trim_end()).join("bin/rustc");
    Ok(Workload::new(RUSTC, program, &["--version"], 1.1))
}

/// A program that says hello, for each way to be linked. It is always built: compilers may have changed.
pub fn hello(folder: &Path) -> Result<Workload> {
    const SOURCE: &str = "#include <stdio.h>\nint main(void)\n{\n\tputs(\"hello\");\n\treturn 0;\n}\n";
    fs::create_dir_all(folder)?;
    let source = folder.join("hello.c");
    fs::write(&source, SOURCE)?;
    let build = |compiler: &str, option: &str| -> Result<PathBuf> {
        let program = folder.join(format!("hello-{compiler}{option}"));
        succeed(Command::new(compiler).args(["-O2", option, "-o"]).arg(&program).arg(&source))?;
        Ok(program)
    };
    Ok(Workload {
        output: Some("hello\n".to_owned()),
        musl: Some(build("musl-gcc", "-pie")?),
        static_pie: Some(build("gcc", "-static-pie")?),
        ..Workload::new(HELLO, build("gcc", "-pie")?, &[], 1.2)
    })
}

/// One variant of the generated closure, built on first use.
fn closure(folder: &Path, variant: Variant) -> Result<Workload> {
    let mut hasher = DefaultHasher::new();
    (include_str!("closure.rs"), CLOSURE).hash(&mut hasher);
    let folder = folder.join(format!("closure-{:016x}", hasher.finish()));
    let built = folder.join(format!("{variant:?}.built"));
    // musl reads packed relocations from 1.2.4 on, which is later than Debian 12's.
    let compilers: &[&str] = if variant == Variant::Relr { &["gcc"] } else { &["gcc", "musl-gcc"] };
    if !built.exists() {
        let closure = Closure::assemble(&folder, CLOSURE)?;
        let mut programs = closure.programs(variant, compilers)?;
        programs.push(closure.static_pie()?);
        fs::write(&built, serde_json::to_string(&programs)?)?;
    }
    let mut programs: Vec<PathBuf> = serde_json::from_str(&fs::read_to_string(&built)?)?;
    let static_pie = programs.pop();
    let mut programs = programs.into_iter();
    let program = programs.next().context("a closure has a program")?;
    Ok(Workload {
        output: Some(format!("{}\n", CLOSURE.answer())),
        musl: programs.next(),
        static_pie,
        ..Workload::new(variant.name(), program, &[], 1.8)
    })
}
