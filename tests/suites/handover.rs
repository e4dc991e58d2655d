//! A libc that no layout table fits is never guessed at: its own loader starts the program, whole.
//!
//! The libc is this machine's, made a stranger: its build id and the version that it states are others. glibc's own loader
//! takes no notice of either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use folio_tests::compare;
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::run::{Run, Status};
use folio_tests::suite::{self, Verdict};
use folio_tests::workspace;
use libtest_mimic::Trial;
use object::{Object, ObjectSymbol};

/// Says what glibc's loader would say of itself: the objects in memory, the arguments and the environment.
const PROGRAM: &str = r#"
    awk '/\.so/ {n = split($6, part, "/"); print part[n]}' /proc/self/maps | sort -u
    printf '%s\n' "$0" "$@" "${VARIABLE-}"
    exit 3
"#;

fn main() -> ExitCode {
    suite::run_or_explain(tests())
}

fn tests() -> Result<Vec<Trial>> {
    let interpreter = Interpreter::under_test()?;
    let (one, other, third) = (interpreter.clone(), interpreter.clone(), interpreter);
    Ok(vec![
        suite::test("handover::to_the_loader_beside_libc", move || to_the_loader_beside_libc(&one)),
        suite::test("handover::keeps_argv0", move || keeps_argv0(&other)),
        suite::test("handover::known_libc_is_kept", move || known_libc_is_kept(&third)),
    ])
}

/// A folder with a libc that is nobody's, and the loader that belongs to it.
fn strange_root(name: &str) -> Result<PathBuf> {
    let folder = workspace::fresh(&format!("handover/{name}"))?;
    let loader = fs::canonicalize(GLIBC)?;
    fs::copy(&loader, folder.join("ld-linux-x86-64.so.2"))?;
    let libc = loader.with_file_name("libc.so.6");
    let mut data = fs::read(&libc).with_context(|| format!("{} lies beside its loader", libc.display()))?;
    make_strange(&mut data)?;
    fs::write(folder.join("libc.so.6"), data)?;
    Ok(folder)
}

/// Changes the build id and `__nptl_version`, both read-only data that nothing but tools looks at.
fn make_strange(data: &mut [u8]) -> Result<()> {
    let file = object::File::parse(&*data)?;
    let id = file.build_id()?.context("libc has a build id")?.to_vec();
    let version = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("__nptl_version"));
    let address = version.context("libc states its version")?.address();
    let at = data.windows(id.len()).position(|window| window == id).context("the build id is in the file")?;
    // Read-only data comes before the first segment whose addresses and offsets differ.
    let place = usize::try_from(address)?;
    ensure!(data[place..].starts_with(b"2."), "libc's version is not where its symbol says");
    data[at] ^= 0xff;
    data[place..place + 4].copy_from_slice(b"2.99");
    Ok(())
}

fn shell(interpreter: &Path, folder: &Path) -> Run {
    Run::new(interpreter).args(["-c", PROGRAM, "name", "one argument", "two"]).env("VARIABLE", "seen").in_folder(folder)
}

/// The program runs, as under that loader, and with that loader in memory.
fn to_the_loader_beside_libc(interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("glibc's loader hands nothing over".to_owned()));
    }
    let folder = strange_root("beside")?;
    let copy = folder.join("bash");
    interpreter.adopt(&fs::canonicalize("/bin/bash")?, &copy)?;
    let path = folder.as_os_str();
    let native = shell(Path::new("/bin/bash"), &folder).env("LD_LIBRARY_PATH", path).outcome()?;
    let handed_over = shell(&copy, &folder).env("LD_LIBRARY_PATH", path).outcome()?;
    ensure!(native.status == Status::Exit(3), "under glibc's loader: {}", native.status);
    let said = String::from_utf8_lossy(&handed_over.stdout);
    ensure!(said.contains("ld-linux-x86-64.so.2"), "glibc's loader is not in memory:\n{said}");
    Ok(compare::difference(&native, &handed_over).map_or(Verdict::Pass, Verdict::Fail))
}

/// `argv[0]` arrives as it was given, not as the path of a loader.
fn keeps_argv0(interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("glibc's loader hands nothing over".to_owned()));
    }
    let folder = strange_root("argv0")?;
    let copy = folder.join("cat");
    interpreter.adopt(&fs::canonicalize("/bin/cat")?, &copy)?;
    let outcome = Run::new(&copy)
        .named("a name of its own")
        .args(["/proc/self/cmdline"])
        .env("LD_LIBRARY_PATH", folder.as_os_str())
        .in_folder(&folder)
        .outcome()?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    ensure!(outcome.status == Status::Exit(0), "{}", outcome.status);
    ensure!(said.contains("--argv0\0a name of its own\0"), "the loader was not told argv[0]: {said:?}");
    Ok(Verdict::Pass)
}

/// The same copy of libc with nothing changed is no stranger: Folio runs the program itself.
fn known_libc_is_kept(interpreter: &Interpreter) -> Result<Verdict> {
    if interpreter.is_stand_in() {
        return Ok(Verdict::Skip("glibc's loader hands nothing over".to_owned()));
    }
    let folder = strange_root("known")?;
    fs::copy(fs::canonicalize(GLIBC)?.with_file_name("libc.so.6"), folder.join("libc.so.6"))?;
    let copy = folder.join("bash");
    interpreter.adopt(&fs::canonicalize("/bin/bash")?, &copy)?;
    let outcome = Run::new(&copy)
        .args(["-c", "cat /proc/$$/maps; exit"])
        .env("LD_LIBRARY_PATH", folder.as_os_str())
        .in_folder(&folder)
        .outcome()?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    ensure!(said.contains("/libc.so.6"), "no libc in memory:\n{said}");
    ensure!(!said.contains("/ld-linux"), "glibc's loader is in memory:\n{said}");
    Ok(Verdict::Pass)
}
