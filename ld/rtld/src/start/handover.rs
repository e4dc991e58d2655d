//! Hand over: a libc that no layout table fits is never guessed at; its own loader starts the program instead.
//!
//! # Safety
//! execve(2) replaces the process by another program; it is given strings of the initial stack.
#![allow(unsafe_code)]

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr::null;

use folio_elf::Lossy;
use folio_link::Errno;
use folio_link::object::{Object, directory_of};
use folio_runtime::stack::Stack;
use folio_runtime::syscall;
use rustix::fs::stat;

use crate::report;
use crate::start::options::Options;

/// The name of glibc's loader, beside its libc.
const LOADER: &[u8] = b"/ld-linux-x86-64.so.2";

/// Where the ABI puts it (psABI, *Program Interpreter*).
const ABI_LOADER: &CStr = c"/lib64/ld-linux-x86-64.so.2";

/// Replaces the process by `libc`'s own loader running the same program. Nothing foreign has run yet, and the new image
/// takes the place of all that was mapped.
#[cold]
#[inline(never)]
pub fn to_own_loader(libc: &Object, stack: &Stack, program_file: &CStr, why: &dyn core::fmt::Display) -> ! {
    let mut beside = directory_of(&libc.path).to_vec();
    beside.extend_from_slice(LOADER);
    let beside = CString::new(beside).unwrap_or_default();
    let program = stack.arguments().next().unwrap_or(c"").to_bytes();
    let mut last = Errno::ENOENT;
    for loader in [beside.as_c_str(), ABI_LOADER] {
        if is_folio(loader) {
            continue;
        }
        last = execute(loader, stack, program_file);
    }
    report::refuse(
        program,
        &format_args!("{why}; and its own loader {} cannot be started: {last}", Lossy(beside.to_bytes())),
    )
}

/// Whether a path leads to this very loader: starting it again would never end.
fn is_folio(loader: &CStr) -> bool {
    let own = stat(c"/proc/self/exe");
    let identity = |status: &rustix::fs::Stat| (status.st_dev, status.st_ino);
    match (stat(loader), own, interpreter_identity()) {
        (Ok(loader), own, mapped) => {
            own.is_ok_and(|own| identity(&own) == identity(&loader)) || mapped == Some(loader.st_ino)
        }
        (Err(_), ..) => true,
    }
}

/// The inode that is mapped at Folio's own first address, from `/proc/self/maps` (proc(5)).
fn interpreter_identity() -> Option<u64> {
    let maps = crate::image::files::read_all(c"/proc/self/maps")?;
    let own = alloc::format!("{:x}-", crate::image::adopt::own_base().0);
    let line = maps.split(|&byte| byte == b'\n').find(|line| line.starts_with(own.as_bytes()))?;
    let inode = line.split(|&byte| byte == b' ').filter(|field| !field.is_empty()).nth(4)?;
    core::str::from_utf8(inode).ok()?.parse().ok()
}

/// Whether a program of a direct start has no use for a dynamic linker: it names none, and needs no library.
pub fn is_for_kernel(program: &Object) -> bool {
    program.placement.interpreter.is_none() && !program.needs_any()
}

/// Lets the kernel start a statically linked program (*glibc elf/rtld.c, rtld_chain_load*).
#[cold]
#[inline(never)]
pub fn to_kernel(stack: &Stack, options: &Options, program: &Object, own_soname: Option<&[u8]>) -> ! {
    let own = own_soname.unwrap_or_default();
    if program.soname().is_some_and(|soname| soname == own) {
        report::refuse(own, &"loader cannot load itself");
    }
    let mut arguments: Vec<*const c_char> = stack.arguments().skip(options.consumed).map(CStr::as_ptr).collect();
    if let (Some(first), Some(argv0)) = (arguments.first_mut(), options.argv0) {
        *first = argv0.as_ptr();
    }
    arguments.push(null());
    // SAFETY: NUL-terminated strings in NULL-terminated arrays.
    let errno = unsafe { syscall::execve(options.program.as_ptr(), arguments.as_ptr(), stack.envp().cast()) };
    let path = Lossy(options.program.to_bytes());
    report::refuse(own, &format_args!("cannot execute {path}: {}", Errno(errno.0)))
}

/// execve(2) of `LOADER --argv0 ARGV0 PROGRAM ARGS`; returns only on failure.
fn execute(loader: &CStr, stack: &Stack, program_file: &CStr) -> Errno {
    let mut arguments: Vec<*const c_char> = Vec::with_capacity(stack.argc() + 5);
    let mut original = stack.arguments();
    let argv0 = original.next().unwrap_or(c"");
    arguments.extend([loader, c"--argv0", argv0, program_file].map(CStr::as_ptr));
    arguments.extend(original.map(CStr::as_ptr));
    arguments.push(null());
    // SAFETY: NUL-terminated strings in NULL-terminated arrays.
    Errno(unsafe { syscall::execve(loader.as_ptr(), arguments.as_ptr(), stack.envp().cast()) }.0)
}
