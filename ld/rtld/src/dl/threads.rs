//! The threads of the process, as libc's lists of stacks know them.
//!
//! # Safety
//! The lists are libc's; they are walked under its lock, by the offsets of the layout table.
#![allow(unsafe_code)]

use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use folio_glibc::layout::Offset;
use folio_runtime::syscall;

use crate::process::Process;

/// Calls `visit` with the control block's address of every thread.
pub fn for_each(process: &Process, mut visit: impl FnMut(usize)) {
    let g = &process.layout.global;
    let _lock = StackLock::take(process);
    for list in [g.stack_used, g.stack_user] {
        walk(process, list, &mut visit);
    }
}

/// Calls `visit` with start and size, without guard, of each stack that libc made, in use or kept for later.
pub fn for_each_own_stack<E>(process: &Process, mut visit: impl FnMut(usize, usize) -> Result<(), E>) -> Result<(), E> {
    let g = &process.layout.global;
    let _lock = StackLock::take(process);
    let mut outcome = Ok(());
    for list in [g.stack_used, g.stack_cache] {
        walk(process, list, &mut |thread| {
            let (start, size) = own_stack(process, thread);
            if outcome.is_ok() {
                outcome = visit(start, size);
            }
        });
    }
    outcome
}

/// Start and size, without its guard, of the stack of a thread that libc made.
pub fn own_stack(process: &Process, thread: usize) -> (usize, usize) {
    let p = &process.layout.pthread;
    let field = |offset: Offset| {
        let at: *const usize = with_exposed_provenance(thread + usize::from(offset));
        // SAFETY: callers pass a thread's control block.
        unsafe { at.read() }
    };
    let guard = field(p.guardsize);
    (field(p.stackblock) + guard, field(p.stackblock_size) - guard)
}

fn walk(process: &Process, list: Offset, visit: &mut impl FnMut(usize)) {
    let head = process.global_record.address(list);
    let mut element: usize = process.global_record.get(list);
    while element != head {
        visit(element - usize::from(process.layout.pthread.list));
        let next: *const usize = with_exposed_provenance(element);
        // SAFETY: elements of libc's list of threads, which does not change under its lock.
        element = unsafe { next.read() };
    }
}

/// libc's `_dl_stack_cache_lock`, held (*glibc sysdeps/nptl/lowlevellock.h*: 0 free, 1 taken, 2 taken and waited for).
struct StackLock<'l>(&'l AtomicU32);

impl<'l> StackLock<'l> {
    fn take(process: &'l Process) -> StackLock<'l> {
        let address = process.global_record.address(process.layout.global.stack_cache_lock);
        // SAFETY: a word of `_rtld_global` that is accessed atomically.
        let word = unsafe { AtomicU32::from_ptr(with_exposed_provenance_mut(address)) };
        if word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while word.swap(2, Ordering::Acquire) != 0 {
                let _ = syscall::futex_wait(word, 2);
            }
        }
        StackLock(word)
    }
}

impl Drop for StackLock<'_> {
    fn drop(&mut self) {
        if self.0.swap(0, Ordering::Release) == 2 {
            let _ = syscall::futex_wake(self.0, 1);
        }
    }
}
