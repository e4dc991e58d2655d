//! Lays out the static TLS block: where each module's thread-local storage lies below the thread pointer.
//!
//! x86-64 uses variant II of the TLS ABI (psABI section 3.4.6; "ELF Handling For Thread-Local Storage", section 3): blocks grow
//! downwards from the thread pointer, and a module at offset `o` has its block at `thread pointer - o`, which must be
//! congruent to `p_vaddr` modulo `p_align`. The offsets and sizes are those that glibc gives (elf/dl-tls.c,
//! `_dl_determine_tlsoffset`; elf/dl-reloc.c, `_dl_try_allocate_static_tls`), holes that alignment leaves included, because
//! `libc.so.6`, debuggers and sanitizers read them.

use alloc::vec::Vec;
use core::fmt;

use crate::placement::{ADDRESS_LIMIT, TlsSegment};

/// The alignment that the thread control block itself needs.
const TCB_ALIGNMENT: u64 = 64;

/// Static TLS that libc and the compiler's run-time libraries use in one namespace.
const NAMESPACE_TLS: u64 = 144;

/// A module's PT_TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// `p_memsz`.
    pub size: u64,
    /// `p_align`; 0 and 1 both mean none.
    pub align: u64,
    /// `p_vaddr`, not relocated.
    pub vaddr: u64,
}

impl From<&TlsSegment> for Module {
    fn from(segment: &TlsSegment) -> Module {
        Module { size: segment.size, align: segment.align, vaddr: segment.image.0 }
    }
}

/// A TLS segment that cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// `p_align` is not a power of two.
    Alignment,
    /// The sum of all segments leaves the address space.
    Size,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alignment => "TLS segment's alignment is not a power of two",
            Self::Size => "TLS segments are too large",
        })
    }
}

/// The area for restartable sequences that glibc 2.41 and later keep below the last module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RseqArea {
    size: u64,
    align: u64,
}

impl RseqArea {
    /// The smallest area of the kernel's ABI, reserved even where `pthread.rseq=0` forbids registering it.
    pub const MINIMAL: Self = Self { size: 32, align: 32 };

    /// The area for AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN, which are 0 on kernels that do not pass them.
    pub fn new(feature_size: u64, align: u64) -> Result<Self, Error> {
        let align = align.max(Self::MINIMAL.align);
        if !align.is_power_of_two() {
            return Err(Error::Alignment);
        }
        let size = feature_size.max(Self::MINIMAL.size).checked_next_multiple_of(align).ok_or(Error::Size)?;
        Ok(Self { size, align })
    }
}

/// How much static TLS to keep for modules that `dlopen` brings later: 1664 bytes with 4 namespaces and 512 optional bytes.
///
/// Source: glibc elf/dl-tls.c, `_dl_tls_static_surplus_init`; the tunables `rtld.nns` and `rtld.optional_static_tls`.
/// `namespaces` counts those of audit modules too.
pub fn surplus(namespaces: u64, optional: u64) -> Result<u64, Error> {
    let needed = namespaces.max(1).checked_mul(2 * NAMESPACE_TLS).ok_or(Error::Size)?;
    // Each namespace has libraries and a libc; the first one's libc is counted too, which gives the historic 1664.
    needed.checked_add(optional).ok_or(Error::Size)
}

/// The layout while the modules of the start are placed.
#[derive(Clone, Debug)]
pub struct StaticLayout {
    used: u64,
    align: u64,
    /// The largest hole that alignment has left: offsets from `hole.0` up to `hole.1`.
    hole: (u64, u64),
}

impl Default for StaticLayout {
    fn default() -> Self {
        Self { used: 0, align: TCB_ALIGNMENT, hole: (0, 0) }
    }
}

impl StaticLayout {
    /// Gives a module its offset. Modules come in the order of their ids.
    pub fn place(&mut self, module: &Module) -> Result<u64, Error> {
        let align = module.alignment()?;
        let (start, end) = self.hole;
        let in_hole = module.offset_behind(start)?;
        let offset = if end - start >= module.size && in_hole <= end {
            self.hole.0 = in_hole;
            in_hole
        } else {
            let offset = module.offset_behind(self.used)?;
            // `offset_behind` is at least `used + size`, so neither difference can be negative.
            let unused = offset - module.size - self.used;
            if unused > end - start {
                self.hole = (self.used, offset - module.size);
            }
            self.used = offset;
            offset
        };
        self.align = self.align.max(align);
        Ok(offset)
    }

    /// Gives the area for restartable sequences its offset; after all modules.
    pub fn place_rseq(&mut self, area: RseqArea) -> Result<u64, Error> {
        let used = self.used.checked_next_multiple_of(area.align).and_then(|used| used.checked_add(area.size));
        self.used = used.ok_or(Error::Size)?;
        self.align = self.align.max(area.align);
        Ok(self.used)
    }

    /// Adds the surplus: the block that each thread gets from here on.
    ///
    /// `optional` is the part of it that may be spent on modules that could do without.
    pub fn finish(self, surplus: u64, optional: u64) -> Result<StaticBlock, Error> {
        let top = self.used.checked_add(surplus).and_then(|size| size.checked_next_multiple_of(self.align));
        let top = top.ok_or(Error::Size)?;
        Ok(StaticBlock { base: self.used, taken: Vec::new(), top, align: self.align, optional, surplus })
    }
}

/// Whether a module that `dlopen` brings must have static TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It has R_X86_64_TPOFF64 relocations or DF_STATIC_TLS.
    Required,
    /// It has TLS descriptors, which are faster with static TLS.
    Optional,
}

/// The static TLS block that every thread has, and what is left of its surplus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticBlock {
    /// Bytes of the modules of the start.
    base: u64,
    /// The places that were taken from the surplus, ascending.
    taken: Vec<Place>,
    top: u64,
    align: u64,
    optional: u64,
    surplus: u64,
}

/// A place in the surplus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// What lies before it ends here.
    start: u64,
    offset: u64,
}

impl StaticBlock {
    /// Bytes of all placed modules: `_dl_tls_static_used`.
    pub fn used(&self) -> u64 {
        self.taken.last().map_or(self.base, |place| place.offset)
    }

    /// Bytes below the thread pointer, the surplus included. `_dl_tls_static_size` is this and the size of `struct pthread`.
    pub fn size(&self) -> u64 {
        self.top
    }

    /// What the thread pointer must be aligned to: `_dl_tls_static_align`.
    pub fn align(&self) -> u64 {
        self.align
    }

    /// What is left for [`Demand::Optional`]: `_dl_tls_static_optional`.
    pub fn optional(&self) -> u64 {
        self.optional
    }

    /// Takes a place from the surplus; `None` when there is no room, or none that is aligned well enough.
    pub fn take(&mut self, module: &Module, demand: Demand) -> Option<u64> {
        if module.alignment().ok()? > self.align {
            return None;
        }
        let (index, place) = self.gap(module).or_else(|| {
            let place = Place { start: self.used(), offset: module.offset_behind(self.used()).ok()? };
            (place.offset <= self.top).then_some((self.taken.len(), place))
        })?;
        if demand == Demand::Optional {
            self.optional = self.optional.checked_sub(place.offset - place.start)?;
        }
        self.taken.insert(index, place);
        Some(place.offset)
    }

    /// The first place between others that a module fits into, and its number.
    fn gap(&self, module: &Module) -> Option<(usize, Place)> {
        let starts = core::iter::once(self.base).chain(self.taken.iter().map(|place| place.offset));
        let ends = self.taken.iter().map(|place| place.start);
        starts.zip(ends).enumerate().find_map(|(index, (start, end))| {
            let offset = module.offset_behind(start).ok().filter(|&offset| offset <= end)?;
            Some((index, Place { start, offset }))
        })
    }

    /// As [`take`](Self::take), where every thread there is has a block of `limit` bytes: makes the block that threads get from
    /// here on as large as it takes, and keeps the surplus behind it where there is room.
    pub fn take_within(&mut self, limit: u64, module: &Module, demand: Demand) -> Option<u64> {
        if self.gap(module).is_some() {
            return self.take(module, demand);
        }
        let end = module.offset_behind(self.used()).ok().filter(|&end| end <= limit)?;
        let top = end.checked_add(self.surplus)?.checked_next_multiple_of(self.align)?;
        let before = self.top;
        self.top = before.max(top.min(limit));
        let taken = self.take(module, demand);
        if taken.is_none() {
            self.top = before;
        }
        taken
    }

    /// Gives a place back that [`take`](Self::take) gave. (glibc can use it again only if nothing was taken after it.)
    pub fn give_back(&mut self, offset: u64) {
        self.taken.retain(|place| place.offset != offset);
    }
}

impl Module {
    /// Whether a block for it can be had at all.
    pub fn check(&self) -> Result<(), Error> {
        let end = self.offset_behind(0)?;
        if end.max(self.alignment()?) < ADDRESS_LIMIT { Ok(()) } else { Err(Error::Size) }
    }

    fn alignment(&self) -> Result<u64, Error> {
        let align = self.align.max(1);
        if align.is_power_of_two() { Ok(align) } else { Err(Error::Alignment) }
    }

    /// The smallest offset whose block lies wholly behind the first `used` bytes and is aligned as the segment is.
    fn offset_behind(&self, used: u64) -> Result<u64, Error> {
        let mask = self.alignment()? - 1;
        let end = used.checked_add(self.size).ok_or(Error::Size)?;
        // The block is at thread pointer - offset, so offset and -p_vaddr must be congruent.
        let padding = self.vaddr.wrapping_neg().wrapping_sub(end) & mask;
        end.checked_add(padding).ok_or(Error::Size)
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
