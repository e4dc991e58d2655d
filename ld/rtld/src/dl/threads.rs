//! The threads of the process: the blocks of static TLS that there are, and the stacks on libc's lists.
//!
//! libc puts a new thread on its list after it had the loader fill in the thread's static TLS. What a module's image is to
//! be copied to is therefore found on a list of Folio's own, which has each block from the moment on in which it is filled
//! in: under glibc a thread that is just being made misses what another thread opens then.
//!
//! # Safety
//! The stacks' lists are libc's; they are walked under its lock, by the offsets of the layout table. The blocks' list is
//! changed and walked under the lock of modules of thread-local storage.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec;
use core::ptr::{null_mut, with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use folio_glibc::layout::Offset;

use crate::dl::lock_word;
use crate::dl::tls::thread_pointer;
use crate::process::Process;

/// One block of static TLS: that of a thread, or of one whose stack libc keeps for the next.
pub struct Block {
    next: *mut Block,
    previous: *mut Block,
    /// The address of the control block.
    thread: usize,
}

/// The first block of the list.
static BLOCKS: AtomicPtr<Block> = AtomicPtr::new(null_mut());

/// Adds the block of the control block at `thread`. The lock of modules is held, or there is one thread.
pub fn add(thread: usize) -> *mut Block {
    let first = BLOCKS.load(Ordering::Relaxed);
    let block = Box::into_raw(Box::new(Block { next: first, previous: null_mut(), thread }));
    // SAFETY: an element of the list, under its lock.
    if let Some(first) = unsafe { first.as_mut() } {
        first.previous = block;
    }
    BLOCKS.store(block, Ordering::Relaxed);
    block
}

/// Takes a block off the list. The lock of modules is held.
pub fn remove(block: *mut Block) {
    // SAFETY: callers pass what `add` gave them, once; neighbours are elements of the list, under its lock.
    unsafe {
        let Block { next, previous, .. } = *Box::from_raw(block);
        match previous.as_mut() {
            Some(previous) => previous.next = next,
            None => BLOCKS.store(next, Ordering::Relaxed),
        }
        if let Some(next) = next.as_mut() {
            next.previous = previous;
        }
    }
}

/// Calls `visit` with the control block's address of every block, and the block, which it may remove. The lock of modules is
/// held, or there is one thread.
pub fn for_each_block(mut visit: impl FnMut(usize, *mut Block)) {
    let mut block = BLOCKS.load(Ordering::Relaxed);
    // SAFETY: elements of the list, under its lock.
    while let Some(&Block { next, thread, .. }) = unsafe { block.as_ref() } {
        visit(thread, block);
        block = next;
    }
}

/// In a child of fork: drops the blocks of threads that there are no more, and whose stacks libc does not keep. Those that
/// the program made itself may be put to another use. (They leak, with their dtvs, as they do in glibc.)
pub fn forget_others(process: &Process) {
    let g = &process.layout.global;
    let mut kept = vec![thread_pointer()];
    for list in [g.stack_used, g.stack_user, g.stack_cache] {
        walk(process, list, &mut |thread| kept.push(thread));
    }
    for_each_block(|thread, block| {
        if !kept.contains(&thread) {
            remove(block);
        }
    });
}

/// Whether the only thread is the one whose control block is at `main`: nobody is making another either.
pub fn is_alone(process: &Process, main: usize) -> bool {
    let g = &process.layout.global;
    let mut others = false;
    let _lock = StackLock::take(process);
    for list in [g.stack_used, g.stack_user] {
        walk(process, list, &mut |thread| others |= thread != main);
    }
    !others && thread_pointer() == main
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

/// libc's `_dl_stack_cache_lock`, held: a [`lock_word`].
struct StackLock<'l>(&'l AtomicU32);

impl<'l> StackLock<'l> {
    fn take(process: &'l Process) -> StackLock<'l> {
        let address = process.global_record.address(process.layout.global.stack_cache_lock);
        // SAFETY: a word of `_rtld_global` that is accessed atomically.
        let word = unsafe { AtomicU32::from_ptr(with_exposed_provenance_mut(address)) };
        lock_word::take(word);
        StackLock(word)
    }
}

impl Drop for StackLock<'_> {
    fn drop(&mut self) {
        lock_word::release(self.0);
    }
}
