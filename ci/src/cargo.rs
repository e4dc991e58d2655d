//! Calls of cargo.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{repository, reproducible};

/// The cargo that started this command, in the repository.
pub fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repository::root());
    command
}

/// Runs a command to its end; an error names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// One of the lines that `--message-format json` prints.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
}

/// Builds one package's binary for release and says where cargo put it.
pub fn build(package: &str, binary: &str) -> Result<PathBuf> {
    let mut command = cargo(["build", "--release", "--package", package, "--bin", binary]);
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    command.env("CARGO_ENCODED_RUSTFLAGS", reproducible::compiler_flags()?);
    if !io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    let shown = format!("cargo build --release --package {package}");
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let lines = BufReader::new(child.stdout.take().context("cargo's output is a pipe")?).lines();
    let mut executable = None;
    for line in lines {
        let message: Message = serde_json::from_str(&line?).with_context(|| format!("{shown}: not a message"))?;
        if message.reason == "compiler-artifact" {
            executable = message.executable.or(executable);
        }
    }
    ensure!(child.wait()?.success(), "{shown} failed");
    executable.with_context(|| format!("{shown} built no executable"))
}
