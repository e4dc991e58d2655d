//! The main thread: its static TLS block, its `struct pthread`, and what the kernel is told of them.
//!
//! libc does this for the threads that it makes; the first one is the loader's (*glibc nptl/dl_tls_init_tp.c,
//! __tls_init_tp*; psABI, *Thread-Local Storage*).
//!
//! # Safety
//! The thread pointer is set once, to a block that is never freed.
#![allow(unsafe_code)]

use alloc::alloc::{Layout as Memory, alloc_zeroed};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::Ordering;

use folio_glibc::layout::Layout;
use folio_link::placement::PAGE;
use folio_runtime::syscall;

use crate::abi::globals::{__nptl_initial_report_events, __rseq_offset, __rseq_size};
use crate::abi::record::Record;
use crate::start::static_tls::RESERVE;

/// `RSEQ_SIG` of x86 (*linux tools/testing/selftests/rseq*, glibc sysdeps): what precedes an abort handler.
const RSEQ_SIGNATURE: u32 = 0x5305_3053;

/// Size in bytes of the first rseq ABI, and of its fields in use.
pub const RSEQ_AREA: u32 = 32;
const RSEQ_FIRST_FEATURES: u32 = 20;

/// `cpu_id` of an area that is not registered yet, and of one that could not be.
const RSEQ_UNINITIALISED: i32 = -1;
const RSEQ_FAILED: i32 = -2;

/// `joinstate` of a thread that can be joined, from 2.43.
const JOINABLE: u32 = 2;
/// `stack_mode` of a stack that libc did not make, from 2.42.
const STACK_MODE_USER: u32 = 2;

/// Room for the block of all but programs with much thread-local storage: a mapping of its own would cost each start a system
/// call, and the kernel one more area. The control block ends where this does, next to the memory that Folio uses first
/// (`linker-scripts/rtld.ld`), so that both are on few pages.
#[repr(C, align(64))]
struct Room(UnsafeCell<[u8; RESERVE as usize + 16 * 1024]>);

// SAFETY: it is handed out once.
unsafe impl Sync for Room {}

#[unsafe(link_section = ".bss.large.main_thread")]
static ROOM: Room = Room(UnsafeCell::new([0; _]));

/// What is known of the main thread before it has a control block.
pub struct Birth {
    /// Bytes of static TLS below the control block, and the alignment of both.
    pub static_size: u64,
    pub align: u64,
    /// `AT_RANDOM`: 16 bytes for the canary and the pointer guard, where the kernel put them: a copy would stay in the stack.
    pub random: &'static [u8; 16],
    pub stack_end: usize,
    /// From 2.41: offset below the thread pointer, and feature size, of the rseq area.
    pub rseq: Option<(u64, u32)>,
    /// Tunable `glibc.pthread.rseq`.
    pub register_rseq: bool,
}

/// Makes the main thread's control block and points the thread pointer to it. `None`: no memory.
pub fn create(layout: &Layout, global: Record, birth: &Birth) -> Option<Record> {
    let p = &layout.pthread;
    let size = usize::from(p.size);
    let align = usize::try_from(birth.align).ok()?;
    let below = usize::try_from(birth.static_size).ok()?;
    // The control block ends with the room, and the static TLS in use is next to it: few pages are touched.
    let whole = below.checked_add(size)?.checked_add(align)?;
    let (base, length) = if whole <= size_of::<Room>() {
        (ROOM.0.get().cast::<u8>(), size_of::<Room>())
    } else {
        let whole = whole.checked_next_multiple_of(PAGE as usize)?;
        // SAFETY: the size is not zero.
        (unsafe { alloc_zeroed(Memory::from_size_align(whole, align).ok()?) }, whole)
    };
    if base.is_null() {
        return None;
    }
    let end = base.wrapping_add(length - size);
    // SAFETY: the memory has that size beyond the static TLS, is nobody else's, and is never freed.
    let thread = unsafe { Record::new(end.wrapping_sub(end.addr() % align), size) };
    let address = thread.address(0);
    thread.put(p.tcb, address);
    thread.put(p.self_, address);

    // The lowest byte of the canary is zero, so that no string can contain it.
    let canary = u64::from_le_bytes(birth.random[..8].try_into().ok()?) & !0xff;
    let guard = u64::from_le_bytes(birth.random[8..].try_into().ok()?);
    thread.put(p.stack_guard, canary);
    thread.put(p.pointer_guard, guard);

    if let Some(user_stack) = p.user_stack {
        thread.put(user_stack, 1u8);
    }
    if let Some(stack_mode) = p.stack_mode {
        thread.put(stack_mode, STACK_MODE_USER);
    }
    thread.put(p.specific, thread.address(p.specific_1stblock));
    thread.put(p.stackblock_size, birth.stack_end);
    thread.put(p.report_events, __nptl_initial_report_events.load(Ordering::Relaxed));
    let robust = thread.address(p.robust_head);
    thread.put(p.robust_prev, robust);
    thread.put(p.robust_head, robust);
    // `futex_offset`: from a mutex's list element to its lock word.
    thread.put(p.robust_head + 8, -32i64 as u64);
    link_into_user_stacks(layout, global, thread);

    // SAFETY: the block stays for good, and the first word is its own address.
    unsafe { syscall::set_thread_pointer(with_exposed_provenance_mut::<c_void>(address)) }.ok()?;
    Some(thread)
}

/// Tells the kernel of the thread: what to clear at its exit, its robust mutexes, its rseq area.
pub fn register(layout: &Layout, thread: Record, birth: &Birth) {
    let p = &layout.pthread;
    let cleared_at_exit = match p.joinstate {
        Some(joinstate) if layout.behaviour.tid_address_is_joinstate => {
            thread.put(joinstate, JOINABLE);
            joinstate
        }
        _ => p.tid,
    };
    // SAFETY: a word of the control block, which is never freed.
    let tid = unsafe { syscall::set_tid_address(pointer(thread.address(cleared_at_exit))) };
    thread.put(p.tid, tid.unwrap_or(0) as u32);
    // SAFETY: the list's head was just made to point to itself.
    let _ = unsafe { syscall::set_robust_list(pointer(thread.address(p.robust_head)), 24) };
    register_rseq(layout, thread, birth);
}

fn register_rseq(layout: &Layout, thread: Record, birth: &Birth) {
    let base = thread.address(0);
    let (area, features) = match (layout.pthread.rseq_area, birth.rseq) {
        (_, Some((below, features))) => (base - below as usize, features),
        (Some(offset), None) => (thread.address(offset), RSEQ_FIRST_FEATURES),
        (None, None) => return,
    };
    __rseq_offset.store(area as i64 - base as i64, Ordering::Relaxed);
    let cpu_id = |value: i32| {
        let field: *mut i32 = with_exposed_provenance_mut(area + 4);
        // SAFETY: the second word of the area, which lies in the thread's own block.
        unsafe { field.write_volatile(value) };
    };
    cpu_id(RSEQ_UNINITIALISED);
    let length = features.max(RSEQ_AREA).next_multiple_of(if birth.rseq.is_some() { RSEQ_AREA } else { 1 });
    // SAFETY: the area has that size and stays registered as long as the thread lives.
    let registered = birth.register_rseq && unsafe { syscall::rseq(pointer(area), length, 0, RSEQ_SIGNATURE) }.is_ok();
    if registered {
        __rseq_size.store(features, Ordering::Relaxed);
    } else {
        cpu_id(RSEQ_FAILED);
    }
}

/// The main thread's stack is on the list of stacks that libc did not make: setxid and the debugger walk it.
fn link_into_user_stacks(layout: &Layout, global: Record, thread: Record) {
    let g = &layout.global;
    for list in [g.stack_used, g.stack_user, g.stack_cache] {
        global.put(list, global.address(list));
        global.put(list + 8, global.address(list));
    }
    let (head, element) = (global.address(g.stack_user), thread.address(layout.pthread.list));
    thread.put(layout.pthread.list, head);
    thread.put(layout.pthread.list + 8, head);
    global.put(g.stack_user, element);
    global.put(g.stack_user + 8, element);
}

fn pointer<T>(address: usize) -> *mut T {
    with_exposed_provenance_mut(address)
}
