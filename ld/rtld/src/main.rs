//! `ld-folio`, the dynamic linker: the composition root.
//!
//! [`start`] reads top to bottom: it is the way of a program from the kernel's hand to its entry point. Everything that
//! decides is in `folio-link` and `folio-glibc`; the modules here carry out what was decided, in this process.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod adopt;
mod binding;
mod debugger;
mod dlfcn;
mod environment;
mod exception;
mod execstack;
mod execute;
mod exports;
mod files;
mod find_object;
mod globals;
mod handover;
mod initialise;
mod libc;
mod link_map;
mod list;
mod map;
mod open;
mod options;
mod process;
mod processor;
mod publish;
mod record;
mod report;
mod scope;
mod search_path;
mod start;
mod thread;
mod threads;
mod tls;
mod unload;

use folio_runtime::allocator::Arena;

#[global_allocator]
static ARENA: Arena = Arena::new();
