//! What a run costs, in units that do not depend on the machine: basic blocks entered, and bytes allocated at once.
//!
//! The compiler puts a call of `__sanitizer_cov_trace_pc` into each basic block (LLVM, *SanitizerCoverage*); here is the function
//! that it calls. A run that takes a second too long cannot be told from a slow machine, one that enters too many blocks can.
//!
//! # Safety
//! The allocator hands every request to the system's and only adds up sizes. Counters belong to the one thread that fuzzes.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Written by [`count_steps`](crate::count_steps) only.
pub static STEPS: AtomicU64 = AtomicU64::new(0);
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Defines the function that counts; for programs, whose own definition stands before the one that libFuzzer brings.
///
/// Called between any two instructions, hence in assembly: it changes nothing but the counter and the flags, which no caller
/// keeps over a call.
#[macro_export]
macro_rules! count_steps {
    () => {
        std::arch::global_asm!(
            ".globl __sanitizer_cov_trace_pc",
            "__sanitizer_cov_trace_pc:",
            "inc qword ptr [rip + {steps}]",
            "ret",
            steps = sym $crate::meter::STEPS,
        );
    };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: each method is the system allocator's of the same name, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(in_use, Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Basic blocks entered.
    pub steps: u64,
    /// Bytes in use at once, beyond those before the run.
    pub memory: u64,
}

/// Runs something and says what it cost.
pub fn measure(run: impl FnOnce()) -> Cost {
    let before = IN_USE.load(Relaxed);
    MOST.store(before, Relaxed);
    STEPS.store(0, Relaxed);
    run();
    Cost { steps: STEPS.load(Relaxed), memory: (MOST.load(Relaxed) - before) as u64 }
}
