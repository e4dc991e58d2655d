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

use core::ffi::c_void;
use core::ptr::{null, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use folio_runtime::syscall;

use crate::dl::tls::thread_pointer;
use crate::dl::{lock_word, threads, unload};
use crate::process::{Process, function};

/// Held by the thread that may change what the loader knows: a [`lock_word`].
static CHANGES: AtomicU32 = AtomicU32::new(0);

/// The thread pointer of who holds it.
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// How often its owner has taken the load lock since foreign code was entered last; the owner's alone.
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// Whether the thread that forks now was itself in the middle of a change: an IFUNC resolver forks.
static FORKS_IN_CHANGE: AtomicBool = AtomicBool::new(false);

/// Odd while the holder of the load lock runs foreign code, and who that is; each time has a number of its own.
static FOREIGN: AtomicU32 = AtomicU32::new(0);
static IN_FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// The time in foreign code that no fork waits for any more, because one has waited in vain.
static TOO_LONG: AtomicU32 = AtomicU32::new(0);

/// How long a fork waits for foreign code, in nanoseconds.
const PATIENCE: u32 = 50_000_000;

/// Threads that are about to fork: whoever takes the load lock lets one of them go first.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// What the holder of the load lock calls when it has taken it.
pub fn enter() {
    if OWNER.load(Ordering::Relaxed) != thread_pointer() {
        let forks = FORKS.load(Ordering::Relaxed);
        if forks != 0 && IN_FOREIGN.load(Ordering::Relaxed) != thread_pointer() {
            let _ = syscall::futex_wait_for(&FORKS, forks, PATIENCE);
        }
        take();
        DEPTH.store(0, Ordering::Relaxed);
    }
    DEPTH.fetch_add(1, Ordering::Relaxed);
}

/// What the holder of the load lock calls before it gives the lock back.
pub fn leave() {
    if OWNER.load(Ordering::Relaxed) == thread_pointer() && DEPTH.fetch_sub(1, Ordering::Relaxed) == 1 {
        release();
    }
}

/// Calls foreign code, which may open, close and fork, and wait for other threads that do.
pub fn outside<R>(call: impl FnOnce() -> R) -> R {
    if OWNER.load(Ordering::Relaxed) != thread_pointer() {
        return call();
    }
    let depth = DEPTH.load(Ordering::Relaxed);
    // Foreign code may open a library whose constructors are foreign code too: that is one time, the outermost.
    let is_outermost = IN_FOREIGN.swap(thread_pointer(), Ordering::Relaxed) != thread_pointer();
    if is_outermost {
        FOREIGN.fetch_add(1, Ordering::Relaxed);
    }
    release();
    let result = call();
    take();
    if is_outermost {
        IN_FOREIGN.store(0, Ordering::Relaxed);
        FOREIGN.fetch_add(1, Ordering::Relaxed);
        if FORKS.load(Ordering::Relaxed) != 0 {
            let _ = syscall::futex_wake(&FOREIGN, u32::MAX >> 1);
        }
    }
    DEPTH.store(depth, Ordering::Relaxed);
    result
}

/// Waits for the lock and, for a while, for foreign code that another thread runs.
fn take_for_fork() {
    loop {
        take();
        let foreign = FOREIGN.load(Ordering::Relaxed);
        let is_own = IN_FOREIGN.load(Ordering::Relaxed) == thread_pointer();
        if foreign.is_multiple_of(2) || is_own || TOO_LONG.load(Ordering::Relaxed) == foreign {
            return;
        }
        release();
        const ETIMEDOUT: i32 = 110;
        if syscall::futex_wait_for(&FOREIGN, foreign, PATIENCE).is_err_and(|errno| errno.0 == ETIMEDOUT) {
            TOO_LONG.store(foreign, Ordering::Relaxed);
        }
    }
}

fn take() {
    lock_word::take(&CHANGES);
    OWNER.store(thread_pointer(), Ordering::Relaxed);
}

fn release() {
    OWNER.store(0, Ordering::Relaxed);
    lock_word::release(&CHANGES);
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
    type Register = unsafe extern "C" fn(Handler, Handler, Handler, *const c_void) -> i32;
    // SAFETY: libc's function; the handlers are there for good. Without memory there is no handler, as in glibc.
    unsafe { function::<Register>(register)(before, in_parent, in_child, null()) };
}

extern "C" fn before() {
    let nested = OWNER.load(Ordering::Relaxed) == thread_pointer();
    if !nested {
        FORKS.fetch_add(1, Ordering::Relaxed);
        take_for_fork();
        // Blocks of threads come and go under this one. It is given back by `in_parent`, and made new in the child.
        core::mem::forget(Process::get().lock_tls());
    }
    FORKS_IN_CHANGE.store(nested, Ordering::Relaxed);
}

extern "C" fn in_parent() {
    if !FORKS_IN_CHANGE.load(Ordering::Relaxed) {
        Process::get().unlock_tls();
        FORKS.fetch_sub(1, Ordering::Relaxed);
        let _ = syscall::futex_wake(&FORKS, u32::MAX >> 1);
        release();
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
    FORKS.store(0, Ordering::Relaxed);
    if IN_FOREIGN.load(Ordering::Relaxed) != thread_pointer() {
        IN_FOREIGN.store(0, Ordering::Relaxed);
        FOREIGN.store(0, Ordering::Relaxed);
    }
    threads::forget_others(process);
    unload::forget_others();
    if !FORKS_IN_CHANGE.load(Ordering::Relaxed) {
        release();
    }
}
