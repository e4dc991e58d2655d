//! `cargo xtask order`: the order of the interpreter's functions, by when starts first run them.
//!
//! The kernel maps text that is in the page cache by sixteen pages a fault, so what every start runs should lie together. The
//! order is that of a few programs, one after the other: each function of the interpreter gets a breakpoint, and the one that
//! a process stops at is the next. What is written, `linker-scripts/order.ld`, names functions without the hashes that each
//! compiler gives them, where that is enough; a name that is none any more costs nothing, and a function that is not named
//! comes after all that are.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use folio::process::launch::{Input, Tracee};
use folio::process::mappings;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::bench::stage::{Entry, Interpreter, Stage};
use crate::bench::start::Start;
use crate::{build, packages, repository};

/// Find out in which order starts run the interpreter's functions, and write linker-scripts/order.ld
#[derive(clap::Args)]
#[command(
    after_help = "Example, after a change that starts run through:\n  cargo xtask order && cargo xtask bench --budget"
)]
pub struct Order {}

/// Small programs first: what they run, all run.
const PROGRAMS: [(&str, &[&str]); 6] = [
    ("true", &[]),
    ("bash", &["--norc", "-c", ":"]),
    ("git", &["--version"]),
    ("perl", &["-e", "1"]),
    ("python3", &["-I", "-c", "import ctypes"]),
    ("curl", &["--disable", "--version"]),
];

const PACKAGES: &str = "bash binutils coreutils curl git perl python3";

/// `int3` (Intel SDM volume 2).
const BREAKPOINT: u8 = 0xcc;

const HEADER: &str = "\
/* What every start runs, in the order of a start; then what fewer starts run. Part of the section .text of rtld.ld.
   Made by `cargo xtask order`. */
";

/// A generic function has a name for each of its types, told apart by the hash alone. Starts run one of them; the hash is the
/// same for as long as the compiler is. With another one, all come here.
const OTHERS: &str = "/* All variants of those above that are named with their hashes. */\n";

impl Order {
    pub fn run(&self) -> Result<()> {
        packages::ensure(&[PACKAGES])?;
        let interpreter = build::build()?.interpreter;
        let functions = Functions::of(&interpreter)?;
        let stage = Stage::set(&interpreter)?;
        let (mut named, mut order, mut others) = (HashSet::new(), String::from(HEADER), String::from(OTHERS));
        for (program, arguments) in PROGRAMS {
            let original = fs::canonicalize(Path::new("/usr/bin").join(program))?;
            let copy = stage.copy(program, &original, Some(Interpreter::Folio), Entry::Own)?;
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
            let start = Start::new(&stage, copy, &original, &arguments);
            let run = functions.run_by(&start.command(), stage.interpreter(Interpreter::Folio)?)?;
            let before = named.len();
            for name in run {
                let all = pattern(name);
                let is_one = !name.starts_with(BY_MAKER)
                    && functions.0.values().filter(|other| pattern(other) == all).count() > 1;
                let of_all = statement(&all);
                let of_this = if is_one { statement(name) } else { of_all.clone() };
                if is_one && named.insert(of_all.clone()) {
                    others += &of_all;
                }
                if named.insert(of_this.clone()) {
                    order += &of_this;
                }
            }
            println!("{program}: {} names of functions that none before it ran", named.len() - before);
        }
        let path = repository::root().join("linker-scripts/order.ld");
        fs::write(&path, order + &others).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {} names; there are {} functions", path.display(), named.len(), functions.0.len());
        Ok(())
    }
}

/// The interpreter's functions by their addresses, from which its load bias is missing.
struct Functions(BTreeMap<u64, String>);

impl Functions {
    fn of(interpreter: &Path) -> Result<Self> {
        let bytes = fs::read(interpreter)?;
        let file = object::File::parse(&*bytes)?;
        let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
        let functions = functions.map(|symbol| Ok((symbol.address(), symbol.name()?.to_owned())));
        Ok(Self(functions.collect::<Result<_>>()?))
    }

    /// Those of its interpreter's that a process runs until its end, each once, by the time when it is first run.
    fn run_by(&self, command: &Command, interpreter: &Path) -> Result<Vec<&str>> {
        let tracee = Tracee::start(command, Input::Empty)?;
        let pid = Pid::from_raw(i32::try_from(tracee.pid())?);
        // It is linked at 0, where its first mapping begins.
        let maps = mappings(tracee.pid())?;
        let first = maps.iter().find(|mapping| Path::new(&mapping.path) == interpreter);
        let bias = first.context("a process that was just started has its interpreter mapped")?.range.start;
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
        let mut replaced = BTreeMap::new();
        for address in self.0.keys().map(|address| bias + address) {
            let mut byte = [0];
            memory.read_exact_at(&mut byte, address)?;
            memory.write_all_at(&[BREAKPOINT], address)?;
            replaced.insert(address, byte);
        }
        let mut run = Vec::new();
        let mut signal = None;
        loop {
            ptrace::cont(pid, signal.take())?;
            match waitpid(pid, None)? {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => {
                    let mut registers = ptrace::getregs(pid)?;
                    registers.rip -= 1;
                    let byte = replaced.remove(&registers.rip).context("a trap that is no breakpoint")?;
                    memory.write_all_at(&byte, registers.rip)?;
                    run.push(self.0[&(registers.rip - bias)].as_str());
                    ptrace::setregs(pid, registers)?;
                }
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT) => return Ok(run),
                status => bail!("{}: {status:?} in the middle of a run", command.get_program().display()),
            }
        }
    }
}

/// Functions of which each maker's processors run others, so that what one machine runs stands for all.
const BY_MAKER: &str = "_ZN11folio_glibc3cpu5cache";

/// What puts the sections of functions into the output at this place. Those that the compiler takes for cold have another
/// prefix.
fn statement(pattern: &str) -> String {
    format!("*(.text.{pattern} .text.unlikely.{pattern})\n")
}

/// The functions of this name, whatever the hashes in it.
fn pattern(name: &str) -> String {
    if name.starts_with(BY_MAKER) { format!("{BY_MAKER}*") } else { without_hashes(name) }
}

/// A mangled name as a pattern: the hash at the end of a legacy name, and those of crates in one of today's form (rustc book,
/// *Symbol Mangling*), differ from build to build.
fn without_hashes(name: &str) -> String {
    const HASH: &str = "17h";
    if name.starts_with("_ZN")
        && let Some(at) = name.rfind(HASH)
    {
        return format!("{}*", &name[..at + HASH.len()]);
    }
    if !name.starts_with("_R") {
        return name.to_owned();
    }
    let mut parts = name.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        pattern += "Cs";
        match part.split_once('_') {
            Some((_, rest)) => pattern += &format!("*_{rest}"),
            None => pattern += part,
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_hold_for_every_build() {
        let legacy = "_ZN10folio_link6object6Object6decode17hd9fa7e2c3da511ceE";
        assert_eq!(without_hashes(legacy), "_ZN10folio_link6object6Object6decode17h*");
        let today = "_RNvMs_NtNtCsj2Ss_5alloc3ffi5c_strNtB4_7CString19__from_vec_unchecked";
        assert_eq!(without_hashes(today), "_RNvMs_NtNtCs*_5alloc3ffi5c_strNtB4_7CString19__from_vec_unchecked");
        assert_eq!(without_hashes("memcpy"), "memcpy");
        assert_eq!(statement(&pattern("memcpy")), "*(.text.memcpy .text.unlikely.memcpy)\n");
        assert_eq!(pattern(&format!("{BY_MAKER}3amd6legacy17h0E")), pattern(&format!("{BY_MAKER}5intel17h1E")));
    }
}
