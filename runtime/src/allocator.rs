//! The arena: the memory that the dynamic linker itself uses, from its first instruction to the process' last.
//!
//! It is called where malloc must not be: before thread-local storage exists, from `__tls_get_addr` in a signal handler,
//! in the child of a fork whose other threads vanished in the middle of a call, and with no lock that libc could have
//! taken. So it has no lock and no per-thread state: each step is one compare-and-exchange, and whoever is interrupted
//! between two of them leaves at most one chunk unused.
//!
//! - Up to [`LARGEST_CHUNK`], a request is rounded up to a size class. Freed chunks of a class form a stack (Treiber,
//!   "Systems Programming: Coping with Parallelism"); its head carries a count, so that a head which was taken and put
//!   back meanwhile does not look unchanged.
//! - A class without free chunks takes from the current region. The first region is part of the arena (`.bss`), so that
//!   a small program's start maps nothing; the next ones are mapped, and never unmapped, which makes it sound to look
//!   into a chunk that somebody else takes at the same moment.
//! - Larger requests are mappings of their own, resized by mremap(2).
//!
//! # Safety
//! Chunks are handed out as raw memory; all of the bookkeeping that `unsafe` relies on is in this file.

use crate::syscall;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

const PAGE: usize = 4096;
/// The alignment that every chunk has.
const GRAIN: usize = 16;
/// Requests above this size are mappings of their own.
pub const LARGEST_CHUNK: usize = 64 * 1024;
const FIRST_REGION: usize = 64 * 1024;
const REGION: usize = 256 * 1024;
/// Sixteen classes of multiples of 16 up to 256, then sixteen for each doubling up to [`LARGEST_CHUNK`].
const CLASSES: usize = 16 + 16 * 8;
/// For alignments above [`GRAIN`]: the powers of two from 32 to [`LARGEST_CHUNK`].
const ALIGNED_CLASSES: usize = 12;

/// What serves a request; computed from the layout alone, so that chunks need no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Chunks of `size` bytes, in the free list of that index.
    Chunk { index: usize, size: usize, align: usize },
    /// A mapping of so many bytes.
    Mapping { size: usize },
}

impl Class {
    /// Most requests are small, and their class is told in a few instructions.
    #[inline(always)]
    fn of(layout: Layout) -> Option<Self> {
        let (size, align) = (layout.size(), layout.align());
        if size <= 256 && align <= GRAIN {
            let size = size.max(1).next_multiple_of(GRAIN);
            return Some(Self::Chunk { index: size / GRAIN - 1, size, align: GRAIN });
        }
        Self::of_large(layout)
    }

    #[inline(never)]
    fn of_large(layout: Layout) -> Option<Self> {
        let (size, align) = (layout.size(), layout.align());
        if size > LARGEST_CHUNK || align > PAGE {
            return Some(Self::Mapping { size: size.max(1).checked_next_multiple_of(PAGE)? });
        }
        if align > GRAIN {
            let size = size.max(align).next_power_of_two();
            let index = CLASSES + (size.trailing_zeros() as usize - 5);
            return Some(Self::Chunk { index, size, align: size.min(PAGE) });
        }
        // 2^power < size <= 2^(power + 1), cut into sixteenths.
        let power = (size - 1).ilog2() as usize;
        let sixteenth = 1 << (power - 4);
        let count = (size - (1 << power)).div_ceil(sixteenth);
        let index = 16 + (power - 8) * 16 + count - 1;
        Some(Self::Chunk { index, size: (1 << power) + count * sixteenth, align: GRAIN })
    }
}

/// A stack of free chunks. The head packs an address without its four zero bits (43 bits reach the 47 that the kernel
/// gives to user space) and, above, a count of 21 bits that each pop changes.
struct FreeList(AtomicU64);

impl FreeList {
    const COUNT_SHIFT: u32 = 43;
    const ADDRESS: u64 = (1 << Self::COUNT_SHIFT) - 1;

    fn address(head: u64) -> *mut AtomicU64 {
        ((head & Self::ADDRESS) << 4) as *mut AtomicU64
    }

    fn pop(&self) -> Option<NonNull<u8>> {
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            let chunk = NonNull::new(Self::address(head))?;
            // SAFETY: regions stay mapped, so the word can be read even if somebody else has just taken the chunk and
            // is writing into it; then the head has changed, and what was read is not used.
            let next = unsafe { chunk.as_ref() }.load(Ordering::Relaxed) & Self::ADDRESS;
            let count = (head >> Self::COUNT_SHIFT).wrapping_add(1);
            let new = next | count << Self::COUNT_SHIFT;
            match self.0.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(chunk.cast()),
                Err(seen) => head = seen,
            }
        }
    }

    fn is_empty(&self) -> bool {
        Self::address(self.0.load(Ordering::Relaxed)).is_null()
    }

    /// # Safety
    /// The chunk is of this list's class and nobody uses it any more.
    unsafe fn push(&self, chunk: *mut u8) {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: the chunk is the caller's, aligned to 16 and at least 16 bytes long.
            unsafe { &*chunk.cast::<AtomicU64>() }.store(head & Self::ADDRESS, Ordering::Relaxed);
            let new = (chunk as u64 >> 4) | head & !Self::ADDRESS;
            match self.0.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }
}

/// The beginning of a mapped region; chunks follow.
struct Region {
    /// Bytes in use, counted from the region's start.
    used: AtomicUsize,
}

/// Takes `size` bytes from the memory at `base`, of which `used` counts the bytes that are gone.
fn bump(used: &AtomicUsize, base: *mut u8, length: usize, size: usize, align: usize) -> Option<*mut u8> {
    let mut old = used.load(Ordering::Relaxed);
    loop {
        let start = (base as usize + old).next_multiple_of(align) - base as usize;
        let end = start + size;
        if end > length {
            return None;
        }
        match used.compare_exchange_weak(old, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(base.wrapping_add(start)),
            Err(seen) => old = seen,
        }
    }
}

/// Whether mappings are named from now on.
static NAMED: AtomicBool = AtomicBool::new(false);

/// Gives every mapping that follows a name, which proc_pid_maps(5) shows: glibc's for the loader's own memory, for tools know
/// that one (glibc manual, *Memory Related Tunables*, `glibc.mem.decorate_maps`).
pub fn name_mappings() {
    NAMED.store(true, Ordering::Relaxed);
}

/// Whether the kernel has refused memory.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Whether a request could not be met so far. Collections that cannot grow end the process: then this is why.
pub fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

fn map_named(length: usize) -> Option<*mut u8> {
    let Ok(start) = syscall::map_memory(length) else {
        FAILED.store(true, Ordering::Relaxed);
        return None;
    };
    if NAMED.load(Ordering::Relaxed) {
        // Kernels without such names refuse, and nobody minds.
        let _ = syscall::name_memory(start, length, c" glibc: loader malloc");
    }
    Some(start)
}

/// Memory for an [`Arena`] to begin with: zeros, so that a static one is in `.bss`.
#[repr(C, align(64))]
pub struct FirstRegion(UnsafeCell<[u8; FIRST_REGION]>);

// SAFETY: the bytes are handed out in disjoint pieces by an atomic count.
unsafe impl Sync for FirstRegion {}

impl FirstRegion {
    #[expect(clippy::new_without_default, reason = "one is made, and it is static")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; FIRST_REGION]))
    }
}

/// A `#[global_allocator]` without locks. See the module's text.
pub struct Arena {
    /// Null: the arena has not begun, and maps what it gives out.
    first: AtomicPtr<FirstRegion>,
    first_used: AtomicUsize,
    /// Null: the first region is in use.
    current: AtomicPtr<Region>,
    free: [FreeList; CLASSES + ALIGNED_CLASSES],
}

impl Arena {
    /// All of it is zero, so that a static one is in `.bss`.
    #[expect(clippy::new_without_default, reason = "one is made, and it is static")]
    pub const fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
            first_used: AtomicUsize::new(0),
            current: AtomicPtr::new(ptr::null_mut()),
            free: [const { FreeList(AtomicU64::new(0)) }; CLASSES + ALIGNED_CLASSES],
        }
    }

    /// Gives the arena the memory to begin with, which is its alone from now on.
    pub fn begin(&self, first: &'static FirstRegion) {
        self.first.store(first.0.get().cast(), Ordering::Release);
    }

    /// Of the region that was current: how many of its bytes are gone, where it is, and how long.
    #[inline(always)]
    fn region(&self, current: *mut Region) -> (&AtomicUsize, *mut u8, usize) {
        if current.is_null() {
            let first = self.first.load(Ordering::Acquire);
            return (&self.first_used, first.cast(), if first.is_null() { 0 } else { FIRST_REGION });
        }
        // SAFETY: a region that was published stays mapped.
        (unsafe { &(*current).used }, current.cast(), REGION)
    }

    /// Makes sure that so many bytes, or as many as a region has, can be had in chunks without asking the kernel: who may fail
    /// asks before it begins.
    pub fn reserve(&self, size: usize) -> bool {
        let size = size.min(REGION - size_of::<Region>());
        let current = self.current.load(Ordering::Acquire);
        let (used, _, length) = self.region(current);
        length.saturating_sub(used.load(Ordering::Relaxed)) >= size || self.open_region(current).is_some()
    }

    /// Maps a region and makes it the current one in the place of `current`, unless somebody else was faster.
    fn open_region(&self, current: *mut Region) -> Option<()> {
        let region = map_named(REGION)?;
        // SAFETY: the mapping is new, large enough, and nobody else's yet.
        unsafe { region.cast::<Region>().write(Region { used: AtomicUsize::new(size_of::<Region>()) }) };
        let published = self.current.compare_exchange(current, region.cast(), Ordering::AcqRel, Ordering::Relaxed);
        if published.is_err() {
            // SAFETY: somebody else was faster, so that nobody has seen this one.
            let _ = unsafe { syscall::unmap_memory(region, REGION) };
        }
        Some(())
    }

    /// A piece of memory that was never handed out before, hence zero.
    fn fresh(&self, size: usize, align: usize) -> Option<*mut u8> {
        loop {
            let current = self.current.load(Ordering::Acquire);
            let (used, base, length) = self.region(current);
            let piece = bump(used, base, length, size, align);
            if piece.is_some() {
                return piece;
            }
            self.open_region(current)?;
        }
    }

    /// Lets a chunk grow where it is, if it is the last one that was cut from its region.
    fn extend(&self, chunk: *mut u8, old: usize, new: usize) -> bool {
        let current = self.current.load(Ordering::Acquire);
        let (used, base, length) = self.region(current);
        let start = (chunk as usize).wrapping_sub(base as usize);
        let (Some(end), Some(longer)) = (start.checked_add(old), start.checked_add(new)) else { return false };
        longer <= length && used.compare_exchange(end, longer, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A mapping of its own. mmap(2) aligns to pages; more is had by cutting a longer mapping.
    fn map(size: usize, align: usize) -> Option<*mut u8> {
        if align <= PAGE {
            return map_named(size);
        }
        let length = size.checked_add(align)?;
        let start = map_named(length)?;
        let aligned = start.wrapping_add((start as usize).wrapping_neg() % align);
        let before = aligned as usize - start as usize;
        let after = length - before - size;
        // SAFETY: both ends belong to the mapping above and are not handed out.
        unsafe {
            if before > 0 {
                let _ = syscall::unmap_memory(start, before);
            }
            if after > 0 {
                let _ = syscall::unmap_memory(aligned.wrapping_add(size), after);
            }
        }
        Some(aligned)
    }

    /// The memory, and whether it is known to be zero.
    fn allocate(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        match Class::of(layout)? {
            Class::Mapping { size } => Some((Self::map(size, layout.align())?, true)),
            Class::Chunk { index, size, align } => match self.free[index].pop() {
                Some(chunk) => Some((chunk.as_ptr(), false)),
                None => Some((self.fresh(size, align)?, true)),
            },
        }
    }
}

// SAFETY: a chunk has the size and alignment of a class that covers its layout, belongs to one caller from `alloc` to
// `dealloc`, and nothing here unwinds.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocate(layout).map_or(ptr::null_mut(), |(memory, _)| memory)
    }

    /// Leaves fresh memory untouched: a page that nobody writes stays the kernel's page of zeros.
    // SAFETY: as `alloc`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.allocate(layout) {
            None => ptr::null_mut(),
            Some((memory, true)) => memory,
            Some((memory, false)) => {
                // SAFETY: the chunk is at least as long as its layout.
                unsafe { memory.write_bytes(0, layout.size()) };
                memory
            }
        }
    }

    // SAFETY: the trait's contract: memory of `alloc`, with its layout, given back once.
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match Class::of(layout) {
            // SAFETY: by the trait's contract the memory came from `alloc` with this layout and is given back.
            Some(Class::Chunk { index, .. }) => unsafe { self.free[index].push(memory) },
            Some(Class::Mapping { size }) => {
                // SAFETY: as above; `size` is the length that `map` gave out.
                let _ = unsafe { syscall::unmap_memory(memory, size) };
            }
            None => {}
        }
    }

    // SAFETY: as `dealloc`; the memory that is given out takes the old one's place.
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
        match (Class::of(layout), Class::of(new_layout)) {
            (Some(old), Some(new)) if old == new => memory,
            // Only while there is no free chunk that would do: what grows and is freed again and again must not take new
            // memory each time.
            (Some(Class::Chunk { size: old, .. }), Some(Class::Chunk { index, size: new, align }))
                if align == GRAIN && new > old && self.free[index].is_empty() && self.extend(memory, old, new) =>
            {
                memory
            }
            (Some(Class::Mapping { size: old }), Some(Class::Mapping { size: new })) if layout.align() <= PAGE => {
                // SAFETY: the mapping is the caller's, and the caller goes on with the address that is returned.
                unsafe { syscall::remap_memory(memory, old, new) }.unwrap_or_else(|_| {
                    FAILED.store(true, Ordering::Relaxed);
                    ptr::null_mut()
                })
            }
            _ => {
                // SAFETY: the copied bytes belong to both; the old memory came from `alloc` with the old layout.
                unsafe {
                    let new = self.alloc(new_layout);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(memory, new, layout.size().min(new_size));
                        self.dealloc(memory, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
