//! What `crate::sync` is in the loader, made of loom's atomics.
//!
//! All of loom's threads are coroutines of one thread of the host, and change only in loom's own operations: what is kept
//! here beside those needs no lock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::sync::OnceLock;

use loom::thread::{JoinHandle, Thread};

pub use std::sync::atomic::Ordering;

use crate::mutant;

/// An atomic of loom's that can be made in a `const fn`: it comes into being when it is used first, or shown.
macro_rules! atomic {
    ($name:ident $(<$parameter:ident>)?, $value:ty) => {
        pub struct $name $(<$parameter>)? {
            first: $value,
            inner: OnceLock<loom::sync::atomic::$name $(<$parameter>)?>,
            /// What was written last, which no thread has to see yet.
            latest: Cell<$value>,
        }

        // SAFETY: loom's threads take turns on one thread.
        unsafe impl $(<$parameter>)? Sync for $name $(<$parameter>)? {}
        // SAFETY: as above.
        unsafe impl $(<$parameter>)? Send for $name $(<$parameter>)? {}

        impl $(<$parameter>)? $name $(<$parameter>)? {
            pub const fn new(first: $value) -> Self {
                Self { first, inner: OnceLock::new(), latest: Cell::new(first) }
            }

            fn inner(&self) -> &loom::sync::atomic::$name $(<$parameter>)? {
                self.inner.get_or_init(|| loom::sync::atomic::$name::new(self.first))
            }

            #[track_caller]
            pub fn load(&self, ordering: Ordering) -> $value {
                self.inner().load(mutant::order(ordering, Location::caller()))
            }

            #[track_caller]
            pub fn store(&self, value: $value, ordering: Ordering) {
                if !mutant::leaves_out(Location::caller()) {
                    self.inner().store(value, mutant::order(ordering, Location::caller()));
                    self.latest.set(value);
                }
            }

            #[track_caller]
            pub fn swap(&self, value: $value, ordering: Ordering) -> $value {
                let old = self.inner().swap(value, mutant::order(ordering, Location::caller()));
                self.latest.set(value);
                old
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let success = mutant::order(success, Location::caller());
                let failure = mutant::order_in_failure(failure, Location::caller());
                let outcome = self.inner().compare_exchange(current, new, success, failure);
                if outcome.is_ok() {
                    self.latest.set(new);
                }
                outcome
            }
        }

        impl $(<$parameter>)? fmt::Debug for $name $(<$parameter>)? {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.inner(), out)
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU32, u32);
atomic!(AtomicUsize, usize);
atomic!(AtomicPtr<T>, *mut T);

/// Made at once: whoever makes it at run time may not be the first to use it.
impl Default for AtomicUsize {
    fn default() -> Self {
        let new = Self::new(0);
        new.inner();
        new
    }
}

macro_rules! counter {
    ($name:ident, $value:ty, $($operation:ident $result:ident)*) => {
        impl $name {
            $(
                #[track_caller]
                pub fn $operation(&self, value: $value, ordering: Ordering) -> $value {
                    if mutant::leaves_out(Location::caller()) {
                        return self.inner().load(Ordering::Relaxed);
                    }
                    let old = self.inner().$operation(value, mutant::order(ordering, Location::caller()));
                    self.latest.set(old.$result(value));
                    old
                }
            )*
        }
    };
}

counter!(AtomicU32, u32, fetch_add wrapping_add fetch_sub wrapping_sub);
counter!(AtomicUsize, usize, fetch_add wrapping_add fetch_sub wrapping_sub fetch_max max);

#[track_caller]
pub fn fence(ordering: Ordering) {
    let weakened = mutant::order(ordering, Location::caller());
    if weakened == ordering {
        loom::sync::atomic::fence(ordering);
    }
}

pub fn spin_loop() {
    loom::thread::yield_now();
}

std::thread_local! {
    /// Who sleeps in futex(2), and at which word.
    static SLEEPERS: RefCell<Vec<(usize, u64, Thread)>> = const { RefCell::new(Vec::new()) };
    static SLEEPS: Cell<u64> = const { Cell::new(0) };
    static IS_PATIENT: Cell<bool> = const { Cell::new(true) };
}

loom::thread_local! {
    static NAME: Cell<usize> = Cell::new(1);
}

/// Forgets what an execution before this one has left.
pub fn begin_execution() {
    SLEEPERS.take();
    set_patient(true);
}

/// Whether waits with a time limit wait for good from now on, as they do at first, or fail at once.
pub fn set_patient(is_patient: bool) {
    IS_PATIENT.set(is_patient);
}

/// Starts a thread whose thread pointer is `name`; the first thread's is 1.
pub fn spawn(name: usize, body: impl FnOnce() + 'static) -> JoinHandle<()> {
    loom::thread::spawn(move || {
        NAME.with(|own| own.set(name));
        body();
    })
}

pub fn thread_pointer() -> usize {
    NAME.with(Cell::get)
}

/// errno(3).
#[derive(Clone, Copy, Debug)]
pub struct Errno(pub i32);

const EAGAIN: Errno = Errno(11);
const ETIMEDOUT: Errno = Errno(110);

fn address(word: &AtomicU32) -> usize {
    (&raw const *word).addr()
}

/// Sleeps while the word is `value`. The kernel looks at the word itself, not at what this thread may see of it.
pub fn futex_wait(word: &AtomicU32, value: u32) -> Result<usize, Errno> {
    // Others may have their turn before, but not between the look and the sleep.
    word.inner().load(Ordering::Relaxed);
    if word.latest.get() != value {
        loom::thread::yield_now();
        return Err(EAGAIN);
    }
    let sleep = SLEEPS.get();
    SLEEPS.set(sleep + 1);
    SLEEPERS.with_borrow_mut(|sleepers| sleepers.push((address(word), sleep, loom::thread::current())));
    while SLEEPERS.with_borrow(|sleepers| sleepers.iter().any(|&(_, number, _)| number == sleep)) {
        loom::thread::park();
    }
    Ok(0)
}

/// Sleeps as [`futex_wait`], or not at all.
pub fn futex_wait_for(word: &AtomicU32, value: u32, _nanoseconds: u32) -> Result<usize, Errno> {
    if IS_PATIENT.get() {
        return futex_wait(word, value);
    }
    loom::thread::yield_now();
    if word.latest.get() == value { Err(ETIMEDOUT) } else { Err(EAGAIN) }
}

/// Wakes up to `count` of those that sleep at the word.
#[track_caller]
pub fn futex_wake(word: &AtomicU32, count: u32) -> Result<usize, Errno> {
    if mutant::leaves_out(Location::caller()) {
        return Ok(0);
    }
    let mut woken = 0;
    while woken < count as usize {
        let taken = SLEEPERS.with_borrow_mut(|sleepers| {
            let place = sleepers.iter().position(|&(at, ..)| at == address(word))?;
            Some(sleepers.remove(place))
        });
        let Some((.., sleeper)) = taken else { break };
        sleeper.unpark();
        woken += 1;
    }
    Ok(woken)
}
