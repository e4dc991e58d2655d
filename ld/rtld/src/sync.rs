//! What the protocols between threads are made of: atomics, futexes, and the name of who asks.
//!
//! The files that import these names, and nothing else of the loader's, are built a second time under `tests/models`, where
//! the names stand for a model checker's: what is checked there is the code that runs here.

pub use core::hint::spin_loop;
pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};

pub use folio_runtime::syscall::{futex_wait, futex_wait_for, futex_wake};

pub use crate::dl::tls::thread_pointer;
