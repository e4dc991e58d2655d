//! The command as people call it. Beside a copy of it lies glibc's own linker under Folio's name, so that these tests
//! are about the command alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use folio::loader;

/// A folder with the command and an interpreter. It is made once, before any test starts a process: a child of another
/// test that still held a copy open for writing would keep it from being executed (`ETXTBSY`).
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("installed");
    fs::create_dir_all(&folder).unwrap();
    for (from, name) in [(env!("CARGO_BIN_EXE_folio"), "folio"), (loader::GLIBC, loader::NAME)] {
        fs::copy(from, folder.join(name)).unwrap();
    }
    folder
});

fn folio(arguments: &[&str]) -> Output {
    Command::new(INSTALLED.join("folio")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn run_becomes_the_program() {
    let script = "echo $0 $1; grep -c ld-folio.so.1 /proc/$$/maps >/dev/null || echo not under it; exit 3";
    let output = folio(&["run", "--how", "direct", "sh", "-c", script, "name", "argument"]);
    assert_eq!((text(&output.stdout), output.status.code()), ("name argument\n", Some(3)));
    let output = folio(&["run", "--", "sh", "-c", "echo $0"]);
    assert_eq!(text(&output.stdout), "sh\n", "argv[0] stays as it was written");
}

#[test]
fn run_by_a_mount_is_a_plain_start() {
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let script =
        "readlink /proc/$$/exe; stat -Lc %i /lib64/ld-linux-x86-64.so.2; sh -c 'readlink /proc/$$/exe'; echo $0";
    let output = folio(&["run", "--how", "mount", "/bin/sh", "-c", script]);
    if text(&output.stderr).contains("takes the rights of root") {
        assert_eq!(output.status.code(), Some(1));
        return;
    }
    let inode = fs::metadata(INSTALLED.join(loader::NAME)).unwrap().ino();
    let expected = format!("{0}\n{inode}\n{0}\n/bin/sh\n", shell.display());
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    assert_ne!(fs::metadata(loader::GLIBC).unwrap().ino(), inode, "nobody else sees the mount");
}

#[test]
fn run_says_what_it_cannot_find() {
    let output = folio(&["run", "no-such-program"]);
    assert_eq!(text(&output.stderr), "folio: no-such-program: not found in PATH\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn compare_finds_one_linker_equal_to_itself() {
    let output = folio(&["compare", "true"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(table.ends_with("Both exited with 0.\n"), "{table}");
    for label in ["open a library", "map text (code)", "set up the first thread", "protect (make read-only)"] {
        assert!(table.contains(label), "{label}: {table}");
    }
    // Every line of calls has a call on both sides.
    assert!(!table.contains('·'), "{table}");

    let json: serde_json::Value =
        serde_json::from_slice(&folio(&["compare", "--json", "--pairs", "0", "true"]).stdout).unwrap();
    assert_eq!(json["folio"]["ending"], "exited with 0");
    assert_eq!(json["folio"]["calls"].as_array().map(Vec::len), json["glibc"]["calls"].as_array().map(Vec::len));
}

#[test]
fn compare_says_when_the_two_end_differently() {
    // The shell tells by its memory map which linker started it.
    let script = "grep -q ld-folio /proc/$$/maps && exit 7; exit 0";
    let output = folio(&["compare", "sh", "-c", script]);
    let table = text(&output.stdout);
    assert!(table.ends_with("Under glibc the program exited with 0, under Folio it exited with 7.\n"), "{table}");
}
