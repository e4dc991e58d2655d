//! What a start costs in things that can be counted: system calls, pages made private, page faults, CPUID instructions. A
//! process is followed for it (ptrace(2)), so no run that is counted is timed.

use std::arch::x86_64::__cpuid;
use std::collections::HashSet;
use std::fs::File;
use std::hint::black_box;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use folio::compare::measure::{quantile, sorted};
use folio::process::launch::{Input, Stop, Tracee, Until};
use folio::process::{PAGE, mappings};
use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use perf_event::Builder;
use perf_event::events::Software;
use serde::{Deserialize, Serialize};

/// Counted over the whole life of a process's first thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub system_calls: u64,
    /// Pages of mapped files that it has made its own by writing when it exits: smaps' Private_Dirty of file mappings, less
    /// pages of files that are newer than the disk, which are no copies.
    pub private_dirty: u64,
}

/// Follows a command through all its system calls to its end.
pub fn cost(command: &Command) -> Result<Cost> {
    let tracee = Tracee::start(command, Input::Empty)?;
    let mut cost = Cost::default();
    // The kernel reports the return from the execve that started the program first. It counts as a call.
    let mut entering = false;
    loop {
        tracee.go_on(Until::SystemCall)?;
        match tracee.wait(Until::SystemCall)? {
            Stop::SystemCall => {
                cost.system_calls += u64::from(!entering);
                entering = !entering;
            }
            Stop::Exiting(_) => {
                let maps = mappings(tracee.pid())?;
                let files = maps.iter().filter(|mapping| mapping.file.is_some());
                cost.private_dirty = files.map(|mapping| mapping.weight.anonymous / PAGE).sum();
                return Ok(cost);
            }
            Stop::Ended(how) => bail!("{} {how} before it could be looked at", command.get_program().display()),
        }
    }
}

/// How many page faults a command takes from its first instruction to its end: the exceptions (perf_event_open(2),
/// `PERF_COUNT_SW_PAGE_FAULTS`). getrusage(2) counts pages besides that system calls bring in at a process's request, with no
/// fault. `None` if the kernel counts them for root alone.
pub fn page_faults(command: &Command) -> Result<Option<u64>> {
    let tracee = Tracee::start(command, Input::Empty)?;
    let mut builder = Builder::new().kind(Software::PAGE_FAULTS).observe_pid(i32::try_from(tracee.pid())?).any_cpu();
    builder.include_kernel().inherit(true).enabled(true);
    let mut counter = match builder.build() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        counter => counter.context("cannot count page faults (perf_event_open)")?,
    };
    tracee.go_on(Until::Exit)?;
    match tracee.wait(Until::Exit)? {
        Stop::Exiting(_) => Ok(Some(counter.read()?)),
        stop => bail!("{}: {stop:?} before its page faults were counted", command.get_program().display()),
    }
}

/// `cpuid` (Intel SDM volume 2).
const CPUID: [u8; 2] = [0x0f, 0xa2];

/// How many CPUID instructions a program executes, from its first instruction in its linker to its end: it is followed one
/// instruction at a time.
pub fn cpuid_instructions(command: &Command) -> Result<u64> {
    let tracee = Tracee::start(command, Input::Empty)?;
    let pid = Pid::from_raw(i32::try_from(tracee.pid())?);
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    // Where an instruction lies that was seen before, it need not be read again: text does not change.
    let (mut seen, mut cpuid) = (HashSet::new(), HashSet::new());
    let mut count = 0;
    loop {
        let address = ptrace::getregs(pid)?.rip;
        if seen.insert(address) {
            let mut bytes = [0; 2];
            memory.read_exact_at(&mut bytes, address).context("cannot read an instruction")?;
            if bytes == CPUID {
                cpuid.insert(address);
            }
        }
        count += u64::from(cpuid.contains(&address));
        ptrace::step(pid, None)?;
        match waitpid(pid, None)? {
            WaitStatus::Stopped(..) => {}
            WaitStatus::PtraceEvent(_, _, nix::libc::PTRACE_EVENT_EXIT) => return Ok(count),
            status => bail!("{}: {status:?} in the middle of a start", command.get_program().display()),
        }
    }
}

/// What one CPUID instruction takes on this processor now, in microseconds, many times.
pub fn cpuid_times() -> Vec<f64> {
    let once = || {
        let begin = Instant::now();
        black_box(__cpuid(black_box(0)));
        begin.elapsed().as_secs_f64() * 1e6
    };
    let empty = || {
        let begin = Instant::now();
        black_box(());
        begin.elapsed().as_secs_f64() * 1e6
    };
    let clock = quantile(&sorted((0..100).map(|_| empty()).collect()), 0.5);
    (0..100).map(|_| (once() - clock).max(0.0)).collect()
}
