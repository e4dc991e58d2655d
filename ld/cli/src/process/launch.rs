//! A process that this command starts, follows with ptrace(2) and ends: so it can be looked at in its last moment, when it
//! has done all its work and its memory is still there.
//!
//! A shell speaks, is taken hold of, gets a line and becomes the program: no other order is free of a race without code
//! between fork and exec. What the shell does is not reported.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What the program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing, without an end: an interactive program waits for its first line.
    Held,
    Empty,
}

/// Where a followed process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the entry of a system call, or at its return.
    SystemCall,
    /// All that is left is to give back its memory. The number is its exit status, as wait(2) gives it.
    Exiting(i32),
    /// It is gone.
    Ended(String),
}

/// Whether a process that goes on stops at its system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    SystemCall,
    Exit,
}

/// A followed process. It ends, with the group of processes that it started, when this is dropped.
pub struct Tracee {
    child: Child,
    pid: Pid,
    _input: Option<ChildStdin>,
}

impl Tracee {
    /// Starts the command, up to the moment where its file was loaded and none of its instructions ran. Its output is
    /// thrown away.
    pub fn start(command: &Command, input: Input) -> Result<Self> {
        let script = match input {
            Input::Held => "echo && read -r line && exec \"$@\" >/dev/null",
            Input::Empty => "echo && read -r line && exec \"$@\" >/dev/null </dev/null",
        };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        apply_surroundings(command, &mut shell);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = shell.spawn().context("cannot start /bin/sh")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        let (mut line, said) = (child.stdin.take(), child.stdout.take());
        // From here on, dropping the tracee ends the shell.
        let mut tracee = Self { child, pid, _input: None };
        // Once it has spoken, the shell's own start is over, and what starts next is the program.
        said.context("the shell has an output")?.read_exact(&mut [0]).context("the shell does not speak")?;
        let options = Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEEXIT
            | Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(pid, options).context(
            "this system lets no process follow another (ptrace): a container needs the capability SYS_PTRACE for it",
        )?;
        line.as_mut().context("the shell has an input")?.write_all(b"\n").context("the shell does not listen")?;
        tracee._input = line.filter(|_| input == Input::Held);
        let program = command.get_program().to_string_lossy();
        loop {
            match waitpid(pid, None)? {
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => return Ok(tracee),
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT) | WaitStatus::Exited(..) => {
                    bail!("{program} cannot be executed (permissions, or an interpreter that is not there)")
                }
                status => tracee.pass_on(&status, Until::Exit)?,
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Lets a stopped process go on.
    pub fn go_on(&self, until: Until) -> Result<()> {
        self.resume(until, None)
    }

    fn resume(&self, until: Until, signal: Option<Signal>) -> Result<()> {
        let done = match until {
            Until::SystemCall => ptrace::syscall(self.pid, signal),
            Until::Exit => ptrace::cont(self.pid, signal),
        };
        match done {
            // Killed while it stood.
            Err(Errno::ESRCH) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Stops that are no news: signals on their way, which are delivered, and group stops.
    fn pass_on(&self, status: &WaitStatus, until: Until) -> Result<()> {
        match status {
            WaitStatus::Stopped(_, signal) => self.resume(until, Some(*signal)),
            _ => self.resume(until, None),
        }
    }

    /// The next stop, if there is one already.
    pub fn poll(&self, until: Until) -> Result<Option<Stop>> {
        self.next(until, Some(WaitPidFlag::WNOHANG))
    }

    /// The next stop.
    pub fn wait(&self, until: Until) -> Result<Stop> {
        self.next(until, None)?.context("a process that is waited for stops or ends")
    }

    fn next(&self, until: Until, flags: Option<WaitPidFlag>) -> Result<Option<Stop>> {
        loop {
            match waitpid(self.pid, flags) {
                Ok(WaitStatus::StillAlive) => return Ok(None),
                Ok(WaitStatus::PtraceSyscall(_)) => return Ok(Some(Stop::SystemCall)),
                Ok(WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT)) => {
                    return Ok(Some(Stop::Exiting(i32::try_from(ptrace::getevent(self.pid)?)?)));
                }
                Ok(WaitStatus::Exited(_, status)) => return Ok(Some(Stop::Ended(format!("exited with {status}")))),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Some(Stop::Ended(format!("killed by {signal}")))),
                Ok(status) => self.pass_on(&status, until)?,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("lost a process that was followed"),
            }
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // What it started goes with it. A process that stands at its exit has to be let go, and one that is killed stands
        // there once more.
        let _gone = killpg(self.pid, Signal::SIGKILL);
        drop(self.child.kill());
        let _runs = ptrace::cont(self.pid, None);
        while matches!(
            waitpid(self.pid, None),
            Ok(WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..) | WaitStatus::PtraceSyscall(_))
                | Err(Errno::EINTR)
        ) {
            let _gone = ptrace::cont(self.pid, None);
        }
    }
}

/// Gives one command the environment and the folder of another.
pub fn apply_surroundings(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{mappings, status};

    #[test]
    fn a_program_that_ends_is_there_in_its_last_moment() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]);
        let tracee = Tracee::start(&command, Input::Empty).unwrap();
        tracee.go_on(Until::Exit).unwrap();
        assert_eq!(tracee.wait(Until::Exit).unwrap(), Stop::Exiting(3 << 8));
        let libc = mappings(tracee.pid()).unwrap().into_iter().any(|mapping| mapping.path.ends_with("libc.so.6"));
        assert!(libc);
        tracee.go_on(Until::Exit).unwrap();
        assert_eq!(tracee.wait(Until::Exit).unwrap(), Stop::Ended("exited with 3".to_owned()));
    }

    #[test]
    fn a_program_that_waits_ends_with_its_tracee() {
        let tracee = Tracee::start(&Command::new("cat"), Input::Held).unwrap();
        tracee.go_on(Until::Exit).unwrap();
        let pid = tracee.pid();
        while status::status(pid).unwrap().state != b'S' {
            assert_eq!(tracee.poll(Until::Exit).unwrap(), None);
        }
        drop(tracee);
        assert!(status::status(pid).is_err());
    }

    #[test]
    fn what_cannot_be_executed_is_an_error() {
        let error = Tracee::start(&Command::new("/etc/passwd"), Input::Empty).err().unwrap();
        assert!(error.to_string().starts_with("/etc/passwd cannot be executed"), "{error}");
    }
}
