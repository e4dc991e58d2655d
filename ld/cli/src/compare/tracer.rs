//! Follow a command's system calls without strace(1): with ptrace(2), written down in strace's words, as far as the labels of
//! [`super::role`] need them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::ptrace;
use nix::unistd::Pid;
use syscalls::Sysno;

use super::strace::{Call, Trace};
use crate::process::launch::{Input, Stop, Tracee, Until};

/// Runs the command and follows its first thread.
pub fn trace(command: &Command) -> Result<Trace> {
    let tracee = Tracee::start(command, Input::Empty)?;
    let program = command.get_program().to_string_lossy();
    let mut calls = vec![Call::new("execve", vec![format!("\"{program}\""), "[…]".to_owned()], "0".to_owned())];
    // The kernel reports the return from the execve that started the program first.
    let mut entered: Option<Entry> = None;
    let mut first = true;
    tracee.go_on(Until::SystemCall)?;
    loop {
        match tracee.wait(Until::SystemCall)? {
            Stop::SystemCall if first => first = false,
            Stop::SystemCall => match entered.take() {
                None => entered = Some(Entry::read(&tracee)?),
                Some(entry) => calls.push(entry.returned(&tracee)?),
            },
            Stop::Exiting(_) => {
                // exit_group never returns.
                calls.extend(entered.take().map(|entry| entry.call("?".to_owned())));
            }
            Stop::Ended(ending) => return Ok(Trace { calls, ending }),
        }
        tracee.go_on(Until::SystemCall)?;
        if calls.len() > 1_000_000 {
            bail!("{program} makes more than a million system calls: give it arguments that make it end");
        }
    }
}

/// A call that has not returned yet.
struct Entry {
    name: String,
    arguments: Vec<String>,
}

/// How an argument is written down.
#[derive(Clone, Copy)]
enum Form {
    Number,
    Address,
    Descriptor,
    Path,
    Protection,
    MapFlags,
    /// Which register a call of arch_prctl(2) sets.
    Register,
    Status,
}

impl Entry {
    fn read(tracee: &Tracee) -> Result<Self> {
        let registers =
            ptrace::getregs(Pid::from_raw(i32::try_from(tracee.pid())?)).context("cannot read registers")?;
        // psABI, A.2.1: the order of system call arguments.
        let values = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        let number = usize::try_from(registers.orig_rax)?;
        let name = Sysno::new(number).map_or_else(|| format!("syscall_{number}"), |call| call.name().to_owned());
        let arguments = forms(&name).iter().zip(values).map(|(form, value)| form.text(value, tracee.pid())).collect();
        Ok(Self { name, arguments })
    }

    fn returned(self, tracee: &Tracee) -> Result<Call> {
        let registers =
            ptrace::getregs(Pid::from_raw(i32::try_from(tracee.pid())?)).context("cannot read registers")?;
        // An error is a value between -4095 and -1 (psABI, A.2.1).
        let value = registers.rax.cast_signed();
        let result = match value {
            -4095..=-1 => {
                let error = nix::errno::Errno::from_raw((-value) as i32);
                format!("-1 {error:?} ({})", error.desc())
            }
            _ if matches!(self.name.as_str(), "mmap" | "brk" | "mremap") => format!("{value:#x}"),
            _ if self.name.starts_with("open") => descriptor(tracee.pid(), value),
            _ => value.to_string(),
        };
        Ok(self.call(result))
    }

    fn call(self, result: String) -> Call {
        Call::new(&self.name, self.arguments, result)
    }
}

/// The arguments of calls that a dynamic linker makes; of others, what they are called with is not told.
fn forms(name: &str) -> &'static [Form] {
    use Form::{Address, Descriptor, MapFlags, Number, Path, Protection, Register, Status};
    match name {
        "open" | "access" | "stat" | "lstat" | "readlink" => &[Path, Number],
        "openat" | "openat2" | "faccessat" | "faccessat2" | "newfstatat" | "statx" | "readlinkat" => {
            &[Descriptor, Path, Number, Number]
        }
        "read" | "pread64" | "write" | "writev" | "fstat" | "lseek" | "ioctl" | "fcntl" => {
            &[Descriptor, Address, Number]
        }
        "close" => &[Descriptor],
        "mmap" => &[Address, Number, Protection, MapFlags, Descriptor, Address],
        "mprotect" => &[Address, Number, Protection],
        "munmap" | "set_robust_list" => &[Address, Number],
        "brk" | "set_tid_address" => &[Address],
        "arch_prctl" => &[Register, Address],
        "exit" | "exit_group" => &[Status],
        _ => &[],
    }
}

impl Form {
    fn text(self, value: u64, pid: u32) -> String {
        match self {
            Self::Number => value.to_string(),
            Self::Address if value == 0 => "NULL".to_owned(),
            Self::Address => format!("{value:#x}"),
            Self::Descriptor => descriptor(pid, i64::from(value as i32)),
            Self::Path => format!("\"{}\"", string(pid, value).unwrap_or_default()),
            Self::Protection => bits(value, &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")], "PROT_NONE"),
            Self::MapFlags => {
                let names = [
                    (1, "MAP_SHARED"),
                    (2, "MAP_PRIVATE"),
                    (0x10, "MAP_FIXED"),
                    (0x20, "MAP_ANONYMOUS"),
                    (0x800, "MAP_DENYWRITE"),
                    (0x4000, "MAP_NORESERVE"),
                    (0x20000, "MAP_STACK"),
                    (0x0010_0000, "MAP_FIXED_NOREPLACE"),
                ];
                bits(value, &names, "0")
            }
            // arch_prctl(2).
            Self::Register if value == 0x1002 => "ARCH_SET_FS".to_owned(),
            Self::Register => format!("{value:#x}"),
            Self::Status => (value as i32).to_string(),
        }
    }
}

fn bits(value: u64, names: &[(u64, &str)], none: &str) -> String {
    let set: Vec<&str> = names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { none.to_owned() } else { set.join("|") }
}

/// `3</usr/lib/libc.so.6>`, as strace -y writes it.
fn descriptor(pid: u32, number: i64) -> String {
    // fcntl.h, AT_FDCWD.
    if number == -100 {
        return "AT_FDCWD".to_owned();
    }
    match fs::read_link(format!("/proc/{pid}/fd/{number}")) {
        Ok(file) => format!("{number}<{}>", file.display()),
        Err(_) => number.to_string(),
    }
}

/// The string at an address, as long as a path can be.
fn string(pid: u32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = [0; 4096];
    // The string may end just before memory that is not there.
    let to_border = 4096 - (address % 4096) as usize;
    let mut length = memory.read_at(&mut bytes[..to_border], address).ok()?;
    if !bytes[..length].contains(&0) {
        length += memory.read_at(&mut bytes[length..], address + length as u64).ok()?;
    }
    let end = bytes[..length].iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::role::{self, Role};
    use super::super::strace;
    use super::*;

    /// What the two ways to follow a program say of it.
    #[test]
    fn strace_and_ptrace_tell_the_same_story() {
        for program in ["/usr/bin/true", "/usr/bin/ls"] {
            let command = Command::new(program);
            let told = |trace: Trace| -> Vec<(Role, String, String)> {
                let calls = role::label(&trace.calls);
                // The program's own calls are not written down in full.
                let own = |role| matches!(role, Role::Program | Role::Memory | Role::Start);
                calls
                    .into_iter()
                    .filter(|call| !own(call.role))
                    .map(|call| (call.role, call.subject, call.short))
                    .collect()
            };
            let (own, of_strace) = (trace(&command).unwrap(), strace::trace(&command).unwrap());
            assert_eq!(own.ending, of_strace.ending);
            let names = |trace: &Trace| -> Vec<String> { trace.calls.iter().map(|call| call.name.clone()).collect() };
            assert_eq!(names(&own), names(&of_strace));
            assert_eq!(told(own), told(of_strace));
        }
    }
}
