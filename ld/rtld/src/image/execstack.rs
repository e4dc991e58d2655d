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
use folio_link::Errno;
use folio_link::error::{Error, Problem};
use folio_link::object::{Kind, Object};
use folio_link::placement::{PAGE, PF_R, PF_W, PF_X};
use rustix::mm::{MprotectFlags, mprotect};

use crate::abi::globals::__libc_stack_end;
use crate::dl::threads;
use crate::process::Process;

/// The first release that refuses objects that are opened later.
const STRICT: Version = Version { major: 2, minor: 41 };

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
pub fn is_wanted_by(object: &Object) -> bool {
    object.placement.stack_flags.is_none_or(|flags| flags & PF_X != 0)
}

/// Makes the stacks executable if `object` needs that and they are not. The load lock is held, or there is one thread.
pub fn provide(process: &Process, object: &Object, running: bool) -> Result<(), Error> {
    let field = process.layout.global.stack_flags;
    let executable = flags(process.layout, true);
    let is_loaded = matches!(object.kind, Kind::Library | Kind::Executable);
    if !is_loaded || !is_wanted_by(object) || process.global_record.get::<u32>(field) == executable {
        return Ok(());
    }
    let fail = |errno| Error::new(object.display_name(process.program), Problem::ExecutableStack(errno));
    if process.layout.version >= STRICT {
        // SAFETY: tunables do not change after the start.
        let allowed = unsafe { process.tunables.get() }.number("glibc.rtld.execstack") == Some(1);
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
