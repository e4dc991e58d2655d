//! What makes a build the same wherever it is made: paths of the building machine that would get into panic messages are
//! replaced by names that are the same everywhere (rustc, *Remap source paths*, `--remap-path-prefix`).
//!
//! Paths of this workspace are relative to it already. Those of crates lie in cargo's home or in a vendored folder, and those of
//! the standard library in rustup's home, if its component `rust-src` is there; if not, they have a name of the compiler's
//! commit, which is the one that is given to them here.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{metadata, repository};

/// `CARGO_ENCODED_RUSTFLAGS`: the flags that the environment asks for anyway, and those that replace paths.
pub fn compiler_flags() -> Result<String> {
    let mut flags: Vec<String> = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS")) {
        (Ok(encoded), _) => encoded.split('\u{1f}').map(str::to_owned).collect(),
        (_, Ok(plain)) => plain.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    flags.retain(|flag| !flag.is_empty());
    let packages = metadata::packages(&repository::root())?;
    let crates: BTreeSet<_> = packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter_map(|package| package.manifest_path.parent()?.parent())
        .collect();
    flags.extend(crates.iter().map(|folder| format!("--remap-path-prefix={}=/crates", folder.display())));
    let library = format!("{}/lib/rustlib/src/rust", rustc(["--print", "sysroot"])?.trim());
    let version = rustc(["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let commit = commit.context("rustc -vV names no commit")?;
    flags.push(format!("--remap-path-prefix={library}=/rustc/{commit}"));
    Ok(flags.join("\u{1f}"))
}

fn rustc<const N: usize>(arguments: [&str; N]) -> Result<String> {
    let compiler = env::var_os("RUSTC");
    let output = Command::new(compiler.as_deref().unwrap_or(OsStr::new("rustc")))
        .args(arguments)
        .current_dir(repository::root())
        .output()
        .context("cannot start rustc")?;
    ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
