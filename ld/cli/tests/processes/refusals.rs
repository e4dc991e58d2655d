//! What is not there, not allowed or no program: a sentence that says what to do, and a status; never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::pagemap::Waiting;
use crate::workshop::{Workshop, complaint, folio};

#[test]
fn processes_that_are_not_there() {
    let absent = complaint(&folio(["share", "--pid", "4194305"]));
    assert!(absent.contains("there is no process 4194305") && absent.contains("pgrep"), "{absent}");
    let mut ended = Waiting::cat(None);
    ended.kill();
    let zombie = complaint(&folio(["share", "--pid", &ended.pid().to_string()]));
    assert!(zombie.contains("has ended"), "{zombie}");
    let twice = complaint(&folio(["share", "--pid", "1,1"]));
    assert!(twice.contains("named twice"), "{twice}");
}

#[test]
fn programs_that_are_none() {
    let shop = Workshop::new("none");
    let text = shop.write("text", b"Some text\n");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
    let script = shop.write("script", b"#!/bin/sh\nexec cat\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let damaged = shop.write("damaged", &[&b"\x7fELF\x02\x01\x01"[..], &[0xff; 4000]].concat());
    fs::set_permissions(&damaged, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = shop.folder.to_str().unwrap();
    for (program, shared, compared) in [
        ("no-such-program", "not found in PATH", "not found in PATH"),
        ("/no/such/program", "there is no such file", "No such file"),
        (folder, "not a file that can be started", "Is a directory"),
        ("/etc/passwd", "cannot be executed", "not an ELF file"),
    ] {
        let sentence = complaint(&folio(["share", "-n", "2", program]));
        assert!(sentence.contains(shared), "{program}: {sentence}");
        let glibc = complaint(&folio(["share", "--under", "glibc", program]));
        assert!(glibc.contains(compared), "{program}: {glibc}");
    }
    let sentence = complaint(&folio(["share", damaged.to_str().unwrap()]));
    assert!(sentence.contains("cannot be executed"), "{sentence}");
    // A script is its interpreter, for share; compare wants the program itself.
    let output = folio(["share", "-n", "1", script.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sentence = complaint(&folio(["compare", script.to_str().unwrap()]));
    assert!(sentence.contains("is a script"), "{sentence}");
}

#[test]
fn bad_arguments_are_the_users_to_correct() {
    for arguments in [
        &["share"][..],
        &["share", "--pid", "one"],
        &["share", "--pid", "1", "--all"],
        &["share", "--pid", "1", "cat"],
        &["share", "-n", "0", "cat"],
        &["share", "-n", "1000", "cat"],
        &["share", "--under", "musl", "cat"],
        &["compare"],
        &["compare", "--follow", "dtrace", "true"],
        &["compare", "--pairs", "many", "true"],
    ] {
        let output = folio(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn pictures_that_cannot_be_written() {
    let sentence = complaint(&folio(["share", "-n", "1", "--map", "/no/such/folder/map.svg", "cat"]));
    assert!(sentence.contains("cannot write /no/such/folder/map.svg"), "{sentence}");
}

/// Not a page of colour, and no news of progress, where nobody looks.
#[test]
fn a_pipe_gets_plain_text() {
    let output = folio(["share", "-n", "1", "cat"]);
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(!output.stdout.contains(&0x1b));
}
