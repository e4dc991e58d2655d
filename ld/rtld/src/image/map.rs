//! Map: carry out a placement, each segment from the one descriptor, and undo it.
//!
//! The first mapping takes the object's whole address range at an address that the kernel chooses; the others are laid
//! over it (mmap(2), `MAP_FIXED`). What the file leaves out between segments is made inaccessible.
//!
//! # Safety
//! Mappings are made only inside a range that this file reserved before, so no other memory is ever replaced.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr::{null_mut, with_exposed_provenance_mut};

use folio_elf::{Bias, Image, Segment, Vaddr};
use folio_link::placement::{LoadSegment, PAGE, PF_R, PF_W, PF_X, Placement};
use folio_link::{Errno, Problem};
use rustix::fd::BorrowedFd;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use crate::profile::{Kind as Profiled, Span};

/// Maps the object that `placement` describes.
pub fn map(placement: &Placement, file: BorrowedFd) -> Result<Image<'static>, Problem> {
    let _span = Span::of(Profiled::Map);
    let reservation = Reservation::take(placement, file)?;
    let bias = reservation.bias(placement);
    let mut previous_end = placement.segments[0].pages_end();
    for (index, segment) in placement.segments.iter().enumerate() {
        if index > 0 {
            if previous_end < segment.start {
                protect(bias, previous_end, segment.start, 0).map_err(Problem::Protect)?;
            }
            map_file_pages(bias, segment, file)?;
        }
        zero_fill(bias, segment)?;
        previous_end = segment.pages_end();
    }
    core::mem::forget(reservation);
    // SAFETY: every segment of the placement was mapped just now, over its whole size.
    Ok(unsafe { image_of(placement, bias) })
}

/// The image of an object all of whose segments are mapped at `bias`.
///
/// # Safety
/// They must be, for good, with the permissions that the placement tells. What may only be executed is not read, for some
/// processors know that (x86 memory protection keys).
pub unsafe fn image_of(placement: &Placement, bias: Bias) -> Image<'static> {
    let segments: Vec<Segment> = placement
        .segments
        .iter()
        .filter(|segment| segment.flags & (PF_R | PF_W) != 0)
        .map(|segment| Segment {
            start: segment.start,
            size: segment.end.0 - segment.start.0,
            memory: bias.apply(segment.start).0,
            writable: segment.flags & PF_W != 0,
        })
        .collect();
    // SAFETY: the caller promises that the segments are there, and stay.
    unsafe { Image::new(bias, Box::leak(segments.into_boxed_slice())) }
}

/// The same image, all of whose segments may be written: for the duration of text relocation only.
///
/// # Safety
/// The segments must have been made writable.
pub unsafe fn writable_image(image: &Image<'static>) -> Image<'static> {
    let segments: Vec<Segment> =
        image.segments().iter().map(|segment| Segment { writable: true, ..*segment }).collect();
    // SAFETY: the memory is that of `image`; writability is the caller's promise.
    unsafe { Image::new(image.bias(), Box::leak(segments.into_boxed_slice())) }
}

/// An address range that belongs to the object being mapped; given back when mapping fails.
struct Reservation {
    start: u64,
    length: usize,
}

impl Reservation {
    /// Maps the first segment's file pages over the object's whole range.
    fn take(placement: &Placement, file: BorrowedFd) -> Result<Reservation, Problem> {
        let first = &placement.segments[0];
        let length = placement.span() as usize;
        let fixed = !placement.position_independent;
        if fixed {
            let mut flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE;
            let wanted = pointer(placement.start().0);
            // SAFETY: FIXED_NOREPLACE replaces nothing.
            let start = unsafe { mmap_anonymous(wanted, length, ProtFlags::empty(), flags) }.map_err(failed_map)?;
            let reservation = Reservation { start: start.expose_provenance() as u64, length };
            flags.remove(MapFlags::NORESERVE);
            if start != wanted {
                return Err(Problem::Map(Errno(17)));
            }
            map_file_pages(Bias(0), first, file)?;
            return Ok(reservation);
        }
        if placement.align > PAGE || !first.has_file_part() {
            let reservation = Reservation::aligned(length, placement.align)?;
            map_file_pages(reservation.bias(placement), first, file)?;
            return Ok(reservation);
        }
        let hint = null_mut();
        // SAFETY: without FIXED, the kernel takes unused addresses.
        let start = unsafe { mmap(hint, length, protection(first.flags), MapFlags::PRIVATE, file, first.offset) }
            .map_err(failed_map)?;
        let reservation = Reservation { start: start.expose_provenance() as u64, length };
        let bias = reservation.bias(placement);
        let end = Vaddr(placement.start().0 + length as u64);
        // A lone segment that zeros continue, and the tail of what the file does not give: no file pages there.
        if placement.segments.len() == 1 && first.file_pages_end() < end {
            protect(bias, first.file_pages_end(), end, 0).map_err(Problem::Protect)?;
        }
        Ok(reservation)
    }

    /// An inaccessible range whose start is a multiple of `align`.
    fn aligned(length: usize, align: u64) -> Result<Reservation, Problem> {
        let padded = length.checked_add(align as usize).ok_or(Problem::Map(Errno::ENOMEM))?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: without FIXED, the kernel takes unused addresses.
        let all = unsafe { mmap_anonymous(null_mut(), padded, ProtFlags::empty(), flags) }.map_err(failed_map)?;
        let all = all.expose_provenance() as u64;
        let start = all.next_multiple_of(align);
        let end = start + length as u64;
        unmap(all, start);
        unmap(end, all + padded as u64);
        Ok(Reservation { start, length })
    }

    fn bias(&self, placement: &Placement) -> Bias {
        Bias(self.start.wrapping_sub(placement.start().0))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        unmap(self.start, self.start + self.length as u64);
    }
}

/// Gives a range back that nothing refers to any more.
fn unmap(start: u64, end: u64) {
    if start < end {
        // SAFETY: callers pass ranges of their own reservation that nobody has seen yet, or has any use for.
        let _ = unsafe { munmap(pointer(start), (end - start) as usize) };
    }
}

/// Unmaps a whole object, which spans `span` bytes from `start` on.
///
/// # Safety
/// Nothing may refer to its memory any more, nor to the segments of an image that [`map`] made.
pub unsafe fn unmap_object(start: Vaddr, span: u64, image: Image<'static>) {
    let start = image.bias().apply(start).0;
    unmap(start, start + span);
    let segments: *const [Segment] = image.segments();
    // SAFETY: the box that `image_of` leaked.
    drop(unsafe { Box::from_raw(segments.cast_mut()) });
}

/// Maps the pages that the file gives over their place in the reservation.
fn map_file_pages(bias: Bias, segment: &LoadSegment, file: BorrowedFd) -> Result<(), Problem> {
    if !segment.has_file_part() {
        return Ok(());
    }
    let at = pointer(bias.apply(segment.start).0);
    let length = (segment.file_pages_end().0 - segment.start.0) as usize;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the range lies inside the object's reservation.
    unsafe { mmap(at, length, protection(segment.flags), flags, file, segment.offset) }.map_err(failed_map)?;
    Ok(())
}

/// Zeros what follows a segment's file part (gABI, *Program Header*: `p_memsz` beyond `p_filesz`).
fn zero_fill(bias: Bias, segment: &LoadSegment) -> Result<(), Problem> {
    if segment.end == segment.data_end {
        return Ok(());
    }
    let file_end = segment.file_pages_end();
    let tail = segment.end.min(file_end).0.saturating_sub(segment.data_end.0) as usize;
    if tail > 0 && segment.has_file_part() {
        let writable = segment.flags & PF_W != 0;
        let page = Vaddr(segment.data_end.0 / PAGE * PAGE);
        if !writable {
            protect(bias, page, file_end, PF_R | PF_W).map_err(Problem::Protect)?;
        }
        // The rest of the page, not just of the segment: glibc elf/dl-map-segments.h clears it all.
        let length = (file_end.0 - segment.data_end.0) as usize;
        let at: *mut u8 = with_exposed_provenance_mut(bias.apply(segment.data_end).0 as usize);
        // SAFETY: from the end of the file's data to the end of its last page, mapped privately and writable just now.
        unsafe { at.write_bytes(0, length) };
        if !writable {
            protect(bias, page, file_end, segment.flags).map_err(Problem::Protect)?;
        }
    }
    let start = if segment.has_file_part() { file_end } else { segment.start };
    if start < segment.pages_end() {
        let length = (segment.pages_end().0 - start.0) as usize;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        let at = pointer(bias.apply(start).0);
        // SAFETY: the range lies inside the object's reservation.
        unsafe { mmap_anonymous(at, length, protection(segment.flags), flags) }
            .map_err(|errno| Problem::ZeroFill(Errno(errno.raw_os_error())))?;
    }
    Ok(())
}

/// Changes the permissions of an object's pages to `flags` (`p_flags`).
pub fn protect(bias: Bias, start: Vaddr, end: Vaddr, flags: u32) -> Result<(), Errno> {
    let protection = MprotectFlags::from_bits_truncate(protection(flags).bits());
    let at = pointer(bias.apply(start).0);
    // SAFETY: callers pass pages of an object that is theirs; what they take away, nothing uses.
    unsafe { mprotect(at, (end.0 - start.0) as usize, protection) }.map_err(|errno| Errno(errno.raw_os_error()))
}

fn protection(flags: u32) -> ProtFlags {
    let mut protection = ProtFlags::empty();
    protection.set(ProtFlags::READ, flags & PF_R != 0);
    protection.set(ProtFlags::WRITE, flags & PF_W != 0);
    protection.set(ProtFlags::EXEC, flags & PF_X != 0);
    protection
}

fn pointer(address: u64) -> *mut c_void {
    with_exposed_provenance_mut(address as usize)
}

fn failed_map(errno: rustix::io::Errno) -> Problem {
    Problem::Map(Errno(errno.raw_os_error()))
}

/// The first `length` bytes of a file, as the page cache has them; they may change when the file does.
pub fn file_bytes(file: BorrowedFd, length: usize) -> Option<FileBytes> {
    // SAFETY: without FIXED, the kernel takes unused addresses.
    let start = unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }.ok()?;
    Some(FileBytes { start: start.expose_provenance() as u64, length })
}

/// A file in memory, for as long as this value lives.
#[derive(Debug)]
pub struct FileBytes {
    start: u64,
    length: usize,
}

impl core::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start: *const u8 = with_exposed_provenance_mut(self.start as usize);
        // SAFETY: mapped by `file_bytes`, readable, and not unmapped before this value is dropped; the files read so are
        // replaced by rename(2), not written to.
        unsafe { core::slice::from_raw_parts(start, self.length) }
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        unmap(self.start, self.start + self.length as u64);
    }
}
