//! `folio run`: start a program under Folio without changing its file.
//!
//! What is nearest to a plain start is a mount namespace of the program's own in which Folio lies over the interpreter that
//! the program names: the kernel then starts the program itself, and all that it says of the process is as ever. That
//! takes the right to mount. Else Folio is started with the program as its argument.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum, ValueHint};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::loader;
use crate::patch::named_interpreter;

/// In which way the kernel is made to start Folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// By a mount where that is allowed, else directly
    Auto,
    /// In a mount namespace in which Folio lies over the program's interpreter
    Mount,
    /// With the program as Folio's argument
    Direct,
}

#[derive(Args, Debug)]
pub struct Arguments {
    /// Mount Folio over the program's interpreter, or hand the program to Folio as an argument
    #[arg(long, value_enum, default_value_t = How::Auto)]
    how: How,
    /// A path, or a name to look for in PATH
    #[arg(value_hint = ValueHint::CommandName)]
    program: String,
    /// What the program gets as its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The command that starts a program under this interpreter. `argv[0]` stays as the caller wrote it.
pub fn command(interpreter: &Path, name: &str, arguments: &[OsString]) -> Result<Command> {
    let mut command = Command::new(interpreter);
    command.arg("--argv0").arg(name).arg(loader::program(name)?).args(arguments);
    Ok(command)
}

/// A program and its arguments as one line for people.
pub fn title(name: &str, arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| word.to_string_lossy());
    std::iter::once(name.into()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Becomes the program: returns only when that failed.
pub fn run(Arguments { how, program: name, arguments }: &Arguments) -> Result<Infallible> {
    let interpreter = loader::find()?;
    let program = loader::program(name)?;
    let mounted = match how {
        How::Direct => false,
        How::Mount => mount_over(&interpreter, &program).map(|()| true)?,
        // A right that is missing, or a program that names no interpreter: what is wrong with it, Folio will say.
        How::Auto => mount_over(&interpreter, &program).is_ok(),
    };
    let mut command = if mounted { plain(&program, name, arguments) } else { command(&interpreter, name, arguments)? };
    let error = command.exec();
    let started = if mounted { program } else { interpreter };
    Err(error).with_context(|| format!("cannot start {}", started.display()))
}

fn plain(program: &Path, name: &str, arguments: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.arg0(name).args(arguments);
    command
}

/// Leaves this machine's mounts behind, and mounts Folio over the interpreter that the program names. Mounts that are made
/// elsewhere later still come in, and none goes out (mount_namespaces(7), *MS_SLAVE*).
fn mount_over(interpreter: &Path, program: &Path) -> Result<()> {
    let named = named_interpreter(program)?;
    let covered: PathBuf = named.canonicalize().with_context(|| format!("its interpreter {}", named.display()))?;
    if interpreter.canonicalize()? == covered {
        return Ok(());
    }
    const NOTHING: Option<&Path> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace, which takes the rights of root")?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING).context("cannot set mounts apart")?;
    mount(Some(interpreter), &covered, NOTHING, MsFlags::MS_BIND, NOTHING)
        .with_context(|| format!("cannot mount {} over {}", interpreter.display(), covered.display()))
}
