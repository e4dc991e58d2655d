//! What the system, not the user, decides: set-user-ID programs take nothing from the environment, and
//! /etc/ld.so.preload and /etc/ld.so.cache are obeyed. Needs root: it makes a set-user-ID program, and a mount namespace with another /etc.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use folio_tests::compare;
use folio_tests::interpreter::Interpreter;
use folio_tests::run::{Outcome, Run, Status, find};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;

/// A program that prints its environment, what is preloaded into it, and who supplied its library.
const SOURCES: &str = r#"
cat > program.c <<'END'
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/stat.h>
extern char **environ;
const char *who(void);
int main(void) {
    for (int number = 0; number < 3; number += 2) {
        struct stat status;
        int open = fstat(number, &status) == 0;
        printf("descriptor %d: %d, device %#lx\n", number, open, open ? (unsigned long)status.st_rdev : 0);
    }
    printf("secure %lu, library %s\n", getauxval(AT_SECURE), who());
    for (char **variable = environ; *variable; variable++) puts(*variable);
    return 0;
}
END
echo 'const char *who(void) { return "trusted"; }' | gcc -x c -shared -fPIC -o libwho.so -
mkdir evil
echo 'const char *who(void) { return "untrusted"; }' | gcc -x c -shared -fPIC -o evil/libwho.so -
printf '#include <stdio.h>\n__attribute__((constructor)) static void loud(void) { puts("preloaded"); }' | gcc -x c -shared -fPIC -o evil/loud.so -
gcc -o program program.c -L. -lwho -Wl,-rpath,"$PWD"
gcc -o program.cached program.c -L. -lwho
gcc -o program.origin program.c -L. -lwho -Wl,-rpath,'$ORIGIN'
"#;

/// The attempt that closes standard input and standard error.
const CLOSED: &str = "descriptors";

/// Each one an attempt of an ordinary user to have a say in a privileged program. Of the variables that are removed from
/// the environment, these are the ones that every supported glibc removes.
const ATTEMPTS: [(&str, &[(&str, &str)]); 9] = [
    (CLOSED, &[]),
    ("trace", &[("LD_TRACE_LOADED_OBJECTS", "1")]),
    ("library_path", &[("LD_LIBRARY_PATH", "{dir}/evil")]),
    ("preload", &[("LD_PRELOAD", "{dir}/evil/loud.so")]),
    ("preload_name", &[("LD_PRELOAD", "loud.so"), ("LD_LIBRARY_PATH", "{dir}/evil")]),
    ("audit", &[("LD_AUDIT", "{dir}/evil/loud.so")]),
    ("audit_name", &[("LD_AUDIT", "loud.so"), ("LD_LIBRARY_PATH", "{dir}/evil")]),
    ("debug", &[("LD_DEBUG", "all"), ("LD_DEBUG_OUTPUT", "{dir}/evil/debug")]),
    (
        "environment",
        &[
            ("GCONV_PATH", "/x"),
            ("LD_HWCAP_MASK", "0"),
            ("LD_ORIGIN_PATH", "/x"),
            ("LD_PROFILE", "x"),
            ("LD_SHOW_AUXV", "1"),
            ("LOCPATH", "/x"),
            ("MALLOC_TRACE", "/x"),
            ("NLSPATH", "/x"),
            ("RESOLV_HOST_CONF", "/x"),
            ("TMPDIR", "/x"),
            ("ORDINARY", "kept"),
        ],
    ),
];

/// Caches: as ldconfig writes it, and with damage done by a shell command.
const CACHES: [(&str, &str); 8] = [
    ("sound", ""),
    ("absent", "rm etc/ld.so.cache"),
    ("empty", ": > etc/ld.so.cache"),
    ("truncated", "truncate -s 1000 etc/ld.so.cache"),
    ("text", "seq 1 10000 > etc/ld.so.cache"),
    ("count", r"printf '\377\377\377\177' | dd of=etc/ld.so.cache bs=1 seek=20 conv=notrunc 2>/dev/null"),
    ("library_gone", "rm -r cached"),
    ("best_gone", "rm cached/glibc-hwcaps/*/libwho.so"),
];

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let mut tests = Vec::new();
    for (name, environment) in ATTEMPTS {
        for program in ["program", "program.origin"] {
            let with = interpreter.clone();
            tests.push(suite::test(format!("system::secure::{name}::{program}"), move || {
                secure(name, program, environment, &with)
            }));
        }
    }
    for (name, lines) in
        [("one", "{dir}/evil/loud.so\n"), ("comment", "# text\n{dir}/evil/loud.so\n"), ("missing", "/nowhere.so")]
    {
        let with = interpreter.clone();
        tests.push(suite::test(format!("system::preload_file::{name}"), move || preload_file(name, lines, &with)));
    }
    for (name, change) in CACHES {
        let with = interpreter.clone();
        tests.push(suite::test(format!("system::cache::{name}"), move || cache(name, change, &with)));
    }
    Ok(tests)
}

/// A set-user-ID program, run by an ordinary user with the variables set, behaves as under glibc's loader.
fn secure(attempt: &str, program: &str, environment: &[(&str, &str)], interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a set-user-ID program of root's needs root".to_owned()));
    }
    let folder = folder(&format!("{attempt}-{program}"))?;
    let interpreter = interpreter.reachable()?;
    let original = folder.join(program);
    let copy = folder.join("program.interp");
    interpreter.adopt(&original, &copy)?;
    let run = |file: &Path| -> Result<Outcome> {
        fs::set_permissions(file, fs::Permissions::from_mode(0o4755))?;
        let setpriv = find("setpriv").context("setpriv (package util-linux) is missing")?;
        let run = Run::new(setpriv)
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/env"])
            // env sets them behind setpriv, so that only the program under test sees them.
            .args(
                environment
                    .iter()
                    .map(|(key, value)| format!("{key}={}", value.replace("{dir}", &folder.display().to_string()))),
            )
            .args(if attempt == CLOSED { &["/bin/sh", "-c", "exec \"$0\" <&- 2>&-"][..] } else { &[] })
            .args([file])
            .in_folder(&folder);
        run.outcome()
    };
    let expected = run(&original)?;
    // Under glibc: $ORIGIN is not expanded, so that library is not found; a trace is refused (elf/rtld.c, dl_main).
    let right = match (attempt, program) {
        ("trace", _) => expected.status == Status::Exit(5),
        (_, "program.origin") => expected.status == Status::Exit(127),
        _ => String::from_utf8_lossy(&expected.stdout).contains("secure 1, library trusted"),
    };
    ensure!(
        right,
        "under glibc: {}\n{}{}\n(is /tmp mounted nosuid?)",
        expected.status,
        String::from_utf8_lossy(&expected.stdout),
        String::from_utf8_lossy(&expected.stderr)
    );
    let mut actual = run(&copy)?;
    // An error message begins with the program's own path.
    for stream in [&mut actual.stdout, &mut actual.stderr] {
        *stream = compare::replace(stream, &copy.display().to_string(), &original.display().to_string());
    }
    actual.stderr = compare::without_requester(&actual.stderr);
    fs::remove_dir_all(&folder)?;
    Ok(Verdict::from_findings(compare::difference(&expected, &actual).into_iter().collect()))
}

/// A program sees what /etc/ld.so.preload names, in a mount namespace with an /etc of its own.
fn preload_file(name: &str, lines: &str, interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a mount namespace needs root".to_owned()));
    }
    let folder = folder(&format!("preload_file-{name}"))?;
    fs::create_dir(folder.join("etc"))?;
    fs::copy("/etc/ld.so.cache", folder.join("etc/ld.so.cache"))?;
    fs::write(folder.join("etc/ld.so.preload"), lines.replace("{dir}", &folder.display().to_string()))?;
    let original = folder.join("program");
    let copy = folder.join("program.interp");
    interpreter.adopt(&original, &copy)?;
    let (expected, actual) = (with_etc(&folder, &original)?, with_etc(&folder, &copy)?);
    ensure!(expected.status == Status::Exit(0), "under glibc: {}", expected.status);
    fs::remove_dir_all(&folder)?;
    Ok(Verdict::from_findings(compare::difference(&expected, &actual).into_iter().collect()))
}

/// A program finds its library through /etc/ld.so.cache alone, in a mount namespace with an /etc of its own; a damaged
/// cache finds nothing, and does nothing worse.
fn cache(name: &str, change: &str, interpreter: &Interpreter) -> Result<Verdict> {
    if !workspace::is_root() {
        return Ok(Verdict::Skip("a mount namespace needs root".to_owned()));
    }
    let folder = folder(&format!("cache-{name}"))?;
    let make = format!(
        "mkdir -p etc cached/glibc-hwcaps/x86-64-v2 cached/glibc-hwcaps/x86-64-v3 cached/glibc-hwcaps/x86-64-v4
        for level in . glibc-hwcaps/x86-64-v2 glibc-hwcaps/x86-64-v3 glibc-hwcaps/x86-64-v4; do
            echo \"const char *who(void) {{ return \\\"cached $level\\\"; }}\" |
                gcc -x c -shared -fPIC -o cached/$level/libwho.so - -Wl,-soname,libwho.so
        done
        echo \"$PWD/cached\" > ld.so.conf; ldconfig -X -C etc/ld.so.cache -f ld.so.conf; {change}"
    );
    let made = Run::new("/bin/sh").args(["-ec", &make]).in_folder(&folder).outcome()?;
    ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
    let original = folder.join("program.cached");
    let copy = folder.join("program.interp");
    interpreter.adopt(&original, &copy)?;
    let (expected, mut actual) = (with_etc(&folder, &original)?, with_etc(&folder, &copy)?);
    actual.stderr = compare::without_requester(&actual.stderr);
    ensure!(matches!(expected.status, Status::Exit(0 | 127)), "under glibc: {}", expected.status);
    fs::remove_dir_all(&folder)?;
    Ok(Verdict::from_findings(compare::difference(&expected, &actual).into_iter().collect()))
}

/// Runs a program where the folder's `etc` is /etc.
fn with_etc(folder: &Path, program: &Path) -> Result<Outcome> {
    let script = r#"mount --bind "$1/etc" /etc && exec -a ./program "$2""#;
    Run::new(find("unshare").context("unshare (package util-linux) is missing")?)
        .args(["--mount", "--propagation", "private", "bash", "-c", script, "bash"])
        .args([folder, program])
        .in_folder(folder)
        .outcome()
}

/// A fresh folder under /tmp, which other users can reach, with the programs built in it.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new("/tmp").join(format!("folio-system-{}", nix::unistd::geteuid())).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let made = Run::new("/bin/sh").args(["-ec", SOURCES]).in_folder(&folder).outcome()?;
    ensure!(made.status == Status::Exit(0), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(folder)
}
