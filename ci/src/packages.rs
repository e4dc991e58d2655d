//! The Debian packages that each command needs, and how missing ones get onto the machine.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A Debian package, and how to tell that what it brings is there.
pub struct Package {
    name: &'static str,
    sign: Sign,
}

enum Sign {
    /// A command of this name in PATH, whoever installed it.
    Command(&'static str),
    /// This very file, for what must come from the distribution.
    File(&'static str),
    /// No file tells; dpkg knows.
    Installed,
}

const fn command(name: &'static str, command: &'static str) -> Package {
    Package { name, sign: Sign::Command(command) }
}

const fn file(name: &'static str, path: &'static str) -> Package {
    Package { name, sign: Sign::File(path) }
}

/// What the demo needs: compilers, the tools it shows things with, and the programs it shows.
pub const DEMO: &[Package] = &[
    command("gcc", "gcc"),
    command("g++", "g++"),
    command("patchelf", "patchelf"),
    command("strace", "strace"),
    file("bash", "/usr/bin/bash"),
    file("git", "/usr/bin/git"),
    file("perl", "/usr/bin/perl"),
    file("python3", "/usr/bin/python3"),
];

/// What the tests need besides: the real programs that they run, and debug information to compare with.
pub const TEST: &[Package] = &[
    command("gdb", "gdb"),
    command("debootstrap", "debootstrap"),
    command("fakeroot", "fakeroot"),
    file("binutils", "/usr/bin/readelf"),
    file("curl", "/usr/bin/curl"),
    file("findutils", "/usr/bin/find"),
    file("gnupg", "/usr/bin/gpg"),
    file("nodejs", "/usr/bin/node"),
    file("openssh-client", "/usr/bin/ssh"),
    file("openssl", "/usr/bin/openssl"),
    file("sqlite3", "/usr/bin/sqlite3"),
    file("vim", "/usr/bin/vim"),
    file("xz-utils", "/usr/bin/xz"),
    file("zstd", "/usr/bin/zstd"),
    Package { name: "libc6-dbg", sign: Sign::Installed },
];

/// Makes sure that these packages are on the machine: names those that are missing, then installs them.
pub fn ensure(needed: &[&[Package]]) -> Result<()> {
    let missing: Vec<&str> =
        needed.iter().flat_map(|list| list.iter()).filter(|p| !p.present()).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    eprintln!("Missing Debian packages: {list}");
    let Some(root) = becoming_root() else {
        bail!("please install them, for instance with: sudo apt-get install {list}");
    };
    eprintln!("Installing them with apt-get ...");
    let install: Vec<&str> = ["install", "--yes", "--no-install-recommends"].into_iter().chain(missing).collect();
    // A machine that was just set up has no package lists yet, and an old list names versions that are gone.
    if apt_get(&root, &install).is_err() {
        apt_get(&root, &["update"])?;
        apt_get(&root, &install)?;
    }
    Ok(())
}

impl Package {
    fn present(&self) -> bool {
        match self.sign {
            Sign::Command(name) => {
                let path = env::var_os("PATH").unwrap_or_default();
                env::split_paths(&path).any(|folder| folder.join(name).is_file())
            }
            Sign::File(path) => Path::new(path).is_file(),
            Sign::Installed => {
                let query = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", self.name]).output();
                query.is_ok_and(|output| output.stdout == b"installed")
            }
        }
    }
}

/// The words before a command that make it run as root; `None` when nothing does without asking for a password.
fn becoming_root() -> Option<Vec<&'static str>> {
    let succeeds = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    if succeeds("id", &["-u"])?.trim_ascii() == b"0" {
        return Some(Vec::new());
    }
    succeeds("sudo", &["-n", "true"]).map(|_| vec!["sudo", "-n"])
}

fn apt_get(root: &[&str], arguments: &[&str]) -> Result<()> {
    let words = [root, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"], arguments].concat();
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", words.join(" ")))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    bail!("apt-get {} failed ({}):\n{}", arguments.join(" "), output.status, errors.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_seen_and_what_is_not_is_not() {
        assert!(command("coreutils", "ls").present());
        assert!(file("base-files", "/etc/debian_version").present());
        assert!(Package { name: "libc6", sign: Sign::Installed }.present());
        assert!(!command("no-such-package", "no-such-command").present());
        assert!(!file("no-such-package", "/no/such/file").present());
        assert!(!Package { name: "no-such-package", sign: Sign::Installed }.present());
    }

    #[test]
    fn nothing_is_installed_when_nothing_is_missing() {
        const HERE: &[Package] = &[command("coreutils", "ls")];
        ensure(&[HERE]).unwrap();
    }
}
