//! `LD_DEBUG=statistics`: how long a start took, and how many relocations it made.
//!
//! # Safety
//! The time stamp counter is read, which has no effect; guarded fields are read under the load lock.
#![allow(unsafe_code)]

use core::arch::x86_64::_rdtsc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Categories as C, is_on, say};
use crate::process::Process;

/// Symbols that were looked up, and relocations that took the answer of the one before.
pub static LOOKUPS: AtomicU64 = AtomicU64::new(0);
pub static REPEATED: AtomicU64 = AtomicU64::new(0);

/// When `LD_DEBUG` was read, by the processor's time stamp counter, and what the phases took.
static BEGIN: AtomicU64 = AtomicU64::new(0);
static LOADING: AtomicU64 = AtomicU64::new(0);
static RELOCATION: AtomicU64 = AtomicU64::new(0);

/// The processor's time stamp counter.
pub fn now() -> u64 {
    // SAFETY: Linux lets every program read the counter, unless it forbade itself to (prctl(2), PR_SET_TSC).
    unsafe { _rdtsc() }
}

/// The start begins.
pub fn begin() {
    if is_on(C::STATISTICS) {
        BEGIN.store(now(), Ordering::Relaxed);
    }
}

/// A part of the start whose time counts, from its making until it is dropped.
pub struct Phase {
    total: &'static AtomicU64,
    begin: u64,
}

impl Phase {
    pub fn loading() -> Option<Phase> {
        is_on(C::STATISTICS).then(|| Phase { total: &LOADING, begin: now() })
    }

    pub fn relocation() -> Option<Phase> {
        is_on(C::STATISTICS).then(|| Phase { total: &RELOCATION, begin: now() })
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.total.fetch_add(now().wrapping_sub(self.begin), Ordering::Relaxed);
    }
}

/// A share in percent, with one digit behind the point, which stands alone below one percent.
struct Share {
    part: u64,
    whole: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let permille = self.part.saturating_mul(1000) / self.whole.max(1);
        match permille / 10 {
            0 => write!(f, ".{}", permille % 10),
            percent => write!(f, "{percent}.{}", permille % 10),
        }
    }
}

/// Says what the start took, just before the program's code runs.
pub fn statistics(process: &Process) {
    if !is_on(C::STATISTICS) {
        return;
    }
    let whole = now().wrapping_sub(BEGIN.load(Ordering::Relaxed));
    let (relocation, loading) = (RELOCATION.load(Ordering::Relaxed), LOADING.load(Ordering::Relaxed));
    // SAFETY: one thread.
    let (objects, global) = unsafe { (process.objects.get(), process.base.global.get()) };
    let relative: u64 =
        global.objects.iter().filter_map(|&id| objects[id].dynamic.as_ref()).map(|it| it.relacount).sum();
    say(
        C::STATISTICS,
        format_args!(
            "\nruntime linker statistics:\n  total startup time in dynamic loader: {whole} cycles\n            \
             time needed for relocation: {relocation} cycles ({}%)\n                 \
             number of relocations: {}\n      number of relocations from cache: {}\n        \
             number of relative relocations: {relative}\n           \
             time needed to load objects: {loading} cycles ({}%)\n",
            Share { part: relocation, whole },
            LOOKUPS.load(Ordering::Relaxed),
            REPEATED.load(Ordering::Relaxed),
            Share { part: loading, whole },
        ),
    );
}

/// Says how many relocations there were in the end.
pub fn final_statistics() {
    say(
        C::STATISTICS,
        format_args!(
            "\nruntime linker statistics:\n           final number of relocations: {}\n\
             final number of relocations from cache: {}\n",
            LOOKUPS.load(Ordering::Relaxed),
            REPEATED.load(Ordering::Relaxed),
        ),
    );
}
