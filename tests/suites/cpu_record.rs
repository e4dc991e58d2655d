//! The record of CPU facts that `folio cache cpu` writes: with it libc sees the processor as without it, and as glibc's loader
//! shows it; a start by it takes no CPUID; and what is wrong with a record makes a start pass it over, and say so.
//!
//! Everything happens in mount namespaces of its own, with a tmpfs at `/run`: it needs root.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use folio_tests::interpreter::Interpreter;
use folio_tests::roots::{self, Unavailable};
use folio_tests::run::{Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;

/// Prints `struct cpu_features` as its libc has it, whole: it refers to the symbol by which programs read any leaf.
const FACTS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/platform/x86.h>
#include <unistd.h>
int main(void) {
    int minor = atoi(gnu_get_libc_version() + 2);
    unsigned size = minor <= 37 ? 480 : minor <= 38 ? 488 : 528;
    const unsigned char *global = dlvsym(RTLD_DEFAULT, "_rtld_global_ro", "GLIBC_PRIVATE");
    if (!global || !__x86_get_cpuid_feature_leaf(0)) return 1;
    // The number of the processor that ran the loader stands in the highest byte of ebx of the first leaf.
    for (unsigned at = 112; at < 112 + size; at++) printf("%02x ", at == 112 + 20 + 7 ? 0 : global[at]);
    printf("\n%ld %ld\n", sysconf(_SC_LEVEL1_DCACHE_SIZE), sysconf(_SC_LEVEL3_CACHE_SIZE));
    return 0;
}
"#;

/// Prints how many CPUID instructions a program takes, as a user of that number. Given the addresses of all of them in the
/// program's loader, it stops there and answers in the processor's place; without, it follows the program one instruction at a
/// time, which misses none in a library either, and takes seconds.
const COUNTS: &str = r#"
#define _GNU_SOURCE
#include <cpuid.h>
#include <elf.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
static unsigned long loader(pid_t child) {
    char path[64];
    sprintf(path, "/proc/%d/auxv", child);
    FILE *file = fopen(path, "r");
    Elf64_auxv_t entry = { 0 };
    while (file && fread(&entry, sizeof entry, 1, file) == 1 && entry.a_type != AT_BASE);
    if (!file || entry.a_type != AT_BASE) exit(122);
    fclose(file);
    return entry.a_un.a_val;
}
int main(int argc, char **argv) {
    unsigned user = atoi(argv[1]), count = 0, places = 0;
    unsigned long place[256];
    FILE *list = fopen(argv[2], "r");
    if (!list) return 121;
    while (places < 256 && fscanf(list, "%lx", &place[places]) == 1) places++;
    pid_t child = fork();
    if (child == 0) {
        if (user && (setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user))) _exit(125);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execv(argv[3], argv + 3);
        _exit(126);
    }
    int status, first = 1;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        struct user_regs_struct r;
        if (ptrace(PTRACE_GETREGS, child, NULL, &r)) return 124;
        if (first) {
            unsigned long base = loader(child);
            for (unsigned i = 0; i < places; i++) {
                place[i] += base;
                long word = ptrace(PTRACE_PEEKTEXT, child, place[i], NULL);
                if ((word & 0xffff) != 0xa20f) return 120;
                ptrace(PTRACE_POKETEXT, child, place[i], (word & ~0xffL) | 0xcc);
            }
            first = 0;
        } else if (places) {
            unsigned i = 0;
            while (i < places && place[i] + 1 != r.rip) i++;
            if (i == places) return 119;
            unsigned a, b, c, d;
            __cpuid_count((unsigned)r.rax, (unsigned)r.rcx, a, b, c, d);
            r.rax = a, r.rbx = b, r.rcx = c, r.rdx = d, r.rip++, count++;
            ptrace(PTRACE_SETREGS, child, NULL, &r);
        } else {
            count += (ptrace(PTRACE_PEEKTEXT, child, r.rip, NULL) & 0xffff) == 0xa20f;
        }
        ptrace(places ? PTRACE_CONT : PTRACE_SINGLESTEP, child, NULL, NULL);
    }
    printf("%d CPUIDs of user %u\n", count, user);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 123;
}
"#;

const MAKE: &str = "\
    gcc -O1 -o facts facts.c; \
    gcc -O1 -o counts counts.c; \
    cpuids() { objdump -d --no-show-raw-insn \"$1\" | sed -n 's/^ *\\([0-9a-f]*\\):.*cpuid *$/\\1/p'; }; \
    cpuids /lib64/ld-linux-x86-64.so.2 >glibc.cpuids; test -s glibc.cpuids; \
    cpuids interpreter >folio.cpuids; test -s folio.cpuids; \
    echo 'int main(void) { return 0; }' | gcc -x c -o plain -";

/// In a mount namespace: puts a tmpfs at the root's `/run`, then becomes the rest of the words.
const STAGE: &str = r#"mount -t tmpfs -o mode=755 tmpfs "$1/run" && shift && exec "$@""#;

/// The programs, under glibc's loader and under the one under test (`.folio`), made on first use.
fn made(interpreter: &Interpreter, command: &Path) -> Result<&'static Path> {
    static MADE: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let make = || -> Result<PathBuf> {
        let folder = Path::new("/tmp").join(format!("folio-cpu-record-{}", nix::unistd::geteuid()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("facts.c"), FACTS)?;
        fs::write(folder.join("counts.c"), COUNTS)?;
        let interpreter = interpreter.reachable()?;
        fs::copy(interpreter.path(), folder.join("interpreter"))?;
        let made = Run::new("/bin/sh").args(["-ec", MAKE]).in_folder(&folder).outcome()?;
        ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
        // Every user can reach it there, which is not so for every working copy.
        fs::copy(command, folder.join("folio"))?;
        for name in ["facts", "plain"] {
            interpreter.adopt(&folder.join(name), &folder.join(format!("{name}.folio")))?;
        }
        Ok(folder)
    };
    let made = MADE.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("{error}"))
}

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

/// Name, script, and what its output has to be; a start that passes a record over says why.
type Case = (&'static str, &'static str, &'static str);

const CASES: [Case; 16] = [
    ("none", "said ./plain.folio", ""),
    ("taken", "record; said ./plain.folio", ""),
    ("damaged", "record; printf x | dd of=/run/folio/cpu bs=1 seek=99 conv=notrunc status=none; said ./plain.folio", "damaged"),
    ("cut", "record; truncate -s 99 /run/folio/cpu; said ./plain.folio", "not a record of CPU facts"),
    ("empty", "record; : >/run/folio/cpu; said ./plain.folio", "not a record of CPU facts"),
    ("large", "record; truncate -s 1G /run/folio/cpu; said ./plain.folio", "not a record of CPU facts"),
    ("foreign", "record; chown 65534 /run/folio/cpu; said ./plain.folio", "it belongs to user 65534"),
    ("of_the_group", "record; chmod 664 /run/folio/cpu; said ./plain.folio", "others may write to it (mode 664)"),
    ("of_all", "record; chmod 602 /run/folio/cpu; said ./plain.folio", "others may write to it (mode 602)"),
    // What is kept over a boot and put back is changed later than it was written, whatever the time that it shows.
    (
        "restored",
        "record; cp -p /run/folio/cpu /run/kept; sleep 4; cp -p /run/kept /run/folio/cpu; said ./plain.folio",
        "it was copied or changed after it was written",
    ),
    (
        "on_disk",
        "record; cp /run/folio/cpu ./cpu; LD_FOLIO_CPU=$PWD/cpu said ./plain.folio; rm cpu",
        "not on a tmpfs, so it may be of another boot",
    ),
    ("pipe", "mkdir /run/folio; mkfifo /run/folio/cpu; said ./plain.folio", "not a regular file"),
    ("folder", "mkdir -p /run/folio/cpu; said ./plain.folio", "not a regular file"),
    ("link", "record; ln -s cpu /run/folio/link; LD_FOLIO_CPU=/run/folio/link said ./plain.folio", "cannot be read"),
    ("switched_off", "record; chmod 602 /run/folio/cpu; LD_FOLIO_CPU= said ./plain.folio", ""),
    (
        "own",
        "mkdir /run/own; chown 65534 /run/own; export LD_FOLIO_CPU=/run/own/cpu
        as_user \"$folio\" cache cpu --force >/dev/null; LD_DEBUG=libs as_user ./plain.folio 2>&1 | reason; said ./plain.folio",
        "it belongs to user 65534",
    ),
];

/// What the scripts call.
const WORDS: &str = r#"
unset LD_FOLIO_CPU; folio=$PWD/folio
record() { "$folio" cache cpu --force >/dev/null || exit 1; }
reason() { sed -n 's/.*CPU record=[^ ]* \[\(ignored: \)\{0,1\}\(.*\)\]$/\2/p'; }
said() { LD_DEBUG=libs "$@" 2>&1 | reason; }
as_user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
"#;

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let command = match std::env::var_os("FOLIO_COMMAND") {
        Some(path) => PathBuf::from(path),
        None => workspace::root().join("target/folio/folio"),
    };
    let command = fs::canonicalize(&command)
        .with_context(|| format!("{}: build the command first: cargo xtask build", command.display()))?;
    let mut tests = Vec::new();
    let mut add =
        |name: String, body: fn(&Stage) -> Result<Verdict>, place: Option<&'static str>, case: Option<Case>| {
            let stage = Stage { interpreter: interpreter.clone(), command: command.clone(), place, case };
            tests.push(suite::test(format!("cpu_record::{name}"), move || {
                if !workspace::is_root() {
                    return Ok(Verdict::Skip("a mount needs root".to_owned()));
                }
                body(&stage)
            }));
        };
    for (name, place) in [("here", None), ("trixie", Some("trixie")), ("sid", Some("sid"))] {
        add(format!("facts::{name}"), facts, place, None);
    }
    for case in CASES {
        add(format!("passed_over::{}", case.0), passed_over, None, Some(case));
    }
    add("no_cpuid".to_owned(), no_cpuid, None, None);
    add("secure".to_owned(), secure, None, None);
    add("command".to_owned(), subcommand, None, None);
    Ok(tests)
}

struct Stage {
    interpreter: Interpreter,
    command: PathBuf,
    /// The root that it is played in; this machine's own where there is none.
    place: Option<&'static str>,
    case: Option<Case>,
}

impl Stage {
    /// What a script prints; nothing if its root cannot be had.
    fn play(&self, script: &str) -> Result<std::result::Result<String, Unavailable>> {
        let folder = made(&self.interpreter, &self.command)?;
        let script = ["-c".to_owned(), format!("{WORDS}{script}")];
        let run = Run::new("/bin/bash").args(script).in_folder(folder);
        let (root, run) = match self.place.map(roots::root).transpose()? {
            None => (PathBuf::from("/"), run),
            Some(Ok(root)) => (root.path.clone(), root.inside(&run)?),
            Some(Err(unavailable)) => return Ok(Err(unavailable)),
        };
        let namespace = ["--mount", "--propagation", "private", "bash", "-c", STAGE, "bash"].map(OsString::from);
        let words = namespace.into_iter().chain([root.into(), run.program.clone().into()]).chain(run.arguments.clone());
        let unshare = find("unshare").context("unshare (package util-linux) is missing")?;
        let run = Run::new(unshare).args(words).in_folder(folder);
        let outcome = run.outcome()?;
        let errors = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.status == Status::Exit(0) && errors.is_empty(), "{:?}: {errors}", outcome.status);
        Ok(Ok(String::from_utf8_lossy(&outcome.stdout).into_owned()))
    }

    fn here(&self, script: &str) -> Result<String> {
        self.play(script)?.map_err(|Unavailable(reason)| anyhow!(reason))
    }
}

/// `struct cpu_features` under glibc's loader, and under the one under test without a record and with it.
fn facts(stage: &Stage) -> Result<Verdict> {
    let script = "./facts; ./facts.folio; record; ./facts.folio; said ./facts.folio";
    let output = match stage.play(script)? {
        Ok(output) => output,
        Err(Unavailable(reason)) => return Ok(Verdict::Skip(reason)),
    };
    let lines: Vec<&str> = output.lines().collect();
    ensure!(lines.len() == 6 && lines[0].len() > 1400, "{output}");
    let [glibc, without, with] = [0, 2, 4].map(|at| &lines[at..at + 2]);
    let findings = [("without a record", without), ("with a record", with)]
        .into_iter()
        .filter(|(_, facts)| *facts != glibc)
        .map(|(what, facts)| format!("{what}:\n{}\nglibc:\n{}", facts.join("\n"), glibc.join("\n")));
    Ok(Verdict::from_findings(findings.collect()))
}

fn passed_over(stage: &Stage) -> Result<Verdict> {
    let (_, script, expected) = stage.case.context("no case")?;
    let output = stage.here(script)?;
    Ok(Verdict::from_findings(
        (output.trim_end() != expected).then(|| format!("{output:?}, not {expected:?}")).into_iter().collect(),
    ))
}

/// How many CPUIDs each of the counted starts took.
fn counted(output: &str) -> Result<Vec<u32>> {
    output.lines().map(|line| Ok(line.split_once(' ').context(line.to_owned())?.0.parse()?)).collect()
}

fn no_cpuid(stage: &Stage) -> Result<Verdict> {
    // What the second program refers to makes the loader complete what libc itself does not read.
    // Its start is watched in the loader alone; to step through it as well takes longer than a test may.
    let counts = counted(&stage.here(
        "counts='./counts 0'; $counts glibc.cpuids ./plain; $counts folio.cpuids ./plain.folio; record
        $counts /dev/null ./plain.folio; $counts folio.cpuids ./facts.folio | tail -n 1",
    )?)?;
    let [glibc, without, with, whole] = counts[..] else { return Err(anyhow!("{counts:?}")) };
    ensure!(glibc > 20 && (1..glibc).contains(&without), "{counts:?}");
    Ok(Verdict::from_findings(Vec::from_iter((with != 0 || whole != 0).then(|| format!("{counts:?}")))))
}

/// A set-user-ID program takes root's record, and no other's, whatever its user says.
fn secure(stage: &Stage) -> Result<Verdict> {
    let counts = counted(&stage.here(
        "mount -o remount,suid /tmp 2>/dev/null; cp plain.folio raised; chmod 4755 raised; counts='./counts 65534 folio.cpuids'
        $counts ./raised; mkdir /run/own; chown 65534 /run/own
        export LD_FOLIO_CPU=/run/own/cpu; as_user \"$folio\" cache cpu --force >/dev/null
        $counts ./plain.folio; $counts ./raised
        unset LD_FOLIO_CPU; record; $counts ./raised; LD_FOLIO_CPU= $counts ./raised; chown 65534 /run/folio/cpu; $counts ./raised",
    )?)?;
    let [none, own, of_the_user, of_root, not_switched_off, foreign] = counts[..] else {
        return Err(anyhow!("{counts:?}"));
    };
    let right = own == 0 && of_root == 0 && not_switched_off == 0;
    let right = right && none > 0 && of_the_user == none && foreign == none;
    Ok(Verdict::from_findings(Vec::from_iter((!right).then(|| format!("{counts:?}")))))
}

/// `folio cache cpu` as people use it.
fn subcommand(stage: &Stage) -> Result<Verdict> {
    let output = stage.here(
        r#""$folio" cache cpu --remove
        "$folio" cache cpu --show || echo "status $?"
        "$folio" cache cpu --force | sed -n 's/: [0-9]* answers of CPUID/: answers/p'
        stat -c '%a %u %F' /run/folio /run/folio/cpu; ls -A /run/folio
        "$folio" cache cpu --show | sed -n '1p;$p'; "$folio" cache cpu --show --json | grep is_of_this_boot
        "$folio" doctor | grep -o 'ok *CPU record.*'
        chmod 620 /run/folio/cpu; "$folio" cache cpu --show | head -n 1; "$folio" doctor | grep -o 'less CPU record.*'
        chmod 775 /run/folio; "$folio" cache cpu --force 2>&1; LD_FOLIO_CPU=$PWD/cpu "$folio" cache cpu --force 2>&1; ls cpu* 2>&1
        "$folio" cache cpu --remove; ls -A /run/folio"#,
    )?;
    let expected = format!(
        "/run/folio/cpu: there was none\n\
         /run/folio/cpu: there is none\n\
         status 1\n\
         /run/folio/cpu: answers, until the next boot.\n\
         755 0 directory\n\
         644 0 regular file\n\
         cpu\n\
         /run/folio/cpu: a start takes it\n\
         The processor answers the same.\n    \
         \"is_of_this_boot\": true,\n\
         ok   CPU record        /run/folio/cpu, which says what the processor says\n\
         /run/folio/cpu: others may write to it (mode 620); it is ignored\n\
         less CPU record        /run/folio/cpu: others may write to it (mode 620)\n\
         folio: others may write to /run/folio (mode 775)\n\
         folio: {0} is not on a tmpfs, and a record there might outlive the boot (mount -t tmpfs tmpfs {0})\n\
         ls: cannot access 'cpu*': No such file or directory\n\
         /run/folio/cpu: removed\n",
        made(&stage.interpreter, &stage.command)?.display()
    );
    Ok(Verdict::from_findings((output != expected).then(|| format!("{output}\nnot\n{expected}")).into_iter().collect()))
}
