//! Folio's own memory that nobody changes once the start is over: `PT_GNU_RELRO`, which holds its relocated pointers and the
//! data of its ABI that is constant from then on, with the functions that libc calls through `_rtld_global_ro`.
//!
//! It is protected with one call, as late as glibc's: after all is relocated, before the first initializer (*glibc
//! elf/dl-reloc.c, _dl_protect_relro*). Few things change it later, under the load lock, and open it for as long.
//!
//! # Safety
//! Nothing here is unsafe but to ask for the object that Folio itself is.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use folio_link::Errno;
use folio_link::error::{Error, Problem};
use folio_link::placement::{PF_R, PF_W};

use crate::image::map;
use crate::process::Process;

static IS_PROTECTED: AtomicBool = AtomicBool::new(false);

/// Protects it, for good but for what [`change`] does.
pub fn protect(process: &Process) -> Result<(), Error> {
    // SAFETY: one thread.
    let own = unsafe { &process.objects.get()[process.interpreter] };
    set(process, PF_R).map_err(|errno| Error::new(own.display_name(b"ld-folio.so.1"), Problem::Protect(errno)))?;
    IS_PROTECTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Lets `body` write to it. The load lock is held, or there is one thread. All of it is opened, since a part would take the
/// kernel one mapping more, which it may refuse.
pub fn change<T>(process: &Process, body: impl FnOnce() -> T) -> Result<T, Errno> {
    if !IS_PROTECTED.load(Ordering::Relaxed) {
        return Ok(body());
    }
    set(process, PF_R | PF_W)?;
    let result = body();
    set(process, PF_R)?;
    Ok(result)
}

fn set(process: &Process, flags: u32) -> Result<(), Errno> {
    // SAFETY: the load lock is held, or there is one thread; the interpreter is never unloaded.
    let own = unsafe { &process.objects.get()[process.interpreter] };
    let Some((start, end)) = own.placement.relro_pages() else { return Ok(()) };
    map::protect(own.image.bias(), start, end, flags)
}
