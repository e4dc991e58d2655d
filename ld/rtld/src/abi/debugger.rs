//! What debuggers see: `_r_debug`, `_dl_debug_state` and the `DT_DEBUG` entry (link.h; *glibc elf/dl-debug.c*).
//!
//! A debugger sets a breakpoint on [`_dl_debug_state`], which is called after each change of the list of objects, or on the
//! [`probes`], which say more, and finds the list through the executable's `DT_DEBUG`.
//!
//! # Safety
//! The structures are static blocks that are accessed by single words, through [`Record`].
#![allow(unsafe_code)]

use core::arch::{global_asm, naked_asm};

use folio_elf::Vaddr;
use folio_link::object::{Object, Objects};

use crate::abi::globals::{Block, R_DEBUG_ARRAY};
use crate::abi::link_map::LinkMap;
use crate::abi::probes;
use crate::abi::record::Record;
use crate::namespace::{Namespace, NamespaceId};
use crate::process::Process;

// The symbol is as large as `struct r_debug`, of which a program that refers to it makes a copy; there is more behind it
// (*glibc elf/dl-debug-symbols.S*).
global_asm!(
    ".pushsection .bss._r_debug, \"aw\", @nobits",
    ".balign 64",
    ".globl _r_debug",
    ".type _r_debug, @object",
    ".size _r_debug, 40",
    "_r_debug: .zero 64",
    ".popsection",
);

// SAFETY: defined just above, of that size and alignment.
unsafe extern "C" {
    /// `struct r_debug_extended` (link.h) of the base namespace.
    safe static _r_debug: Block<64>;
}

/// What happens to a namespace's list of objects. A link map is that of the first new object.
#[derive(Clone, Copy)]
pub enum Event {
    /// The start begins, and ends.
    InitStart,
    InitComplete,
    /// Objects have been mapped; are relocated; may be used.
    MapStart,
    RelocStart,
    RelocComplete(LinkMap),
    MapComplete(LinkMap),
    /// Objects are about to go, and are gone.
    UnmapStart,
    UnmapComplete,
}

/// `r_state`.
const CONSISTENT: u32 = 0;
const ADD: u32 = 1;
const DELETE: u32 = 2;

impl Event {
    /// What `r_state` is from then on, if it changes.
    fn state(self) -> Option<u32> {
        match self {
            Event::InitStart | Event::MapStart => Some(ADD),
            Event::UnmapStart => Some(DELETE),
            Event::InitComplete | Event::MapComplete(_) | Event::UnmapComplete => Some(CONSISTENT),
            Event::RelocStart | Event::RelocComplete(_) => None,
        }
    }

    /// Passes the probe of that name.
    fn trace(self, namespace: NamespaceId, debug: usize) {
        let namespace = namespace.0 as isize;
        match self {
            Event::InitStart => probes::init_start(namespace, debug),
            Event::InitComplete => probes::init_complete(namespace, debug),
            Event::MapStart => probes::map_start(namespace, debug),
            Event::RelocStart => probes::reloc_start(namespace, debug),
            Event::RelocComplete(first) => probes::reloc_complete(namespace, debug, first.address()),
            Event::MapComplete(first) => probes::map_complete(namespace, debug, first.address()),
            Event::UnmapStart => probes::unmap_start(namespace, debug),
            Event::UnmapComplete => probes::unmap_complete(namespace, debug),
        }
    }
}

/// Offsets in `struct r_debug`.
const VERSION: u16 = 0;
const MAP: u16 = 8;
const BREAK: u16 = 16;
const STATE: u16 = 24;
const LOADER_BASE: u16 = 32;
/// In `struct r_debug_extended`: the next namespace's.
const NEXT: u16 = 40;
const SIZE: u16 = 48;

/// The record of a namespace: in `_dl_ns` where the layout has it there, elsewhere in an array of its own.
fn record_of(process: &Process, namespace: NamespaceId) -> Record {
    if namespace == NamespaceId::BASE {
        return _r_debug.record();
    }
    match process.layout.namespace.debug {
        Some(debug) => process.global_record.part(process.namespace_field(namespace, debug), usize::from(SIZE)),
        None => R_DEBUG_ARRAY.record().part((namespace.0 - 1) * SIZE, usize::from(SIZE)),
    }
}

/// The function that is called when the list has changed; it does nothing but be a place to stop at. It is assembly, so that
/// no debug information says otherwise: who stops here goes on to write expressions in the program's language, not in Rust.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn _dl_debug_state() {
    naked_asm!(".cfi_startproc", "ret", ".cfi_endproc")
}

/// Tells a debugger of the start.
pub fn introduce(process: &Process, objects: &Objects) {
    prepare(process, objects);
    // The list is empty at this first event: a debugger that sees libc looks into it for threads at once, and gives up if
    // libc is not relocated.
    announce(process, &process.base, Event::InitStart);
    show_list(process);
}

/// Fills in `_r_debug`, but for the list, and points the executable's `DT_DEBUG` to it.
pub fn prepare(process: &Process, objects: &Objects) {
    let record = _r_debug.record();
    record.put(VERSION, 1u32);
    record.put(BREAK, _dl_debug_state as *const () as usize);
    record.put(LOADER_BASE, objects[process.interpreter].image.bias().0);
    point_to(record.address(0) as u64, &objects[process.executable]);
}

/// Shows the base namespace's list, which begins with the executable.
pub fn show_list(process: &Process) {
    // SAFETY: the state of the executable exists since the objects were published.
    _r_debug.record().put(MAP, unsafe { process.state(process.executable) }.map.address());
}

/// Puts the address of `_r_debug` into the executable's `DT_DEBUG`.
fn point_to(record: u64, executable: &Object) {
    let Some(dynamic) = &executable.dynamic else { return };
    let (Some(index), Some(extent)) = (dynamic.debug, executable.placement.dynamic) else { return };
    // In a read-only dynamic section there is no room for it; debuggers know other ways.
    let value = Vaddr(extent.at.0.wrapping_add(16 * index as u64 + 8));
    let _ = executable.image.store(value, record);
}

/// Tells a debugger what happens to a namespace's list of objects.
pub fn announce(process: &Process, namespace: &Namespace, event: Event) {
    let record = record_of(process, namespace.id);
    if !namespace.is_base() {
        chain(process, namespace.id, record);
    }
    if let Some(state) = event.state() {
        record.put(STATE, state);
        _dl_debug_state();
    }
    event.trace(namespace.id, record.address(0));
}

/// Fills in the record of a namespace other than the base one, and hangs it on the chain that begins at `_r_debug`; it stays
/// there for good, without a list while the namespace is vacant. Numbers are given out in order, so the record before it is
/// the one of the number before.
fn chain(process: &Process, namespace: NamespaceId, own: Record) {
    let loaded = process.namespace_field(namespace, process.layout.namespace.loaded);
    own.put(MAP, process.global_record.get::<usize>(loaded));
    if own.get::<usize>(BREAK) != 0 {
        return;
    }
    let base = _r_debug.record();
    own.put(VERSION, 2u32);
    own.put(LOADER_BASE, base.get::<usize>(LOADER_BASE));
    own.put(BREAK, base.get::<usize>(BREAK));
    record_of(process, NamespaceId(namespace.0 - 1)).put(NEXT, own.address(0));
    base.put(VERSION, 2u32);
}
