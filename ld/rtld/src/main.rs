//! `ld-folio`, the dynamic linker: the composition root.
//!
//! [`start`] reads top to bottom: it is the way of a program from the kernel's hand to its entry point. Everything that
//! decides is in `folio-link` and `folio-glibc`; the modules here carry out what was decided, in this process.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod abi;
mod audit;
mod debug;
mod dl;
mod image;
mod namespace;
mod process;
mod processor;
mod profile;
mod report;
mod start;
mod sync;

use folio_runtime::allocator::{Arena, FirstRegion};

#[global_allocator]
static ARENA: Arena = Arena::new();

#[allow(unsafe_code, reason = "where a static lies is no matter of safety; the linker script knows the section")]
#[unsafe(link_section = ".bss.large.first_region")]
static FIRST_REGION: FirstRegion = FirstRegion::new();

/// Gives the arena its first memory. What is allocated before it costs a mapping.
fn begin_memory() {
    ARENA.begin(&FIRST_REGION);
}

/// What one more object needs of the arena, with room to spare.
const OBJECT_MEMORY: usize = 16 * 1024;

/// Makes sure of the memory for more objects: an opening that cannot have it fails while it can be taken back, whereas a
/// collection that cannot grow ends the process.
fn reserve_memory(objects: usize) -> Result<(), folio_link::Problem> {
    if ARENA.reserve(OBJECT_MEMORY * objects) { Ok(()) } else { Err(folio_link::Problem::NoMemory) }
}
