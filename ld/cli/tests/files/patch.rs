//! `folio patch`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use folio::loader::GLIBC;

use crate::workshop::{Workshop, complaint, folio, said};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn an_interpreter_that_fits_is_written_in_place_and_taken_back_byte_for_byte() {
    let shop = Workshop::new("p");
    let program = shop.copy("/usr/bin/true", "t");
    let interpreter = shop.path("ld");
    symlink(GLIBC, &interpreter).unwrap();
    let original = fs::read(&program).unwrap();

    let (program_name, interpreter_name) = (program.to_str().unwrap(), interpreter.to_str().unwrap());
    let output = folio(["patch", program_name, "--interpreter", interpreter_name]);
    assert!(said(&output, 0).contains("28 bytes changed in place"), "{output:?}");
    assert_eq!(folio::patch::named_interpreter(&program).unwrap(), interpreter);
    let patched = fs::read(&program).unwrap();
    assert_eq!(patched.len(), original.len());
    assert!(patched.iter().zip(&original).filter(|(a, b)| a != b).count() <= 28);
    assert!(Command::new(&program).status().unwrap().success(), "it still starts");

    let again = folio(["patch", program_name, "--interpreter", interpreter_name]);
    assert!(said(&again, 0).contains("already"));
    said(&folio(["patch", "--undo", program_name]), 0);
    assert_eq!(fs::read(&program).unwrap(), original);
}

#[test]
fn a_copy_takes_an_interpreter_of_any_length() {
    let shop = Workshop::new("o");
    let program = shop.copy("/usr/bin/true", "t");
    let original = fs::read(&program).unwrap();
    let interpreter = shop.path("an-interpreter-whose-name-is-longer-than-the-place");
    symlink(GLIBC, &interpreter).unwrap();
    let (from, to, with) = (shop.text("t"), shop.text("copy"), interpreter.to_str().unwrap());
    let refused = complaint(&folio(["patch", &from, "--interpreter", with]));
    assert!(refused.contains("does not fit; patch a copy with -o"), "{refused}");
    said(&folio(["patch", &from, "--interpreter", with, "-o", &to]), 0);
    assert_eq!(folio::patch::named_interpreter(&shop.path("copy")).unwrap(), interpreter);
    assert!(Command::new(&to).status().unwrap().success());
    assert_eq!(fs::read(&program).unwrap(), original);
    let same = complaint(&folio(["patch", &from, "--interpreter", with, "-o", &from]));
    assert!(same.contains("is the program itself"), "{same}");
}

#[test]
fn what_would_break_is_refused_and_left_alone() {
    let shop = Workshop::new("r");
    let start = "void _start(void) { for (;;); }";
    shop.compile(start, "static", &["-static", "-nostdlib"]);
    shop.compile(start, "musl", &["-nostdlib", "-pie", "-fPIE", "-Wl,-dynamic-linker=/lib/ld-musl-x86_64.so.1"]);
    shop.shared_object("int f(void) { return 1; }", "lib.so", &[]);
    shop.copy("/usr/bin/true", "true");
    let mut other = fs::read("/usr/bin/true").unwrap();
    other[18] = 183;
    shop.write("aarch64", &other);
    other[4] = 1;
    shop.write("class32", &other);
    shop.write("text", b"#!/bin/sh\n# A script, longer than the header that every ELF file begins with\n");
    let interpreter = shop.path("ld");
    symlink(GLIBC, &interpreter).unwrap();
    let interpreter = interpreter.to_str().unwrap();
    for (name, sentence) in [
        ("static", "names no interpreter"),
        ("lib.so", "names no interpreter"),
        ("musl", "not glibc's"),
        ("aarch64", "for another machine"),
        ("class32", "wrong ELF class"),
        ("text", "invalid ELF header"),
        (".", "not a file"),
        ("absent", "No such file or directory"),
    ] {
        let before = fs::read(shop.path(name)).ok();
        let refused = complaint(&folio(["patch", &shop.text(name), "--interpreter", interpreter]));
        assert!(refused.contains(sentence), "{name}: {refused}");
        assert_eq!(fs::read(shop.path(name)).ok(), before, "{name}");
    }
    let absent = complaint(&folio(["patch", &shop.text("true"), "--interpreter", "/lib64/absent.so"]));
    assert!(absent.contains("without which it would not start"), "{absent}");
    let relative = complaint(&folio(["patch", &shop.text("true"), "--interpreter", "ld"]));
    assert!(relative.contains("absolute path"), "{relative}");
    let nothing = complaint(&folio(["patch", "--undo", &shop.text("true"), "-o", &shop.text("out")]));
    assert!(nothing.contains("nothing to undo"), "{nothing}");
}

#[test]
fn a_running_program_is_left_alone() {
    let shop = Workshop::new("b");
    shop.copy("/bin/cat", "cat");
    symlink(GLIBC, shop.path("ld")).unwrap();
    let mut cat = Command::new(shop.path("cat")).stdin(Stdio::piped()).spawn().unwrap();
    let refused = folio(["patch", &shop.text("cat"), "--interpreter", &shop.text("ld")]);
    cat.kill().unwrap();
    cat.wait().unwrap();
    assert!(complaint(&refused).contains("is running"), "{refused:?}");
}

#[test]
fn a_program_with_the_rights_of_others_wants_an_interpreter_that_is_roots_alone() {
    if !is_root() {
        // Only root can make a program that belongs to somebody else.
        return;
    }
    let shop = Workshop::new("s");
    let program = shop.copy("/usr/bin/true", "t");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let interpreter = shop.copy(GLIBC, "ld");
    chown(&interpreter, Some(65534), None).unwrap();
    let refused = complaint(&folio(["patch", &shop.text("t"), "--interpreter", &shop.text("ld")]));
    assert!(refused.contains("others than root can replace"), "{refused}");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o7777, 0o4755);
}
