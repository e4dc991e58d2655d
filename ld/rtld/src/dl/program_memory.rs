//! The program's own `malloc` and `free`, for blocks of dynamic TLS.
//!
//! Tools that replace malloc have to see these blocks, as they do under glibc (*glibc elf/dl-minimal.c,
//! __rtld_malloc_init_real*): to a leak checker what the loader allocated is reachable, and with it whatever only a
//! thread-local variable points to; to a race detector the block of a new thread is new, wherever it lies.
//! Everything else of Folio's stays in its own heap, so that few of its steps depend on the program's code.
//!
//! # Safety
//! Calls code of the program's, by the signatures that the C standard gives these names.
#![allow(unsafe_code)]

use core::ptr::null_mut;
use core::sync::atomic::{AtomicU64, Ordering};

use folio_elf::Addr;
use folio_link::bind;
use folio_link::resolve::{self, Class, Reference};

use crate::image::binding;
use crate::process::{Process, function};

/// Addresses, zero until they are found.
static MALLOC: AtomicU64 = AtomicU64::new(0);
static FREE: AtomicU64 = AtomicU64::new(0);

/// Finds the functions, when libc is ready for their being called. An object of the start defines them, so that they are
/// never unloaded. The load lock is held.
pub fn find(process: &Process) {
    // SAFETY: the load lock is held.
    let ready = unsafe { process.libc.get() }.mutex_lock.is_some();
    if !ready || MALLOC.load(Ordering::Relaxed) != 0 {
        return;
    }
    let (Some(malloc), Some(free)) = (definition(process, b"malloc"), definition(process, b"free")) else { return };
    FREE.store(free.0, Ordering::Release);
    MALLOC.store(malloc.0, Ordering::Release);
}

fn definition(process: &Process, name: &[u8]) -> Option<Addr> {
    // SAFETY: the load lock is held.
    let (objects, global, uniques) =
        unsafe { (process.objects.get(), process.base.global.get(), process.base.uniques.get_mut()) };
    let reference = Reference::new(name, None, Class::Call);
    let definition = resolve::lookup(objects, [global], &reference, None, uniques, None)?;
    Some(binding::settle(&definition.symbol, bind::address_of(objects, &definition)))
}

/// Memory from the program; null if it has none, or if its malloc cannot be called yet.
pub fn allocate(size: usize) -> *mut u8 {
    let malloc = MALLOC.load(Ordering::Acquire);
    if malloc == 0 {
        return null_mut();
    }
    // SAFETY: the process' malloc, after libc was initialised.
    unsafe { function::<unsafe extern "C" fn(usize) -> *mut u8>(Addr(malloc))(size) }
}

/// Gives memory back.
///
/// # Safety
/// `memory` is from [`allocate`], not null, and nobody uses it any more.
pub unsafe fn release(memory: *mut u8) {
    let free = Addr(FREE.load(Ordering::Acquire));
    // SAFETY: the process' free, stored before anything was allocated; the rest is the caller's promise.
    unsafe { function::<unsafe extern "C" fn(*mut u8)>(free)(memory) }
}
