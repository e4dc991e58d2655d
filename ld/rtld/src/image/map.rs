//! Map: carry out a placement, each segment from the one descriptor, and undo it.
//!
//! The first mapping takes the object's whole address range at an address that the kernel chooses; the others are laid
//! over it (mmap(2), `MAP_FIXED`), also where it shows what they will: valgrind counts them. What the file leaves out between
//! segments is made inaccessible.
//!
//! To lay a mapping over another costs the kernel twice as much as to make one where nothing is. So a library that is loaded
//! together with others goes right below the last of them, where the kernel would put it too, one segment beside the other
//! (`MAP_FIXED_NOREPLACE`). Where something is already, the kernel chooses.
//!
//! # Safety
//! Mappings are made only where nothing is, or inside a range that this file reserved before, so no other memory is ever
//! replaced.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr::{null_mut, with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use folio_elf::{Bias, Image, Segment, Vaddr};
use folio_link::object::Object;
use folio_link::placement::{LoadSegment, PAGE, PF_R, PF_W, PF_X, Placement};
use folio_link::{Errno, Problem};
use rustix::fd::BorrowedFd;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap};

use crate::profile::{Kind as Profiled, Span};

/// Maps the object that `placement` describes, right below `lowest`, the last mapping of the start, if there is one. Then it
/// is that itself.
pub fn map_below(lowest: &mut u64, placement: &Placement, file: BorrowedFd) -> Result<Image<'static>, Problem> {
    let _span = Span::of(Profiled::Map);
    let start = lowest.checked_sub(placement.span());
    let image = match start.and_then(|start| map_at(start, placement, file)) {
        Some(image) => image,
        None => map_over_reservation(placement, file)?,
    };
    *lowest = image.bias().apply(placement.start()).0;
    Ok(image)
}

/// Maps the object that `placement` describes.
pub fn map(placement: &Placement, file: BorrowedFd) -> Result<Image<'static>, Problem> {
    let _span = Span::of(Profiled::Map);
    map_over_reservation(placement, file)
}

/// Maps an object at `start` if nothing is there, and its segments leave no gaps.
fn map_at(start: u64, placement: &Placement, file: BorrowedFd) -> Option<Image<'static>> {
    /// The kernel aligns mappings of files as large as this for huge pages.
    const LARGE: u64 = 1 << 21;
    let has_file_parts = placement.segments.iter().all(LoadSegment::has_file_part);
    let is_plain = placement.position_independent && placement.align <= PAGE && placement.is_contiguous();
    if !is_plain || !has_file_parts || placement.span() >= LARGE {
        return None;
    }
    let mut mapped = Reservation { start, length: 0 };
    let bias = mapped.bias(placement);
    // In their order, text before data: valgrind recognises a library by it.
    for segment in &placement.segments {
        for (part, end) in [(Part::File, segment.file_pages_end()), (Part::Zeros, segment.pages_end())] {
            map_part(bias, segment, part, Some(file), MapFlags::FIXED_NOREPLACE).ok()?;
            mapped.length = (end.0 - placement.start().0) as usize;
        }
    }
    for segment in &placement.segments {
        clear_tail(bias, segment).ok()?;
    }
    core::mem::forget(mapped);
    copy_dynamic(placement, bias);
    // SAFETY: every segment of the placement was mapped just now, over its whole size.
    Some(unsafe { image_of(placement, bias) })
}

fn map_over_reservation(placement: &Placement, file: BorrowedFd) -> Result<Image<'static>, Problem> {
    let reservation = Reservation::take(placement, file)?;
    let bias = reservation.bias(placement);
    let mut previous_end = placement.segments[0].pages_end();
    for (index, segment) in placement.segments.iter().enumerate() {
        if index > 0 {
            if previous_end < segment.start {
                protect(bias, previous_end, segment.start, 0).map_err(Problem::Protect)?;
            }
            map_part(bias, segment, Part::File, Some(file), MapFlags::FIXED)?;
        }
        clear_tail(bias, segment)?;
        map_part(bias, segment, Part::Zeros, None, MapFlags::FIXED)?;
        previous_end = segment.pages_end();
    }
    core::mem::forget(reservation);
    copy_dynamic(placement, bias);
    // SAFETY: every segment of the placement was mapped just now, over its whole size.
    Ok(unsafe { image_of(placement, bias) })
}

/// The image of an object all of whose segments are mapped at `bias`.
///
/// # Safety
/// They must be, for good, with the permissions that the placement tells. What may only be executed is not read, for some
/// processors know that (x86 memory protection keys).
pub unsafe fn image_of(placement: &Placement, bias: Bias) -> Image<'static> {
    let is_read = |segment: &&LoadSegment| segment.flags & (PF_R | PF_W) != 0;
    let mut segments = Vec::with_capacity(placement.segments.iter().filter(is_read).count());
    segments.extend(placement.segments.iter().filter(is_read).map(|segment| Segment {
        start: segment.start,
        size: segment.end.0 - segment.start.0,
        memory: bias.apply(segment.start).0,
        writable: segment.flags & PF_W != 0,
    }));
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
            map_part(Bias(0), first, Part::File, Some(file), MapFlags::FIXED)?;
            return Ok(reservation);
        }
        if placement.align > PAGE || !first.has_file_part() {
            let reservation = Reservation::aligned(length, placement.align)?;
            map_part(reservation.bias(placement), first, Part::File, Some(file), MapFlags::FIXED)?;
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

/// Unmaps an object with all that was decoded from it.
///
/// # Safety
/// It is on no list, and nothing refers to its memory any more.
pub unsafe fn discard(object: Box<Object<'static>>) {
    let (start, span, image) = (object.placement.start(), object.placement.span(), object.image);
    drop(object);
    // SAFETY: the caller's promise; what was decoded from it is dropped.
    unsafe { unmap_object(start, span, image) };
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

/// What a segment's pages hold at first.
#[derive(Clone, Copy)]
enum Part {
    File,
    /// What follows the pages of the file (gABI, *Program Header*: `p_memsz` beyond `p_filesz`).
    Zeros,
}

/// Maps one part of a segment, if it has any such pages, where `fixed` says whether something may be there.
fn map_part(
    bias: Bias,
    segment: &LoadSegment,
    part: Part,
    file: Option<BorrowedFd>,
    fixed: MapFlags,
) -> Result<(), Problem> {
    let file_end = if segment.has_file_part() { segment.file_pages_end() } else { segment.start };
    let (start, end) = match part {
        Part::File => (segment.start, file_end),
        Part::Zeros => (file_end, segment.pages_end()),
    };
    if start >= end {
        return Ok(());
    }
    let at = pointer(bias.apply(start).0);
    let length = (end.0 - start.0) as usize;
    let (protection, flags) = (protection(segment.flags), MapFlags::PRIVATE | fixed);
    let failed = |errno| match part {
        Part::File => failed_map(errno),
        Part::Zeros => Problem::ZeroFill(Errno(errno.raw_os_error())),
    };
    // SAFETY: the range lies inside the object's reservation, or nothing is replaced.
    let mapped = unsafe {
        match (part, file) {
            (Part::File, Some(file)) => mmap(at, length, protection, flags, file, segment.offset),
            _ => mmap_anonymous(at, length, protection, flags),
        }
    };
    let mapped = mapped.map_err(failed)?;
    if mapped != at {
        // Kernels that do not know MAP_FIXED_NOREPLACE take it for a hint.
        let mapped = mapped.expose_provenance() as u64;
        unmap(mapped, mapped + length as u64);
        return Err(failed(rustix::io::Errno::EXIST));
    }
    Ok(())
}

/// Zeros what follows the data in the last page that the file gives.
fn clear_tail(bias: Bias, segment: &LoadSegment) -> Result<(), Problem> {
    let file_end = segment.file_pages_end();
    let tail = segment.end.min(file_end).0.saturating_sub(segment.data_end.0);
    if tail == 0 || !segment.has_file_part() {
        return Ok(());
    }
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
    Ok(())
}

/// Takes a private copy of the page that the dynamic section begins on. It is relocated in place later (*glibc
/// elf/get-dynamic-info.h*); a page that is read before it is written is first mapped and then copied, by two page faults.
pub fn copy_dynamic(placement: &Placement, bias: Bias) {
    let Some(dynamic) = placement.dynamic.filter(|_| placement.dynamic_writable && bias.0 != 0) else { return };
    let holds = |segment: &LoadSegment| {
        segment.flags & PF_W != 0 && segment.start <= dynamic.at && dynamic.at < segment.data_end
    };
    if placement.segments.iter().any(holds) {
        let byte: *const AtomicU8 = with_exposed_provenance(bias.apply(dynamic.at).0 as usize);
        // The exchange writes in any case (Intel SDM volume 2, CMPXCHG): what it finds, or the same zero.
        // SAFETY: in a writable segment that nobody uses yet.
        let _ = unsafe { &*byte }.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Changes the permissions of an object's pages to `flags` (`p_flags`).
pub fn protect(bias: Bias, start: Vaddr, end: Vaddr, flags: u32) -> Result<(), Errno> {
    let protection = MprotectFlags::from_bits_truncate(protection(flags).bits());
    let at = pointer(bias.apply(start).0);
    // SAFETY: callers pass pages of an object that is theirs; what they take away, nothing uses.
    unsafe { mprotect(at, (end.0 - start.0) as usize, protection) }.map_err(|errno| Errno(errno.raw_os_error()))
}

/// Asks for private copies of all pages from `start` on that `size` bytes reach into, which are about to be written: in one
/// call, not with a page fault each (madvise(2), `MADV_POPULATE_WRITE`). Where the kernel cannot, or the pages are not those of
/// one writable segment, page faults do it.
pub fn populate(placement: &Placement, bias: Bias, start: Vaddr, size: u64) {
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);
    let holds = |segment: &LoadSegment| {
        let pages = segment.start.0..segment.end.0;
        segment.flags & PF_W != 0 && pages.contains(&start.0) && size <= pages.end - start.0
    };
    if IS_UNKNOWN.load(Ordering::Relaxed) || !placement.segments.iter().any(holds) {
        return;
    }
    let at = pointer(bias.apply(start).0);
    // SAFETY: pages of an object that is being relocated; what they hold stays the same.
    let populated = unsafe { madvise(at, size as usize, Advice::LinuxPopulateWrite) };
    // Since Linux 5.14.
    IS_UNKNOWN.store(populated == Err(rustix::io::Errno::INVAL), Ordering::Relaxed);
}

/// Asks for the pages of memory of Folio's own that is about to be written all over, in one call.
pub fn populate_memory<T>(memory: &mut [T]) {
    let range = memory.as_mut_ptr_range();
    let start = (range.start.expose_provenance() as u64).next_multiple_of(PAGE);
    let length = (range.end.addr() as u64 / PAGE * PAGE).saturating_sub(start) as usize;
    // SAFETY: whole pages of the slice, whose content stays the same.
    let _ = unsafe { madvise(pointer(start), length, Advice::LinuxPopulateWrite) };
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

impl FileBytes {
    /// The address of the first.
    pub fn start(&self) -> u64 {
        self.start
    }
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
