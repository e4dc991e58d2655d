//! The sorted table of all objects' ranges, which is read without a lock while it changes.
//!
//! Readers search under a sequence counter (Lameter, "Effective synchronization on Linux/NUMA systems"; Boehm, "Can
//! Seqlocks Get Along With Programming Language Memory Models?"): it is odd during a change, and who has seen it change
//! searches again.
//!
//! # Safety
//! The table consists of atomic words, so a reader that races with a change reads nonsense at worst. Tables that were
//! outgrown are kept, for readers that may still look at them; each is twice as large as its objects need, so that all of them
//! together are no larger than the last one.

use alloc::boxed::Box;

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, fence, spin_loop};

/// One object's range, link map, and unwinding table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub start: usize,
    pub end: usize,
    pub map: usize,
    pub eh_frame_header: usize,
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

/// The ranges. No table has fewer than `SMALLEST` rows.
#[derive(Debug)]
pub struct Ranges<const SMALLEST: usize> {
    sequence: AtomicUsize,
    length: AtomicUsize,
    table: AtomicPtr<Table>,
}

impl<const SMALLEST: usize> Ranges<SMALLEST> {
    pub const fn new() -> Self {
        Self {
            sequence: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            table: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Makes the table say `ranges`, which are sorted. One thread at a time publishes.
    pub fn publish(&self, ranges: &[Range]) {
        // SAFETY: tables are never freed.
        let current = unsafe { self.table.load(Ordering::Relaxed).as_ref() };
        let table = match current {
            Some(table) if table.rows.len() >= ranges.len() => table,
            _ => {
                let capacity = (ranges.len() * 2).max(SMALLEST);
                Box::leak(Box::new(Table { rows: (0..capacity).map(|_| Row::default()).collect() }))
            }
        };
        self.sequence.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (row, range) in table.rows.iter().zip(ranges) {
            row.store(*range);
        }
        self.table.store((&raw const *table).cast_mut(), Ordering::Relaxed);
        self.length.store(ranges.len(), Ordering::Relaxed);
        self.sequence.fetch_add(1, Ordering::Release);
    }

    /// The range that holds `address`.
    pub fn find(&self, address: usize) -> Option<Range> {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            // What this reads of a new table was written before the fence in `publish`.
            // SAFETY: tables are never freed.
            let table = unsafe { self.table.load(Ordering::Acquire).as_ref() }?;
            let length = self.length.load(Ordering::Relaxed);
            let found = search(&table.rows[..length.min(table.rows.len())], address);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return found;
            }
            spin_loop();
        }
    }
}

fn search(rows: &[Row], address: usize) -> Option<Range> {
    let after = rows.partition_point(|row| row.0[0].load(Ordering::Relaxed) <= address);
    let range = rows.get(after.checked_sub(1)?)?.load();
    (address < range.end).then_some(range)
}
