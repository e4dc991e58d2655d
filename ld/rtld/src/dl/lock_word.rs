//! Locks of one word, as libc's low-level locks are (*glibc sysdeps/nptl/lowlevellock.h*): 0 is free, 1 taken, 2 taken and
//! waited for (futex(2)).

use crate::sync::{AtomicU32, Ordering, futex_wait, futex_wake};

/// Takes the lock; waits as long as somebody else has it.
pub fn take(word: &AtomicU32) {
    if word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        while word.swap(2, Ordering::Acquire) != 0 {
            let _ = futex_wait(word, 2);
        }
    }
}

/// Gives the lock back, and wakes one who waits.
pub fn release(word: &AtomicU32) {
    if word.swap(0, Ordering::Release) == 2 {
        let _ = futex_wake(word, 1);
    }
}
