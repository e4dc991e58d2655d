//! What is not there, not ELF, damaged or forbidden: a sentence and a status, never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::workshop::{Workshop, complaint, folio, run};

#[test]
fn files_that_are_none() {
    let shop = Workshop::new("z");
    shop.write("empty", b"");
    shop.write("text", b"Some text, longer than the header that every ELF file begins with\n");
    shop.write("script", b"#!/bin/sh\n# A script, longer than the header that every ELF file begins with\n");
    shop.compile("void _start(void) { for (;;); }", "static", &["-static", "-nostdlib"]);
    shop.compile("void _start(void) { for (;;); }", "static-pie", &["-static-pie", "-nostdlib"]);
    assert!(complaint(&folio(["explain", &shop.text("static-pie")])).contains("statically linked"));
    for (name, explained, linted) in [
        ("absent", "No such file or directory", "No such file or directory"),
        ("empty", "file too short", "file too short"),
        ("text", "invalid ELF header", "invalid ELF header"),
        ("script", "a script, which /bin/sh starts", "invalid ELF header"),
        ("static", "statically linked", "statically linked"),
    ] {
        let sentence = complaint(&folio(["explain", &shop.text(name)]));
        assert!(sentence.contains(explained), "{name}: {sentence}");
        let output = folio(["lint", &shop.text(name)]);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(linted), "{name}: {text}");
        assert_eq!(output.status.code(), Some(if name == "absent" { 1 } else { 2 }), "{text}");
    }
    assert!(complaint(&folio(["explain", &shop.text(".")])).contains("Is a directory"));
    assert!(complaint(&folio(["explain", "no-such-program"])).contains("not found in PATH"));
    let fixed = folio(["lint", "--fix", "no-relr", "-o", &shop.text("out"), &shop.text("text")]);
    assert!(complaint(&fixed).contains("invalid ELF header"));
    assert!(!shop.path("out").exists());
}

#[test]
fn bad_arguments_are_the_users_to_correct() {
    for arguments in [
        &["explain"][..],
        &["lint"],
        &["patch"],
        &["run"],
        &["no-such-command"],
        &["lint", "--fix", "text-relocations", "-o", "x", "y"],
        &["lint", "--fix", "no-relr", "y"],
        &["lint", "--worst", "many", "/usr/lib"],
        &["run", "--how", "somehow", "true"],
        &["doctor", "--no-such-option"],
    ] {
        let output = folio(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn files_that_may_not_be_read() {
    if !rustix::process::geteuid().is_root() {
        // Only root can become somebody who may read less.
        return;
    }
    let shop = Workshop::new("q");
    let command = shop.copy(env!("CARGO_BIN_EXE_folio"), "folio");
    shop.copy("/usr/bin/true", "secret");
    fs::set_permissions(shop.path("secret"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(&shop.folder, fs::Permissions::from_mode(0o755)).unwrap();
    for (arguments, status) in [
        (&["explain", "secret"][..], 1),
        (&["lint", "secret"], 2),
        (&["patch", "secret", "--interpreter", "/lib64/ld-linux-x86-64.so.2"], 1),
    ] {
        let words = arguments.iter().map(|&word| if word == "secret" { shop.text(word) } else { word.to_owned() });
        let output = run(Command::new(&command).args(words).uid(65534).gid(65534));
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("Permission denied"), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(status), "{text}");
    }
}

/// A small generator of numbers (Marsaglia, *Xorshift RNGs*): the same damage every time.
struct Damage(u64);

impl Damage {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn damaged_libraries_are_answered() {
    let shop = Workshop::new("g");
    let source =
        "static int x; int *const p[] = {&x, &x}; int f(int n) { return *p[n & 1]; } int g(void) { return f(1); }";
    let good = fs::read(shop.shared_object(source, "lib.so", &["-Wl,-rpath,/nowhere"])).unwrap();
    let mut damage = Damage(0x9e37_79b9_7f4a_7c15);
    // The headers and the dynamic section are where a decoder can go wrong.
    let dynamic = good.windows(16).position(|window| window[..8] == 29u64.to_le_bytes()).unwrap_or(0x2e00);
    for round in 0..120 {
        let mut bytes = good.clone();
        if round < 30 {
            bytes.truncate(good.len() * round / 30);
        } else {
            for _ in 0..1 + round % 4 {
                let start = [0, 0x40, dynamic.saturating_sub(64), 0x200][damage.next(4)];
                let place = (start + damage.next(0x180)).min(good.len() - 1);
                bytes[place] = [0, 0xff, 0x7f, 0x80, 1][damage.next(5)];
            }
        }
        let path = shop.write("damaged.so", &bytes);
        let path = path.to_str().unwrap();
        let out = shop.text("out.so");
        for arguments in
            [&["lint", path][..], &["explain", path], &["lint", "--fix", "no-relr,executable-stack", "-o", &out, path]]
        {
            let output = folio(arguments);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code().is_some_and(|status| status <= 2), "round {round}: {arguments:?}: {errors}");
            assert!(!errors.contains("panicked"), "round {round}: {errors}");
        }
    }
}
