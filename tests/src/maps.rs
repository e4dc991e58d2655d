//! What a program has mapped when it ends, seen from outside: it is traced, stopped at its exit while its memory is
//! still there, and its `/proc/PID/maps` is read (ptrace(2), `PTRACE_O_TRACEEXIT`).
//!
//! # Safety
//! The one unsafe block is `pre_exec`, whose closure makes a single system call and allocates nothing.
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::run::{Run, start};

/// Runs the program and returns its memory map as it was when it exited.
///
/// Only its first process is looked at: what that one starts are programs with interpreters of their own.
pub fn at_exit(run: &Run) -> Result<String> {
    let mut command = run.command();
    command.stdin(run.stdin()?).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure runs in the forked child and only calls ptrace(PTRACE_TRACEME), which is async-signal-safe.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(std::io::Error::from));
    }
    let child = start(&mut command).with_context(|| format!("cannot start {}", run.program.display()))?;
    let process = Pid::from_raw(child.id() as i32);
    let mut maps = None;
    let mut options_set = false;
    let deadline = Instant::now() + run.limit;
    loop {
        match waitpid(process, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) if Instant::now() > deadline => {
                nix::sys::signal::killpg(process, Signal::SIGKILL)?;
                waitpid(process, Some(WaitPidFlag::__WALL))?;
                bail!("{} is out of time", run.program.display());
            }
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            // The first stop is the exec itself; the signal of any later one belongs to the program.
            Ok(WaitStatus::Stopped(_, Signal::SIGTRAP)) if !options_set => {
                ptrace::setoptions(process, ptrace::Options::PTRACE_O_TRACEEXIT | ptrace::Options::PTRACE_O_EXITKILL)?;
                options_set = true;
                ptrace::cont(process, None)?;
            }
            Ok(WaitStatus::Stopped(_, signal)) => ptrace::cont(process, signal)?,
            Ok(WaitStatus::PtraceEvent(..)) => {
                maps = Some(fs::read_to_string(format!("/proc/{process}/maps"))?);
                ptrace::cont(process, None)?;
            }
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => break,
            Ok(_) => ptrace::cont(process, None)?,
            Err(error) => return Err(error.into()),
        }
    }
    maps.with_context(|| format!("{} was not seen to exit", run.program.display()))
}

/// The files of a memory map that belong to glibc's loader.
pub fn glibc_loader(maps: &str) -> Vec<&str> {
    maps.lines().filter(|line| line.contains("/ld-linux") || line.contains("/ld-2.")).collect()
}
