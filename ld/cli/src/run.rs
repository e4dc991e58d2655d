//! `folio run`: start a program under Folio without changing its file.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::loader;

/// The command that starts a program under this interpreter. `argv[0]` stays as the caller wrote it.
pub fn command(interpreter: &Path, name: &str, arguments: &[OsString]) -> Result<Command> {
    let mut command = Command::new(interpreter);
    command.arg("--argv0").arg(name).arg(loader::program(name)?).args(arguments);
    Ok(command)
}

/// Becomes the program: returns only when that failed.
pub fn run(name: &str, arguments: &[OsString]) -> Result<Infallible> {
    let interpreter = loader::find()?;
    let error = command(&interpreter, name, arguments)?.exec();
    Err(error).with_context(|| format!("cannot start {}", interpreter.display()))
}
