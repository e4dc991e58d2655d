//! One start of a program: timed from outside, from the request for a process to the news of its end, and checked.

use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::stage::Stage;

/// What is started: one file, in the same surroundings each time.
#[derive(Clone, Debug)]
pub struct Start {
    file: PathBuf,
    /// What the program is told that it is called: its original's path, from which some programs find their own files.
    name: PathBuf,
    arguments: Vec<String>,
    home: PathBuf,
}

/// How a program ended, and all that it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// As wait(2) gives it.
    pub status: i32,
    pub output: Vec<u8>,
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub microseconds: f64,
    pub minor_faults: u64,
}

impl Start {
    pub fn new(stage: &Stage, file: PathBuf, name: &Path, arguments: &[String]) -> Self {
        Self { file, name: name.to_owned(), arguments: arguments.to_vec(), home: stage.home() }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The command, without a place for its output.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.arg0(&self.name).args(&self.arguments).current_dir(&self.home);
        // One by one, where `env_clear` would not be known to who starts the command in another way (`Command::get_envs`).
        for (name, _) in env::vars_os() {
            command.env_remove(name);
        }
        command.env("HOME", &self.home).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Where output goes: a file that is emptied for each run, so that no reader runs while a program does.
pub struct Paper(File);

impl Paper {
    pub fn new(stage: &Stage) -> Result<Self> {
        let path = stage.folder().join("output");
        Ok(Self(File::options().create(true).truncate(true).read(true).write(true).open(path)?))
    }

    /// Starts a program and waits for its end.
    pub fn run(&mut self, start: &Start) -> Result<(Run, Ending)> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        let mut command = start.command();
        command.stdin(Stdio::null()).stdout(self.0.try_clone()?).stderr(self.0.try_clone()?);
        let faults =
            || -> Result<u64> { Ok(u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults())?) };
        let before = faults()?;
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", start.file.display()))?;
        let status = child.wait()?;
        let microseconds = begin.elapsed().as_secs_f64() * 1e6;
        let minor_faults = faults()? - before;
        let mut output = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut output)?;
        Ok((Run { microseconds, minor_faults }, Ending { status: status.into_raw(), output }))
    }

    /// Starts a program that must end like this.
    pub fn checked(&mut self, start: &Start, expected: &Ending) -> Result<Run> {
        let (run, ending) = self.run(start)?;
        ensure!(
            ending == *expected,
            "{}: ended with status {:#x} and wrote {:?}, where status {:#x} and {:?} were expected",
            start.file.display(),
            ending.status,
            beginning(&ending.output),
            expected.status,
            beginning(&expected.output)
        );
        Ok(run)
    }
}

fn beginning(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[..output.len().min(400)]).into_owned()
}
