//! glibc's private contract with its loader, as data: one layout table a release, how to tell which one fits the libc
//! at hand, and what to write where (CPU features, cache thresholds, tunables, debugging categories).
//!
//! Nothing here touches a process: callers bring memory, CPUID and the environment.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod cpu;
pub mod debug;
pub mod layout;
pub mod select;
pub mod tables;
pub mod tunables;
