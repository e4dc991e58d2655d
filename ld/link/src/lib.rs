//! Discover and plan: which files make up a process, where they go, and what each reference is bound to.
//!
//! Everything here is a function over bytes; nothing names a system call.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod order;
pub mod search;
pub mod tls;
