//! Running one program under the eyes of ptrace(2): which system calls its dynamic linker makes, where it faults, and what
//! becomes of it when a call is made to fail.
//!
//! The linker's own calls are told from the program's by the address they are made from. Mappings are followed on the way: a
//! linker may replace, protect or unmap only what it has mapped itself, or what the kernel mapped for it.
//!
//! # Safety
//! `pre_exec`, whose closure only makes system calls and allocates nothing; and one field of a union that the kernel filled in.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::user_regs_struct as Registers;
use nix::libc::{MAP_FIXED, MAP_FIXED_NOREPLACE, SYS_mmap, SYS_mprotect, SYS_munmap};
use nix::sys::ptrace::{self, Options};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, alarm};

use crate::run::{Outcome, Run, Status, contents, memory_file, start};

/// A system call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: i64,
    pub arguments: [u64; 6],
    /// Whether the dynamic linker makes it.
    pub is_loaders: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is made.
    Make,
    /// It is not made, and gives this error.
    Fail(Errno),
    /// It is made, and gives this error all the same, as close(2) does.
    Pretend(Errno),
    /// It is made with a third argument of at most so much: a read that comes short.
    Shorten(u64),
}

/// A signal that a program brought upon itself.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub signal: Signal,
    /// What could not be read, written or executed.
    pub address: u64,
    pub instruction: u64,
    pub stack_pointer: u64,
    /// The instruction's distance from the linker's first byte, if it is the linker's.
    pub in_loader: Option<u64>,
}

/// What a traced program did.
#[derive(Debug)]
pub struct Traced {
    pub outcome: Outcome,
    /// The kernel started it.
    pub started: bool,
    /// It has made a system call of its own.
    pub ran: bool,
    /// The last signal of a kind that an instruction brings about, or that ends a loop.
    pub fault: Option<Fault>,
    /// Mappings of the linker's that touch what is not its own.
    pub wild: Vec<String>,
}

/// What a trace is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Calls until the program makes one of its own.
    Start,
    Whole,
}

/// Processor seconds, and seconds by the clock, after which a program is hanging.
const PATIENCE: (u64, u32) = (4, 60);

/// What a program may take (setrlimit(2)).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Address space, in bytes. What a damaged file asks for must not be had at the machine's cost.
    pub memory: u64,
    /// The highest descriptor, and one.
    pub files: Option<u64>,
    /// The stack, in bytes.
    pub stack: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 8 << 30, files: None, stack: None }
    }
}

/// Runs a program, whose dynamic linker is the file `loader`, to its end; `decide` is asked about each call.
pub fn trace(run: &Run, loader: &Path, depth: Depth, decide: impl FnMut(&Call) -> Answer) -> Result<Traced> {
    trace_within(run, loader, depth, Limits::default(), decide)
}

/// As [`trace`], within limits.
pub fn trace_within(
    run: &Run,
    loader: &Path,
    depth: Depth,
    limits: Limits,
    mut decide: impl FnMut(&Call) -> Answer,
) -> Result<Traced> {
    let (mut stdout, mut stderr) = (memory_file("stdout")?, memory_file("stderr")?);
    let mut command = run.command();
    command.stdin(run.stdin()?).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    // SAFETY: the closure runs in the forked child and makes a few system calls, all of them async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            setrlimit(Resource::RLIMIT_CPU, PATIENCE.0, PATIENCE.0 + 1)?;
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            alarm::set(PATIENCE.1);
            let files = limits.files.map(|files| (Resource::RLIMIT_NOFILE, files));
            let stack = limits.stack.map(|stack| (Resource::RLIMIT_STACK, stack));
            for (resource, limit) in [files, stack, Some((Resource::RLIMIT_AS, limits.memory))].into_iter().flatten() {
                setrlimit(resource, limit, limit)?;
            }
            ptrace::traceme().map_err(std::io::Error::from)
        });
    }
    let child = match start(&mut command) {
        Ok(child) => child,
        Err(error) => {
            // The kernel's own refusal: not a program, or none that it can map.
            let outcome = Outcome {
                stdout: Vec::new(),
                stderr: error.to_string().into_bytes(),
                status: Status::Exit(error.raw_os_error().map_or(-1, |errno| -errno)),
            };
            return Ok(Traced { outcome, started: false, ran: false, fault: None, wild: Vec::new() });
        }
    };
    let mut tracer = Tracer::new(Pid::from_raw(child.id() as i32), loader.to_path_buf(), depth);
    let status = tracer.follow(&mut decide);
    if status.is_err() {
        let _ = nix::sys::signal::kill(tracer.process, Signal::SIGKILL);
        let _ = waitpid(tracer.process, Some(WaitPidFlag::__WALL));
    }
    let outcome = Outcome { status: status?, stdout: contents(&mut stdout)?, stderr: contents(&mut stderr)? };
    let Tracer { started, ran, fault, wild, .. } = tracer;
    Ok(Traced { outcome, started, ran, fault, wild })
}

struct Tracer {
    process: Pid,
    loader: PathBuf,
    depth: Depth,
    /// Addresses of the linker's own segments.
    own: Range<u64>,
    /// What the linker may map over: what was there for it at the start, and what it mapped since.
    reserved: Vec<Range<u64>>,
    started: bool,
    ran: bool,
    fault: Option<Fault>,
    wild: Vec<String>,
    /// The call under way, and what it is to give in place of its result.
    call: Option<(Call, Option<Errno>)>,
}

impl Tracer {
    fn new(process: Pid, loader: PathBuf, depth: Depth) -> Tracer {
        Tracer {
            process,
            loader,
            depth,
            own: 0..0,
            reserved: Vec::new(),
            started: false,
            ran: false,
            fault: None,
            wild: Vec::new(),
            call: None,
        }
    }

    fn follow(&mut self, decide: &mut impl FnMut(&Call) -> Answer) -> Result<Status> {
        loop {
            let mut deliver = None;
            match waitpid(self.process, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(_, code) => return Ok(Status::Exit(code)),
                WaitStatus::Signaled(_, Signal::SIGALRM | Signal::SIGXCPU, _) => return Ok(Status::Timeout),
                WaitStatus::Signaled(_, signal, _) => return Ok(Status::Signal(signal as i32)),
                WaitStatus::PtraceSyscall(_) => match self.call.take() {
                    None => self.enter(decide)?,
                    Some((call, fail)) => self.leave(&call, fail)?,
                },
                WaitStatus::Stopped(_, Signal::SIGTRAP) if !self.started => {
                    self.started = true;
                    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
                    ptrace::setoptions(self.process, options)?;
                    self.look_around()?;
                }
                WaitStatus::Stopped(_, signal) => {
                    self.note(signal)?;
                    deliver = Some(signal);
                }
                _ => {}
            }
            let resume = if self.ran && self.depth == Depth::Start { ptrace::cont } else { ptrace::syscall };
            match resume(self.process, deliver) {
                // Killed meanwhile: the next wait says so.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes what is mapped before the first instruction.
    fn look_around(&mut self) -> Result<()> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process))?;
        for line in maps.lines() {
            let (range, rest) = line.split_once(' ').context("a line of maps")?;
            let (start, end) = range.split_once('-').context("a range of maps")?;
            let range = u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?;
            let name = rest.splitn(5, ' ').last().unwrap_or_default().trim();
            if Path::new(name) == self.loader {
                let first = if self.own.is_empty() { range.start } else { self.own.start };
                self.own = first..range.end;
            }
            match self.reserved.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.reserved.push(range),
            }
        }
        Ok(())
    }

    fn enter(&mut self, decide: &mut impl FnMut(&Call) -> Answer) -> Result<()> {
        let mut registers = ptrace::getregs(self.process)?;
        let call = Call {
            number: registers.orig_rax as i64,
            arguments: [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9],
            is_loaders: self.own.contains(&registers.rip),
        };
        self.ran |= !call.is_loaders;
        if call.is_loaders {
            self.check_mapping(&call);
        }
        let mut fail = None;
        match decide(&call) {
            Answer::Make => {}
            Answer::Pretend(errno) => fail = Some(errno),
            Answer::Fail(errno) => {
                // No call has this number.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(self.process, registers)?;
                fail = Some(errno);
            }
            Answer::Shorten(most) => {
                registers.rdx = registers.rdx.min(most);
                ptrace::setregs(self.process, registers)?;
            }
        }
        self.call = Some((call, fail));
        Ok(())
    }

    fn leave(&mut self, call: &Call, fail: Option<Errno>) -> Result<()> {
        let mut registers: Registers = ptrace::getregs(self.process)?;
        if let Some(errno) = fail {
            registers.rax = -(errno as i64) as u64;
            return Ok(ptrace::setregs(self.process, registers)?);
        }
        if call.is_loaders && call.number == SYS_mmap && (registers.rax as i64) >= 0 {
            let length = call.arguments[1].next_multiple_of(4096);
            self.reserved.push(registers.rax..registers.rax + length);
        }
        Ok(())
    }

    /// Notes a call that changes mappings which are not the linker's.
    fn check_mapping(&mut self, call: &Call) {
        let [start, length, _, flags, ..] = call.arguments;
        let flags = flags as i32;
        let replaces = call.number == SYS_mmap && flags & MAP_FIXED != 0 && flags & MAP_FIXED_NOREPLACE == 0;
        let changes = replaces || [SYS_mprotect, SYS_munmap].contains(&call.number);
        if changes && !start.checked_add(length).is_some_and(|end| self.has_reserved(start..end)) {
            self.wild.push(format!("call {} changes {length:#x} bytes at {start:#x}", call.number));
        }
    }

    /// Whether all of a range was mapped by the linker, in one piece or in several side by side.
    fn has_reserved(&self, range: Range<u64>) -> bool {
        let mut reached = range.start;
        while reached < range.end {
            let Some(piece) = self.reserved.iter().find(|piece| piece.contains(&reached)) else { return false };
            reached = piece.end.next_multiple_of(4096);
        }
        true
    }

    fn note(&mut self, signal: Signal) -> Result<()> {
        let by_itself = matches!(
            signal,
            Signal::SIGSEGV
                | Signal::SIGBUS
                | Signal::SIGILL
                | Signal::SIGFPE
                | Signal::SIGTRAP
                | Signal::SIGALRM
                | Signal::SIGXCPU
        );
        if by_itself {
            let Registers { rip: instruction, rsp: stack_pointer, .. } = ptrace::getregs(self.process)?;
            // SAFETY: of a fault, the kernel fills in the address.
            let address = unsafe { ptrace::getsiginfo(self.process)?.si_addr() };
            self.fault = Some(Fault {
                signal,
                address: address.cast::<c_void>().addr() as u64,
                instruction,
                stack_pointer,
                in_loader: self.own.contains(&instruction).then(|| instruction - self.own.start),
            });
        }
        Ok(())
    }
}
