//! Objects in memory as a loader would map them: each segment in an allocation of its own, so that a checker of memory sees
//! whatever reads or writes beyond one.
//!
//! # Safety
//! Allocations belong to the [`Memory`] that made them, and live as long as it does; the images that it gives out borrow it.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};

use folio_elf::{Bias, Image, Segment, Vaddr};
use folio_link::placement::{PF_W, Placement};

/// What is mapped in one run.
#[derive(Default)]
pub struct Memory {
    segments: RefCell<Vec<Box<[Segment]>>>,
    used: Cell<u64>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        for segment in self.segments.get_mut().iter().flatten() {
            let bytes = std::ptr::slice_from_raw_parts_mut(pointer(segment.memory), segment.size as usize);
            // SAFETY: `allocate` made it of a box of this size, and no image outlives `self`.
            drop(unsafe { Box::from_raw(bytes) });
        }
    }
}

impl Memory {
    /// Zeros that a small file may ask for are no cost of Folio's.
    pub const LARGEST: u64 = 1 << 20;

    /// Maps `file` as `placement` says; `None` where it is too large for this machine.
    pub fn map(&self, placement: &Placement, file: &[u8]) -> Option<Image<'_>> {
        let size = |segment: &folio_link::placement::LoadSegment| segment.end.0 - segment.start.0;
        let readable = || placement.segments.iter().filter(|segment| segment.flags != 0);
        let used = readable().map(size).try_fold(self.used.get(), u64::checked_add)?;
        if used > Self::LARGEST {
            return None;
        }
        let segments = readable().map(|segment| {
            let mut bytes = vec![0; size(segment) as usize];
            if segment.has_file_part() {
                let length = (segment.data_end.0 - segment.start.0) as usize;
                bytes[..length].copy_from_slice(&file[segment.offset as usize..][..length]);
            }
            allocate(segment.start, bytes, segment.flags & PF_W != 0)
        });
        let segments: Box<[Segment]> = segments.collect();
        self.used.set(used);
        // Nothing depends on where; no two objects are at one place.
        let bias = if placement.position_independent {
            0x7f00_0000_0000 + ((self.segments.borrow().len() as u64) << 32)
        } else {
            0
        };
        Some(self.keep(Bias(bias), segments))
    }

    /// `bytes` at address 0 on, which nobody may write.
    pub fn constant(&self, bytes: &[u8]) -> Image<'_> {
        self.keep(Bias(0), Box::new([allocate(Vaddr(0), bytes.to_vec(), false)]))
    }

    fn keep(&self, bias: Bias, segments: Box<[Segment]>) -> Image<'_> {
        let slice: *const [Segment] = &*segments;
        self.segments.borrow_mut().push(segments);
        // SAFETY: the box is not moved out of `self`, and what it points to is allocated, in these sizes, as long as `self`
        // is borrowed. Relocation may write
        // what a damaged file calls its strings; these are bytes, which are read one by one and have no value that is none.
        unsafe { Image::new(bias, &*slice) }
    }
}

fn allocate(start: Vaddr, bytes: Vec<u8>, writable: bool) -> Segment {
    let bytes = Box::leak(bytes.into_boxed_slice());
    Segment { start, size: bytes.len() as u64, memory: bytes.as_mut_ptr().expose_provenance() as u64, writable }
}

fn pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

/// A copy of what an image holds: the bytes that nobody may write, or those that relocation may write.
pub fn bytes(image: &Image<'_>, writable: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in image.segments().iter().filter(|segment| segment.writable == writable) {
        // SAFETY: images here are made by `Memory`, whose segments are allocations of these sizes; nobody writes meanwhile.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(pointer(segment.memory), segment.size as usize) });
    }
    bytes
}
