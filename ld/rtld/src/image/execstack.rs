//! Executable stacks: what happens when an object's `PT_GNU_STACK` asks for one, or is missing.
//!
//! Up to 2.40 any object, also one that is opened later, makes all stacks executable; from 2.41 on only objects of the start
//! do, and only as the tunable `glibc.rtld.execstack` allows (*glibc elf/dl-load.c, _dl_map_object_from_fd*;
//! *sysdeps/unix/sysv/linux/dl-execstack.c*; *elf/dl-execstack-tunable.c*).
//!
//! # Safety
//! Only permissions of stacks change, and only by adding one.
#![allow(unsafe_code)]

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::Ordering;

use folio_glibc::layout::{Layout, Version};
use folio_glibc::tunables::Values;
use folio_link::Errno;
use folio_link::error::{Error, Problem};
use folio_link::object::{Kind, Object};
use folio_link::placement::{PAGE, PF_R, PF_W, PF_X, Placement};
use rustix::mm::{MprotectFlags, mprotect};

use crate::abi::globals::__libc_stack_end;
use crate::dl::threads;
use crate::process::Process;
use crate::report;

/// The first release that refuses objects that are opened later.
const STRICT: Version = Version { major: 2, minor: 41 };

/// What it may be: *glibc sysdeps/generic/ldsodefs.h, stack_tunable_mode*.
const TUNABLE: &str = "glibc.rtld.execstack";

/// The permissions of a stack, as `p_flags` and as mmap(2) has them, and executing.
const PF_STACK: u32 = PF_R | PF_W;
const PROT_STACK: u32 = 3;
const PROT_EXEC: u32 = 4;

/// `_dl_stack_flags`: the permissions of all stacks, as this libc writes them.
pub fn flags(layout: &Layout, executable: bool) -> u32 {
    let (stack, execute) = match layout.behaviour.stack_prot_flags {
        true => (PROT_STACK, PROT_EXEC),
        false => (PF_STACK, PF_X),
    };
    if executable { stack | execute } else { stack }
}

/// Whether an object's program headers ask for an executable stack: x86-64's default, where nothing is said.
pub fn is_wanted_in(placement: &Placement) -> bool {
    placement.stack_flags.is_none_or(|flags| flags & PF_X != 0)
}

/// Whether objects that are loaded at the start are to be refused if they ask for one: what is passed over is not mapped, so
/// the tunables are looked at before a libc is found, and then the `release` that it will have been.
pub fn are_refused(early: Option<Values>, release: impl FnOnce() -> Option<Version>) -> bool {
    early.is_some_and(|tunables| tunables.number_if_set(TUNABLE) == Some(0)) && release() >= Some(STRICT)
}

/// Makes the main stack what the tunable says beyond what objects need, and gives the permissions of all stacks: refused to
/// every program (0), given to those that ask (1), given to all (2).
///
/// In a direct start the kernel made the stack for Folio, which needs none that is executable; then the program is one of
/// the objects that may get one, but not by force (*glibc elf/rtld.c, dl_main*).
pub fn at_start(layout: &Layout, tunables: &Values, program: &Object, is_direct: bool) -> u32 {
    let is_wanted = is_wanted_in(&program.placement);
    let is_there = is_wanted && !is_direct;
    match tunables.number_if_set(TUNABLE) {
        Some(0) if is_there => report::end(format_args!("Fatal glibc error: executable stack is not allowed")),
        Some(2) if is_direct && is_wanted => flags(layout, false),
        Some(2) if make_main_stack_executable().is_ok() => flags(layout, true),
        Some(2) => {
            report::end(format_args!("Fatal glibc error: cannot enable executable stack as tunable requires"));
        }
        _ => flags(layout, is_there),
    }
}

/// Makes the stacks executable if `object` needs that and they are not. The load lock is held, or there is one thread.
pub fn provide(process: &Process, object: &Object, running: bool) -> Result<(), Error> {
    let field = process.layout.global.stack_flags;
    let executable = flags(process.layout, true);
    let is_loaded = matches!(object.kind, Kind::Library | Kind::Executable);
    if !is_loaded || !is_wanted_in(&object.placement) || process.global_record.get::<u32>(field) == executable {
        return Ok(());
    }
    let fail = |errno| Error::new(object.display_name(process.program), Problem::ExecutableStack(errno));
    if process.layout.version >= STRICT {
        // SAFETY: tunables do not change after the start.
        let allowed = unsafe { process.tunables.get() }.number(TUNABLE) == Some(1);
        if running || !allowed {
            return Err(fail(Errno::EINVAL));
        }
    }
    make_main_stack_executable().map_err(fail)?;
    process.global_record.put(field, executable);
    if running {
        threads::for_each_own_stack(process, |start, size| protect(start, size, MprotectFlags::empty()).map_err(fail))?;
    }
    Ok(())
}

/// The kernel extends the change to the whole stack: it grows downwards from this page.
fn make_main_stack_executable() -> Result<(), Errno> {
    let end = __libc_stack_end.load(Ordering::Relaxed).expose_provenance();
    protect(end & !(PAGE as usize - 1), PAGE as usize, MprotectFlags::GROWSDOWN)
}

/// Makes one stack executable.
pub fn protect(start: usize, size: usize, how: MprotectFlags) -> Result<(), Errno> {
    let all = MprotectFlags::READ | MprotectFlags::WRITE | MprotectFlags::EXEC;
    // SAFETY: a stack, of which nothing is taken away.
    unsafe { mprotect(with_exposed_provenance_mut(start), size, all | how) }
        .map_err(|errno| Errno(errno.raw_os_error()))
}
