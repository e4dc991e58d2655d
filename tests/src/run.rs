//! Running one program and keeping what it did: standard output, standard error, exit status.
//!
//! Each program runs in a process group of its own, with an environment and a working folder that the test chose,
//! with output going to memory files (a daemon left behind cannot keep a pipe open), and within a time limit. When its
//! first process has ended, the rest of the group is ended too.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Exit(i32),
    Signal(i32),
    Timeout,
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(out, "exit status {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(out, "ended by {signal}"),
                Err(_) => write!(out, "ended by signal {number}"),
            },
            Self::Timeout => out.write_str("out of time"),
        }
    }
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub status: Status,
}

/// One program to run.
#[derive(Clone, Debug)]
pub struct Run {
    pub program: PathBuf,
    pub name: OsString,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    pub folder: PathBuf,
    pub input: Vec<u8>,
    pub limit: Duration,
    /// How to say it to a person, where the command itself would bury what is run.
    pub shown: Option<String>,
}

/// The environment that every program starts from: nothing of the machine's own leaks in.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("TERM", "dumb"),
];

impl Run {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let name = program.clone().into_os_string();
        Self {
            program,
            name,
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            input: Vec::new(),
            limit: Duration::from_secs(60),
            shown: None,
        }
    }

    /// Sets `argv[0]`: the copy of a program is told the name of the original.
    pub fn named(mut self, name: impl Into<OsString>) -> Self {
        self.name = name.into();
        self
    }

    pub fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    pub fn with_input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command that starts it, with everything but its output set.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg0(&self.name)
            .args(&self.arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.folder)
            .process_group(0);
        command
    }

    /// Runs it to its end.
    pub fn outcome(&self) -> Result<Outcome> {
        let (mut stdout, mut stderr) = (memory_file("stdout")?, memory_file("stderr")?);
        let mut command = self.command();
        command.stdin(self.stdin()?).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut child = start(&mut command).with_context(|| format!("cannot start {}", self.program.display()))?;
        let group = Pid::from_raw(child.id() as i32);
        let in_time = ends_before(group, Instant::now() + self.limit)?;
        // The first process is not reaped yet, so its number, and the group's, cannot belong to anyone else.
        let _ = killpg(group, Signal::SIGKILL);
        let ended = child.wait()?;
        let status = match (in_time, ended.code(), ended.signal()) {
            (false, ..) => Status::Timeout,
            (true, Some(code), _) => Status::Exit(code),
            (true, None, signal) => Status::Signal(signal.unwrap_or(0)),
        };
        Ok(Outcome { stdout: contents(&mut stdout)?, stderr: contents(&mut stderr)?, status })
    }

    /// What a person would type to see the same, as one line of shell.
    pub fn reproduction(&self) -> String {
        if let Some(shown) = &self.shown {
            return shown.clone();
        }
        let mut line = format!("cd {} &&", quote(self.folder.as_os_str()));
        for (key, value) in &self.environment {
            line += &format!(" {}={}", key.to_string_lossy(), quote(value));
        }
        line += &format!(" {}", quote(self.program.as_os_str()));
        for argument in &self.arguments {
            line += &format!(" {}", quote(argument));
        }
        line
    }

    /// Its standard input, at the beginning.
    pub(crate) fn stdin(&self) -> Result<Stdio> {
        if self.input.is_empty() {
            return Ok(Stdio::null());
        }
        let mut file = memory_file("stdin")?;
        std::io::Write::write_all(&mut file, &self.input)?;
        file.rewind()?;
        Ok(file.into())
    }
}

/// A process that is forked while another thread has a program open for writing inherits that descriptor until its own
/// exec, and for so long nobody can start that program (execve(2), `ETXTBSY`). So nobody forks while programs are written.
static WRITING: RwLock<()> = RwLock::new(());

/// Starts a command while no program is being written.
pub fn start(command: &mut Command) -> std::io::Result<Child> {
    let _reading = WRITING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Runs a tool of the tests to its end while no program is being written, and takes its output.
pub fn output(command: &mut Command) -> std::io::Result<Output> {
    start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?.wait_with_output()
}

/// Writes a program while no command is being started.
pub fn writing<T>(write: impl FnOnce() -> T) -> T {
    let _writing = WRITING.write().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// Waits until the process has ended or time is up, and leaves it to be reaped.
fn ends_before(process: Pid, deadline: Instant) -> Result<bool> {
    let mut pause = Duration::from_micros(200);
    loop {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if waitid(Id::Pid(process), flags)? != WaitStatus::StillAlive {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

pub(crate) fn memory_file(name: &str) -> Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

pub(crate) fn contents(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |byte: char| byte.is_ascii_alphanumeric() || "/._-+=:,@%".contains(byte);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Finds a program on the path that [`Run`] gives to every program, with all symbolic links followed.
pub fn find(name: &str) -> Option<PathBuf> {
    let (_, path) = ENVIRONMENT[0];
    path.split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
}
