//! Running a program, with every program that it starts, under Folio without copying anything: in a mount namespace of
//! its own, the interpreter is bound over the file behind glibc's path. The rest of the machine does not see it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::interpreter::GLIBC;
use crate::run::{Run, find};

/// Enters the namespace, binds `$1` over `$2`, then becomes the program `$4` with `argv[0]` `$3`.
const SCRIPT: &str = r#"mount --bind "$1" "$2" && name=$3 program=$4 && shift 4 && exec -a "$name" "$program" "$@""#;

/// The same run where `interpreter` lies over glibc's loader. Needs root, `unshare` and `mount`.
pub fn with_interpreter_mounted(run: &Run, interpreter: &Path) -> Result<Run> {
    let unshare = find("unshare").context("unshare (package util-linux) is missing")?;
    let place: PathBuf = fs::canonicalize(GLIBC)?;
    let arguments: Vec<OsString> = ["--mount", "--propagation", "private", "bash", "-c", SCRIPT, "bash"]
        .into_iter()
        .map(OsString::from)
        .chain([interpreter.into(), place.into(), run.name.clone(), run.program.clone().into()])
        .chain(run.arguments.iter().cloned())
        .collect();
    let shown = Some(format!("(with {} bound over {GLIBC}) {}", interpreter.display(), run.reproduction()));
    Ok(Run { program: unshare.clone(), name: unshare.into(), arguments, shown, ..run.clone() })
}
