//! `_dl_find_object`: which object holds an address, for unwinders (*glibc elf/dl-find_object.c*).
//!
//! Every C++ throw asks, also in signal handlers and while another thread loads or unloads: no lock is taken, and [`ranges`]
//! are searched. Whoever changes them holds the load lock.
//!
//! # Safety
//! The load lock guards what is read of objects; the structures that are written are the callers'.
#![allow(unsafe_code)]

mod ranges;

use alloc::vec::Vec;

use folio_link::object::Kind;

use crate::process::Process;

use ranges::{Range, Ranges};

/// What is loaded.
static RANGES: Ranges<8> = Ranges::new();

/// Makes the table say what is loaded now. The load lock is held.
pub fn publish(process: &Process) {
    // SAFETY: the load lock is held.
    let objects = unsafe { process.objects.get() };
    // SAFETY: the load lock is held.
    let lists = || unsafe { process.namespaces().map(|namespace| namespace.members.get()) };
    let mut ranges: Vec<Range> = Vec::with_capacity(lists().map(Vec::len).sum());
    for &id in lists().flatten() {
        let object = &objects[id];
        // What stands for Folio in other namespaces has no addresses of its own.
        if object.kind == Kind::Interpreter && id != process.interpreter {
            continue;
        }
        let (start, end) = object.span();
        let eh_frame_header = object.placement.eh_frame_header.map_or(0, |at| object.address(at).0);
        // SAFETY: the load lock is held.
        let map = unsafe { process.state(id) }.map.address();
        ranges.push(Range {
            start: start.0 as usize,
            end: end.0 as usize,
            map,
            eh_frame_header: eh_frame_header as usize,
        });
    }
    ranges.sort_unstable_by_key(|range| range.start);
    RANGES.publish(&ranges);
}

/// The link map of the object that holds `address`, or 0.
pub fn map_at(address: usize) -> usize {
    RANGES.find(address).map_or(0, |range| range.map)
}

/// `struct dl_find_object`: flags, start, end, link map, unwinding table; then reserved words.
// SAFETY: libc's `_dl_find_object` passes on what its caller, an unwinder, gave it: a `struct dl_find_object`, 96 bytes.
pub unsafe extern "C" fn find_object(address: *mut u8, result: *mut usize) -> i32 {
    let Some(range) = RANGES.find(address.addr()) else { return -1 };
    let words = [0, range.start, range.end, range.map, range.eh_frame_header];
    // SAFETY: the caller's structure is larger than that.
    unsafe { core::ptr::copy_nonoverlapping(words.as_ptr(), result, words.len()) };
    0
}

/// `_dl_find_dso_for_object`: the link map of the object one of whose segments holds `address`, or null.
#[unsafe(no_mangle)]
extern "C" fn _dl_find_dso_for_object(address: usize) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(map_at(address))
}

/// `_dl_readonly_area` (2.42 and later): 0 if all of the area is read-only, 1 if not, 2 if no object holds it.
pub extern "C" fn readonly_area(start: usize, size: usize) -> i32 {
    const READ_ONLY: i32 = 0;
    const WRITABLE: i32 = 1;
    const NOT_AN_OBJECTS: i32 = 2;
    let process = Process::get();
    let _lock = process.lock();
    let map = core::ptr::with_exposed_provenance_mut(map_at(start));
    // SAFETY: `map_at` gives link maps of loaded objects, or null.
    let Some(id) = (unsafe { process.object_of(map) }) else { return NOT_AN_OBJECTS };
    // SAFETY: the load lock is held.
    let object = unsafe { &process.objects.get()[id] };
    let start = object.image.bias().remove(folio_elf::Addr(start as u64)).0;
    let Some(end) = start.checked_add(size as u64) else { return NOT_AN_OBJECTS };
    let relro = object.placement.relro_pages();
    let protected = relro.is_some_and(|(from, to)| from.0 <= start && end <= to.0);
    let within = |flags_writable: bool| {
        object.placement.segments.iter().any(|segment| {
            (segment.flags & folio_link::placement::PF_W != 0) == flags_writable
                && segment.start.0 <= start
                && end <= segment.end.0
        })
    };
    match (protected || within(false), within(true)) {
        (true, _) => READ_ONLY,
        (false, true) => WRITABLE,
        (false, false) => NOT_AN_OBJECTS,
    }
}
