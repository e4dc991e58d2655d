//! Who may change what the loader knows, and how a thread that forks waits for that.
//!
//! The lock is held by whoever holds the load lock, but not while foreign code runs. For foreign code of another thread
//! a fork waits too, but not for long.

use crate::dl::lock_word;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering, futex_wait_for, futex_wake, thread_pointer};

/// How long a fork waits for foreign code, in nanoseconds.
const PATIENCE: u32 = 50_000_000;

/// The lock, and what its holders say of themselves.
#[derive(Debug)]
pub struct Changes {
    /// Held by the thread that may change what the loader knows: a [`lock_word`].
    lock: AtomicU32,
    /// The thread pointer of who holds it.
    owner: AtomicUsize,
    /// How often its owner has taken the load lock since foreign code was entered last; the owner's alone.
    depth: AtomicUsize,
    /// Odd while the holder of the load lock runs foreign code, and who that is; each time has a number of its own.
    foreign: AtomicU32,
    in_foreign: AtomicUsize,
    /// The time in foreign code that no fork waits for any more, because one has waited in vain.
    too_long: AtomicU32,
    /// Threads that are about to fork: whoever takes the load lock lets one of them go first.
    forks: AtomicU32,
    /// Whether the thread that forks now was itself in the middle of a change: an IFUNC resolver forks.
    forks_in_change: AtomicBool,
}

impl Changes {
    pub const fn new() -> Changes {
        Changes {
            lock: AtomicU32::new(0),
            owner: AtomicUsize::new(0),
            depth: AtomicUsize::new(0),
            foreign: AtomicU32::new(0),
            in_foreign: AtomicUsize::new(0),
            too_long: AtomicU32::new(0),
            forks: AtomicU32::new(0),
            forks_in_change: AtomicBool::new(false),
        }
    }

    /// What the holder of the load lock calls when it has taken it.
    pub fn enter(&self) {
        if !self.is_owner() {
            let forks = self.forks.load(Ordering::Relaxed);
            if forks != 0 && !self.is_in_foreign() {
                let _ = futex_wait_for(&self.forks, forks, PATIENCE);
            }
            self.take();
            self.depth.store(0, Ordering::Relaxed);
        }
        self.depth.fetch_add(1, Ordering::Relaxed);
    }

    /// What the holder of the load lock calls before it gives the lock back.
    pub fn leave(&self) {
        if self.is_owner() && self.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.release();
        }
    }

    /// Calls foreign code, which may open, close and fork, and wait for other threads that do.
    pub fn outside<R>(&self, call: impl FnOnce() -> R) -> R {
        if !self.is_owner() {
            return call();
        }
        let depth = self.depth.load(Ordering::Relaxed);
        // Foreign code may open a library whose constructors are foreign code too: that is one time, the outermost.
        let is_outermost = self.in_foreign.swap(thread_pointer(), Ordering::Relaxed) != thread_pointer();
        if is_outermost {
            self.foreign.fetch_add(1, Ordering::Relaxed);
        }
        self.release();
        let result = call();
        self.take();
        if is_outermost {
            self.in_foreign.store(0, Ordering::Relaxed);
            self.foreign.fetch_add(1, Ordering::Relaxed);
            if self.forks.load(Ordering::Relaxed) != 0 {
                let _ = futex_wake(&self.foreign, u32::MAX >> 1);
            }
        }
        self.depth.store(depth, Ordering::Relaxed);
        result
    }

    /// Before a fork: waits until nobody changes anything, and keeps it so. Gives whether it did, which is not so for a
    /// thread that is in the middle of a change itself.
    pub fn wait_to_fork(&self) -> bool {
        let is_nested = self.is_owner();
        if !is_nested {
            self.forks.fetch_add(1, Ordering::Relaxed);
            self.take_to_fork();
        }
        self.forks_in_change.store(is_nested, Ordering::Relaxed);
        !is_nested
    }

    /// Whether the thread that forks now has waited.
    pub fn has_waited(&self) -> bool {
        !self.forks_in_change.load(Ordering::Relaxed)
    }

    /// In the parent, of a thread that has waited: lets the others go on.
    pub fn go_on(&self) {
        self.forks.fetch_sub(1, Ordering::Relaxed);
        let _ = futex_wake(&self.forks, u32::MAX >> 1);
        self.release();
    }

    /// In the child: there are no others who fork or run foreign code. No time in foreign code gets a number that one has had:
    /// the parent may have waited for that in vain.
    pub fn forget_others(&self) {
        self.forks.store(0, Ordering::Relaxed);
        if !self.is_in_foreign() {
            self.in_foreign.store(0, Ordering::Relaxed);
            let foreign = self.foreign.load(Ordering::Relaxed);
            self.foreign.store(foreign.wrapping_add(foreign % 2), Ordering::Relaxed);
        }
    }

    /// In the child, at last: what its only thread does from now on are ordinary changes.
    pub fn begin_child(&self) {
        if self.has_waited() {
            self.release();
        }
    }

    /// Waits for the lock and, for a while, for foreign code that another thread runs.
    fn take_to_fork(&self) {
        loop {
            self.take();
            let foreign = self.foreign.load(Ordering::Relaxed);
            if foreign.is_multiple_of(2) || self.is_in_foreign() || self.too_long.load(Ordering::Relaxed) == foreign {
                return;
            }
            self.release();
            const ETIMEDOUT: i32 = 110;
            if futex_wait_for(&self.foreign, foreign, PATIENCE).is_err_and(|errno| errno.0 == ETIMEDOUT) {
                self.too_long.store(foreign, Ordering::Relaxed);
            }
        }
    }

    /// No thread reads its own name here unless it was the last to write it.
    fn is_owner(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == thread_pointer()
    }

    fn is_in_foreign(&self) -> bool {
        self.in_foreign.load(Ordering::Relaxed) == thread_pointer()
    }

    fn take(&self) {
        lock_word::take(&self.lock);
        self.owner.store(thread_pointer(), Ordering::Relaxed);
    }

    fn release(&self) {
        self.owner.store(0, Ordering::Relaxed);
        lock_word::release(&self.lock);
    }
}
