//! Fork: what a child finds of the loader when other threads were loading as it was forked.
//!
//! libc's fork makes the loader's locks new in the child, whoever held them in the parent (*glibc posix/fork.c*): what they
//! guarded may be half changed there, for good. So a thread that forks first waits, by a handler of pthread_atfork(3), until
//! nobody changes anything. It cannot wait for the load lock itself: that is held while constructors run, which may wait
//! for the very thread that forks. Hence a second lock, which is held by whoever holds the load lock, but not while
//! foreign code runs. For that a thread that forks waits too, but not for long: libc registers and runs exit functions under
//! a lock that stays taken in the child (*glibc stdlib/cxa_atexit.c*), and constructors and finalizers do little else.
//!
//! # Safety
//! Calls libc's `__register_atfork`, as pthread_atfork(3) does.
#![allow(unsafe_code)]

mod changes;

use core::ffi::c_void;
use core::ptr::{null, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::dl::{threads, unload};
use crate::process::{Process, function};

use changes::Changes;

static CHANGES: Changes = Changes::new();

/// What the holder of the load lock calls when it has taken it.
pub fn enter() {
    CHANGES.enter();
}

/// What the holder of the load lock calls before it gives the lock back.
pub fn leave() {
    CHANGES.leave();
}

/// Calls foreign code, which may open, close and fork, and wait for other threads that do.
pub fn outside<R>(call: impl FnOnce() -> R) -> R {
    CHANGES.outside(call)
}

/// Makes libc call the handlers below from its next fork on: before the first opening, and before there is a second thread.
/// No lock of the loader's is held, since older releases call handlers under the lock that this takes.
pub fn prepare_for(process: &Process) {
    static IS_PREPARED: AtomicBool = AtomicBool::new(false);
    // SAFETY: written once at start.
    let Some(register) = (unsafe { process.libc.get() }).register_atfork else { return };
    if IS_PREPARED.swap(true, Ordering::Relaxed) {
        return;
    }
    type Handler = extern "C" fn();
    // SAFETY: the type of libc's __register_atfork (nptl/register-atfork.c), whose handlers take nothing.
    type Register = unsafe extern "C" fn(Handler, Handler, Handler, *const c_void) -> i32;
    // SAFETY: libc's function; the handlers are there for good. Without memory there is no handler, as in glibc.
    unsafe { function::<Register>(register)(before, in_parent, in_child, null()) };
}

extern "C" fn before() {
    if CHANGES.wait_to_fork() {
        // Blocks of threads come and go under this one. It is given back by `in_parent`, and made new in the child.
        core::mem::forget(Process::get().lock_tls());
    }
}

extern "C" fn in_parent() {
    if CHANGES.has_waited() {
        Process::get().unlock_tls();
        CHANGES.go_on();
    }
}

extern "C" fn in_child() {
    let process = Process::get();
    // Another thread may have been walking the list of objects: nobody does now.
    let mutex = process.global_record.address(process.layout.global.load_write_lock);
    for word in 0..4 {
        let word: *mut u32 = with_exposed_provenance_mut(mutex + 4 * word);
        // SAFETY: `__lock`, `__count`, `__owner` and `__nusers` of a mutex in `_rtld_global`; there is one thread.
        unsafe { word.write(0) };
    }
    CHANGES.forget_others();
    threads::forget_others(process);
    unload::forget_others();
    CHANGES.begin_child();
}
