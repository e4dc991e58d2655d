//! Starts several processes of one program and waits until each has done what it does by itself.
//!
//! A program that waits for input, a connection or a signal is looked at while it waits. One that ends by itself is held in
//! its last moment, when its memory is still there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::output::Progress;
use crate::process::launch::{Input, Stop, Tracee, Until};
use crate::process::status::{Status, status};
use crate::{loader, run};

/// How long a process has to sleep, without a page fault, to count as one that waits.
const QUIET: Duration = Duration::from_millis(300);
const BETWEEN: Duration = Duration::from_millis(20);

/// Which dynamic linker starts the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Linker {
    /// The one that the program names
    Own,
    Folio,
    Glibc,
}

impl Linker {
    /// The command that starts a program so, once the file was seen to be one.
    pub fn command(self, name: &str, arguments: &[OsString]) -> Result<Command> {
        match self {
            // A script is fine: it is its interpreter that is looked at.
            Self::Own => {
                let file = loader::program(name)?;
                ensure!(file.exists(), "{}: there is no such file", file.display());
                ensure!(file.is_file(), "{}: not a file that can be started", file.display());
                let mut command = Command::new(file);
                command.args(arguments);
                Ok(command)
            }
            Self::Folio | Self::Glibc => {
                loader::elf_program(name)?;
                let linker = if self == Self::Folio { loader::find()? } else { PathBuf::from(loader::GLIBC) };
                run::command(&linker, name, arguments)
            }
        }
    }
}

/// What the processes did until they were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Waiting,
    /// It had ended, with this status of wait(2).
    Ended(i32),
    /// It still ran when the time was over.
    Busy,
}

impl Condition {
    pub fn sentence(&self) -> String {
        match self {
            Self::Waiting => "looked at while it waits".to_owned(),
            Self::Ended(status) if status & 0x7f == 0 => {
                format!("looked at in the moment it exited, with status {}", status >> 8)
            }
            Self::Ended(status) => format!("looked at in the moment it was killed, by signal {}", status & 0x7f),
            Self::Busy => "looked at while it ran: time was over (--wait)".to_owned(),
        }
    }
}

/// Starts the program several times and waits, at most so long.
pub fn start(
    command: &Command,
    copies: usize,
    wait: Duration,
    progress: &Progress,
) -> Result<Vec<(Tracee, Condition)>> {
    let mut tracees = Vec::with_capacity(copies);
    for copy in 1..=copies {
        progress.say(&format!("starting process {copy} of {copies}"));
        let tracee = Tracee::start(command, Input::Held)?;
        tracee.go_on(Until::Exit)?;
        tracees.push(tracee);
    }
    let begin = Instant::now();
    let mut watched: Vec<Watched> = tracees.iter().map(|_| Watched::default()).collect();
    loop {
        for (tracee, watched) in tracees.iter().zip(&mut watched) {
            watched.look(tracee)?;
        }
        let settled = watched.iter().filter(|watched| watched.condition.is_some()).count();
        if settled == copies || begin.elapsed() > wait {
            break;
        }
        progress.say(&format!("{settled} of {copies} processes have settled"));
        sleep(BETWEEN);
    }
    let conditions = watched.into_iter().map(|watched| watched.condition.unwrap_or(Condition::Busy));
    Ok(tracees.into_iter().zip(conditions).collect())
}

#[derive(Default)]
struct Watched {
    last: Option<(Status, Instant)>,
    condition: Option<Condition>,
}

impl Watched {
    fn look(&mut self, tracee: &Tracee) -> Result<()> {
        if matches!(self.condition, Some(Condition::Ended(_))) {
            return Ok(());
        }
        match tracee.poll(Until::Exit)? {
            Some(Stop::Exiting(status)) => {
                self.condition = Some(Condition::Ended(status));
                return Ok(());
            }
            Some(Stop::Ended(how)) => anyhow::bail!("process {} {how} before it could be looked at", tracee.pid()),
            Some(Stop::SystemCall) | None => {}
        }
        let now = status(tracee.pid())?;
        let since = match self.last {
            Some((last, since)) if last == now => since,
            _ => Instant::now(),
        };
        self.last = Some((now, since));
        self.condition = (now.state == b'S' && since.elapsed() >= QUIET).then_some(Condition::Waiting);
        Ok(())
    }
}
