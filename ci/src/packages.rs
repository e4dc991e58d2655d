//! The Debian packages that each command needs, and how missing ones get onto the machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What the demo needs: compilers, the tools it shows things with, and the programs it shows.
pub const DEMO: &str = "bash g++ gcc git libc6-dev patchelf perl python3 strace";

/// What the crates' own tests use and compare with: the debug information of this machine's libc, for one.
pub const CRATES: &str = "binutils g++ gcc gdb libc6-dbg libc6-dev musl-tools patchelf strace valgrind";

/// What the budgets are counted with.
pub const BUDGETS: &str = "binutils valgrind";

/// What the whole-program tests run and use; the list stands beside them.
pub const PROGRAMS: &str = include_str!("../../tests/packages.txt");

/// What the slow suites use beyond that.
pub const SLOW_PROGRAMS: &str = include_str!("../../tests/packages-all.txt");

/// Makes sure that the packages of these lists are on the machine: names those that are missing, then installs them.
pub fn ensure(lists: &[&str]) -> Result<()> {
    let missing = missing(lists)?;
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing.join(" ");
    eprintln!("Missing Debian packages: {named}");
    let Some(root) = becoming_root() else {
        bail!("please install them, for instance with: sudo apt-get install {named}");
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

/// Those of the packages that dpkg does not know as installed, each once.
fn missing<'a>(lists: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut needed: Vec<&str> = lists.iter().flat_map(|list| list.split_whitespace()).collect();
    needed.sort_unstable();
    needed.dedup();
    // Exits with 1 for packages that dpkg has never heard of, and lists the others all the same (dpkg-query(1)).
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(&needed)
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("cannot ask dpkg-query, which Debian has, for: {}", needed.join(" ")))?;
    let known = String::from_utf8(query.stdout)?;
    let installed: Vec<&str> = known.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    needed.retain(|name| !installed.contains(name));
    Ok(needed)
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
    fn what_is_missing_is_named_once() {
        let lists = ["libc6 no-such-package", "libc-bin\nno-such-package\nanother-missing-package"];
        assert_eq!(missing(&lists).unwrap(), ["another-missing-package", "no-such-package"]);
    }

    #[test]
    fn nothing_is_installed_when_nothing_is_missing() {
        ensure(&["libc6 libc-bin"]).unwrap();
    }
}
