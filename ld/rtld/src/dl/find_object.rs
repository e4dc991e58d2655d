//! `_dl_find_object`: which object holds an address, for unwinders (*glibc elf/dl-find_object.c*).
//!
//! Every C++ throw asks, also in signal handlers and while another thread loads or unloads: no lock is taken. Readers
//! search a sorted table under a sequence counter; whoever changes it holds the load lock and makes the counter odd meanwhile.
//!
//! # Safety
//! The table consists of atomic words, so a reader that races with a change reads nonsense at worst, notices by the
//! counter, and reads again. Tables that were outgrown are kept, for readers that may still look at them.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

use folio_link::object::Kind;

use crate::process::Process;

/// One object's range, link map, and unwinding table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
    map: usize,
    eh_frame_header: usize,
}

#[derive(Default)]
struct Row([AtomicUsize; 4]);

impl Row {
    fn load(&self) -> Range {
        let [start, end, map, eh_frame_header] = &self.0;
        Range {
            start: start.load(Ordering::Relaxed),
            end: end.load(Ordering::Relaxed),
            map: map.load(Ordering::Relaxed),
            eh_frame_header: eh_frame_header.load(Ordering::Relaxed),
        }
    }

    fn store(&self, range: Range) {
        let words = [range.start, range.end, range.map, range.eh_frame_header];
        for (field, word) in self.0.iter().zip(words) {
            field.store(word, Ordering::Relaxed);
        }
    }
}

struct Table {
    rows: Box<[Row]>,
}

static SEQUENCE: AtomicUsize = AtomicUsize::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static TABLE: AtomicPtr<Table> = AtomicPtr::new(core::ptr::null_mut());

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

    // SAFETY: tables are never freed.
    let current = unsafe { TABLE.load(Ordering::Relaxed).as_ref() };
    let table = match current {
        Some(table) if table.rows.len() >= ranges.len() => table,
        _ => {
            let capacity = (ranges.len() * 2).max(32);
            Box::leak(Box::new(Table { rows: (0..capacity).map(|_| Row::default()).collect() }))
        }
    };
    SEQUENCE.fetch_add(1, Ordering::Relaxed);
    fence(Ordering::Release);
    for (row, range) in table.rows.iter().zip(&ranges) {
        row.store(*range);
    }
    TABLE.store((&raw const *table).cast_mut(), Ordering::Relaxed);
    LENGTH.store(ranges.len(), Ordering::Relaxed);
    SEQUENCE.fetch_add(1, Ordering::Release);
}

/// The range that holds `address`.
fn find(address: usize) -> Option<Range> {
    loop {
        let before = SEQUENCE.load(Ordering::Acquire);
        // SAFETY: tables are never freed.
        let table = unsafe { TABLE.load(Ordering::Relaxed).as_ref() }?;
        let length = LENGTH.load(Ordering::Relaxed);
        let found = search(&table.rows[..length.min(table.rows.len())], address);
        fence(Ordering::Acquire);
        if before.is_multiple_of(2) && SEQUENCE.load(Ordering::Relaxed) == before {
            return found;
        }
        core::hint::spin_loop();
    }
}

fn search(rows: &[Row], address: usize) -> Option<Range> {
    let after = rows.partition_point(|row| row.0[0].load(Ordering::Relaxed) <= address);
    let range = rows.get(after.checked_sub(1)?)?.load();
    (address < range.end).then_some(range)
}

/// The link map of the object that holds `address`, or 0.
pub fn map_at(address: usize) -> usize {
    find(address).map_or(0, |range| range.map)
}

/// `struct dl_find_object`: flags, start, end, link map, unwinding table; then reserved words.
///
/// # Safety
/// `result` is a structure of 96 bytes of the caller's.
pub unsafe extern "C" fn find_object(address: *mut u8, result: *mut usize) -> i32 {
    let Some(range) = find(address.addr()) else { return -1 };
    let words = [0, range.start, range.end, range.map, range.eh_frame_header];
    // SAFETY: callers pass a structure of 96 bytes of their own.
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
