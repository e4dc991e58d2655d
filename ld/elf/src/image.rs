//! The only way to read or write an object's memory.
//!
//! An [`Image`] is a set of segments: runs of link-time addresses whose bytes lie somewhere in this process, be that the
//! object's own mapping, a file read into memory, or a test's vector. Records are copied out, after a bounds check,
//! and stores are by width. References are handed out for strings only, which nobody writes.
//!
//! # Safety
//! Memory behind an image is reached by address. [`Image::new`] is where its maker vouches for those addresses; all else
//! here is a bounds check followed by a copy of plain old data, or instructions that every processor of the kind has.
#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::{
    _MM_HINT_T0, _mm_and_si128, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32,
    _mm_prefetch, _mm_set1_epi32,
};
use core::fmt;
use core::marker::PhantomData;
use core::mem::size_of;

use goblin::elf64;

use crate::address::{Bias, Vaddr};
use crate::set_bits::SetBits;

/// Types for which every bit pattern is a value, and which hold no padding.
///
/// # Safety
/// Implementors promise both.
pub unsafe trait Pod: Copy {}

macro_rules! pod {
    ($($type:ty),* $(,)?) => {
        // SAFETY: integers and `repr(C)` records of integers without padding (gABI, data representation).
        $(unsafe impl Pod for $type {})*
    };
}

pod!(
    u8,
    u16,
    u32,
    u64,
    [u32; 4],
    elf64::dynamic::Dyn,
    elf64::header::Header,
    elf64::program_header::ProgramHeader,
    elf64::reloc::Rela,
    elf64::sym::Sym,
);

/// A run of an object's link-time addresses and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// First link-time address.
    pub start: Vaddr,
    /// Length in bytes of what may be read.
    pub size: u64,
    /// Address in this process of the first byte.
    pub memory: u64,
    /// Whether stores are allowed.
    pub writable: bool,
}

/// A run of bytes of an image.
#[derive(Clone, Copy)]
struct Place {
    /// Address in this process.
    memory: u64,
    /// All of it may be written, or none of it.
    writable: bool,
    constant: bool,
}

/// An object's memory.
#[derive(Clone, Copy, Debug)]
pub struct Image<'m> {
    bias: Bias,
    segments: &'m [Segment],
}

impl<'m> Image<'m> {
    /// An image of `segments`.
    ///
    /// # Safety
    /// For all of `'m`, each segment's memory must be readable over its whole size and, where it says so, writable; and
    /// memory that holds the object's string tables must not change.
    pub unsafe fn new(bias: Bias, segments: &'m [Segment]) -> Image<'m> {
        Image { bias, segments }
    }

    /// An image over a file's bytes: segments whose memory leaves `file` are dropped from the front of `storage`'s use.
    ///
    /// Each program header of type `PT_LOAD` becomes a segment of its file size, cut to what the file holds; nothing may be
    /// stored through it. `storage` bounds how many are taken.
    pub fn of_file(
        file: &'m [u8],
        headers: impl Iterator<Item = elf64::program_header::ProgramHeader>,
        storage: &'m mut [Segment],
    ) -> Image<'m> {
        let mut used = 0;
        for header in headers.filter(|header| header.p_type == elf64::program_header::PT_LOAD) {
            let Some(bytes) = usize::try_from(header.p_offset).ok().and_then(|offset| file.get(offset..)) else {
                continue;
            };
            let Some(slot) = storage.get_mut(used) else {
                break;
            };
            *slot = Segment {
                start: Vaddr(header.p_vaddr),
                size: header.p_filesz.min(bytes.len() as u64),
                memory: bytes.as_ptr().expose_provenance() as u64,
                writable: false,
            };
            used += 1;
        }
        Image { bias: Bias(0), segments: &storage[..used] }
    }

    pub fn bias(&self) -> Bias {
        self.bias
    }

    pub fn segments(&self) -> &'m [Segment] {
        self.segments
    }

    /// The segment that holds `at`, and how far into it that is. A damaged file's segment may wrap around.
    #[inline]
    fn segment(&self, at: Vaddr) -> Option<(&'m Segment, u64)> {
        self.segments.iter().find_map(|segment| {
            let into = at.0.wrapping_sub(segment.start.0);
            (into < segment.size).then_some((segment, into))
        })
    }

    /// Where the `length` bytes at `at` are, if one segment holds them all, or several that follow each other without a gap.
    #[inline]
    fn locate(&self, at: Vaddr, length: u64) -> Option<Place> {
        let (segment, into) = self.segment(at)?;
        let memory = segment.memory + into;
        if length <= segment.size - into {
            return Some(Place { memory, writable: segment.writable, constant: !segment.writable });
        }
        let (reach, place) = self.run(segment, into.checked_add(length)?);
        (length <= reach - into).then_some(Place { memory, ..place })
    }

    /// How many bytes there are from the start of `segment` on, in it and in as many of those that follow it without a gap as
    /// `wanted` takes; and what they are. Tools that edit files put segments in front, and tables that reach from one into the
    /// next.
    #[cold]
    fn run(&self, segment: &Segment, wanted: u64) -> (u64, Place) {
        let mut reach = segment.size;
        let mut place = Place { memory: segment.memory, writable: segment.writable, constant: !segment.writable };
        // They stand in ascending order (gABI, *Program Header*): one pass finds them all.
        let mut others = self.segments.iter();
        while reach < wanted {
            let (start, memory) = (segment.start.0.checked_add(reach), segment.memory.checked_add(reach));
            let follows = |next: &&Segment| Some(next.start.0) == start && Some(next.memory) == memory && next.size > 0;
            let Some(next) = others.find(follows) else { break };
            reach = reach.saturating_add(next.size);
            place.writable &= next.writable;
            place.constant &= !next.writable;
        }
        (reach, place)
    }

    /// A copy of the record at `at`.
    #[inline]
    pub fn read<T: Pod>(&self, at: Vaddr) -> Option<T> {
        let place = self.locate(at, size_of::<T>() as u64)?;
        // SAFETY: `locate` found all bytes inside readable segments (promise of `new`), and T is Pod.
        Some(unsafe { pointer::<T>(place.memory).read_unaligned() })
    }

    /// Stores `value` at `at`; `None` where nothing may be written.
    #[inline]
    pub fn store<T: Pod>(&self, at: Vaddr, value: T) -> Option<()> {
        let place = self.locate(at, size_of::<T>() as u64).filter(|place| place.writable)?;
        // SAFETY: `locate` found all bytes inside segments that their maker called writable (promise of `new`).
        unsafe { pointer::<T>(place.memory).write_unaligned(value) };
        Some(())
    }

    /// Copies `length` bytes at `from` of `source` to `to` of this image (`R_X86_64_COPY`).
    pub fn copy_from(&self, to: Vaddr, source: &Image, from: Vaddr, length: u64) -> Option<()> {
        // A symbol without a size may lie at the very end of its segment, where no byte is.
        if length == 0 {
            return Some(());
        }
        let target = self.locate(to, length).filter(|place| place.writable)?.memory;
        let origin = source.locate(from, length)?.memory;
        // SAFETY: both runs lie inside their segments, the target's being writable; `copy` allows overlap.
        unsafe { core::ptr::copy(pointer::<u8>(origin), pointer::<u8>(target), length as usize) };
        Some(())
    }

    /// `count` records at `at`.
    pub fn table<T: Pod>(&self, at: Vaddr, count: u64) -> Option<Table<'m, T>> {
        let length = count.checked_mul(size_of::<T>() as u64)?;
        if count == 0 {
            return Some(Table::EMPTY);
        }
        let memory = self.locate(at, length)?.memory;
        Some(Table { memory, count: count as usize, records: PhantomData })
    }

    /// All whole records from `at` to the end of its segment, and of those that follow it without a gap: for tables that do not
    /// say their own size.
    pub fn table_to_end<T: Pod>(&self, at: Vaddr) -> Option<Table<'m, T>> {
        let (segment, into) = self.segment(at)?;
        let (reach, _) = self.run(segment, u64::MAX);
        self.table(at, (reach - into) / size_of::<T>() as u64)
    }

    /// The string table of `length` bytes at `at`.
    pub fn strings(&self, at: Vaddr, length: u64) -> Option<Strings<'m>> {
        let memory = self.locate(at, length)?.memory;
        // SAFETY: `locate` found all bytes inside the segments, and `new` promises that string tables do not change.
        let bytes = unsafe { core::slice::from_raw_parts(pointer::<u8>(memory), length as usize) };
        Some(Strings { bytes })
    }

    /// The `length` bytes at `at`, if nobody may write them.
    pub fn constant_bytes(&self, at: Vaddr, length: u64) -> Option<&'m [u8]> {
        let memory = self.locate(at, length).filter(|place| place.constant)?.memory;
        // SAFETY: inside readable segments that are mapped without write permission.
        Some(unsafe { core::slice::from_raw_parts(pointer::<u8>(memory), length as usize) })
    }
}

impl<'m> Image<'m> {
    /// A cursor for many reads and stores that lie near each other.
    pub fn writer(&self) -> Writer<'m> {
        Writer { image: *self, current: Segment { start: Vaddr(0), size: 0, memory: 0, writable: false } }
    }
}

/// Reads and stores of an image, remembering the segment of the last one.
#[derive(Debug)]
pub struct Writer<'m> {
    image: Image<'m>,
    current: Segment,
}

impl Writer<'_> {
    /// The address in this process of `length` writable bytes at `at`.
    #[inline(always)]
    fn locate(&mut self, at: Vaddr, length: u64) -> Option<u64> {
        let into = at.0.wrapping_sub(self.current.start.0);
        if into < self.current.size && length <= self.current.size - into {
            return Some(self.current.memory + into);
        }
        self.locate_anew(at, length)
    }

    #[cold]
    fn locate_anew(&mut self, at: Vaddr, length: u64) -> Option<u64> {
        let (segment, into) = self.image.segment(at)?;
        if !segment.writable || length > segment.size - into {
            return None;
        }
        self.current = *segment;
        Some(segment.memory + into)
    }

    /// A copy of the record at `at`, which must be writable memory.
    #[inline(always)]
    pub fn read<T: Pod>(&mut self, at: Vaddr) -> Option<T> {
        let address = self.locate(at, size_of::<T>() as u64)?;
        // SAFETY: `locate` found all bytes inside one segment of the image, and T is Pod.
        Some(unsafe { pointer::<T>(address).read_unaligned() })
    }

    /// Stores `value` at `at`; `None` where nothing may be written.
    #[inline(always)]
    pub fn store<T: Pod>(&mut self, at: Vaddr, value: T) -> Option<()> {
        let address = self.locate(at, size_of::<T>() as u64)?;
        // SAFETY: `locate` found all bytes inside one segment of the image that its maker called writable.
        unsafe { pointer::<T>(address).write_unaligned(value) };
        Some(())
    }

    /// Adds to the word at `at`; `None` where nothing may be written.
    #[inline(always)]
    pub fn add(&mut self, at: Vaddr, amount: u64) -> Option<()> {
        let address = self.locate(at, 8)?;
        // SAFETY: `locate` found eight bytes inside one segment of the image that its maker called writable.
        unsafe { add(address, amount) };
        Some(())
    }

    /// Adds to each word that a `DT_RELR` table marks ([`relr`](crate::relocation::relr)); `None` where one may not be written.
    pub fn add_packed(&mut self, table: Table<u64>, amount: u64) -> Option<()> {
        let mut next = Vaddr(0);
        for word in table.iter() {
            if word & 1 == 0 {
                self.add(Vaddr(word), amount)?;
                next = Vaddr(word.wrapping_add(8));
                continue;
            }
            let (base, mut marked) = (next, SetBits(word >> 1));
            next = Vaddr(base.0.wrapping_add(63 * 8));
            match self.locate(base, 63 * 8) {
                // SAFETY: `locate` found all 63 words inside one segment of the image that its maker called writable.
                Some(address) => marked.for_each(|bit| unsafe { add(address + 8 * u64::from(bit), amount) }),
                None => marked.try_for_each(|bit| self.add(Vaddr(base.0.wrapping_add(8 * u64::from(bit))), amount))?,
            }
        }
        Some(())
    }

    /// Stores B + A for each record at the front of `table` that is an `R_X86_64_RELATIVE`, and gives how many there were;
    /// `None` where one's place may not be written.
    ///
    /// Most relocations of a large library are of this kind, one after the other in one segment: the loop does nothing but
    /// read a record, compare its kind and its place, and store.
    pub fn store_relative(&mut self, table: Table<elf64::reloc::Rela>) -> Option<usize> {
        /// How many bytes ahead the processor fetches: by itself it stops at the end of each page of the table.
        const AHEAD: u64 = 1536;
        const SIZE: u64 = size_of::<elf64::reloc::Rela>() as u64;
        let bias = self.image.bias.0;
        let (mut at, end) = (table.memory, table.memory + table.count as u64 * SIZE);
        'segments: while at < end {
            let (start, memory) = (self.current.start.0, self.current.memory);
            // Places below this are followed by eight bytes of the segment.
            let reach = self.current.size.saturating_sub(7);
            while at < end {
                // SAFETY: a record of the table, whose maker checked them all.
                let record = unsafe { pointer::<elf64::reloc::Rela>(at).read_unaligned() };
                if record.r_info as u32 != elf64::reloc::R_X86_64_RELATIVE {
                    break 'segments;
                }
                let into = record.r_offset.wrapping_sub(start);
                if into >= reach {
                    self.locate_anew(Vaddr(record.r_offset), 8)?;
                    break;
                }
                let value = bias.wrapping_add_signed(record.r_addend);
                // SAFETY: eight bytes inside the current segment, which is writable.
                unsafe { pointer::<u64>(memory + into).write_unaligned(value) };
                fetch_ahead(at + AHEAD);
                at += SIZE;
            }
        }
        Some(((at - table.memory) / SIZE) as usize)
    }
}

/// Adds to a word, in one instruction: one that is read before it is written takes two page faults where nobody touched the page
/// yet, one to see the file's page, and one for a copy.
///
/// # Safety
/// The eight bytes at `address` are mapped memory that may be written.
#[inline(always)]
unsafe fn add(address: u64, amount: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("add qword ptr [{}], {}", in(reg) address, in(reg) amount, options(nostack)) };
}

/// A pointer to mapped memory, by its address.
#[inline(always)]
fn pointer<T>(address: u64) -> *mut T {
    core::ptr::with_exposed_provenance_mut(address as usize)
}

/// Has the processor fetch a value into its cache while other work goes on.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    fetch_ahead((&raw const *value).addr() as u64);
}

#[inline(always)]
fn fetch_ahead(address: u64) {
    // SAFETY: a hint, which does nothing where there is no memory (Intel SDM volume 2, PREFETCHh).
    unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer(address)) };
}

/// An array of records in an object's memory, copied out one at a time.
pub struct Table<'m, T> {
    memory: u64,
    count: usize,
    records: PhantomData<&'m [T]>,
}

impl<T> Clone for Table<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Table<'_, T> {}

impl<T> fmt::Debug for Table<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Table({} at {:#x})", self.count, self.memory)
    }
}

impl<'m, T: Pod> Table<'m, T> {
    pub const EMPTY: Table<'m, T> = Table { memory: 0, count: 0, records: PhantomData };

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Address in this process of the first record.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<T> {
        if index >= self.count {
            return None;
        }
        let address = self.memory + (index * size_of::<T>()) as u64;
        // SAFETY: the table's maker checked `count` whole records, and `index` is below it.
        Some(unsafe { pointer::<T>(address).read_unaligned() })
    }

    /// Has the processor fetch the record of this number, if there is one, while other work goes on.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        if index < self.count {
            let start = self.memory + (index * size_of::<T>()) as u64;
            fetch_ahead(start);
            // Records of 24 bytes lie across two lines of the cache as often as not.
            if size_of::<T>() > 8 {
                fetch_ahead(start + size_of::<T>() as u64 - 1);
            }
        }
    }

    /// The records from `start` on.
    pub fn skip(&self, start: usize) -> Table<'m, T> {
        let start = start.min(self.count);
        Table { memory: self.memory + (start * size_of::<T>()) as u64, count: self.count - start, records: PhantomData }
    }

    /// The first `count` records, or all if there are fewer.
    pub fn truncated(&self, count: usize) -> Table<'m, T> {
        Table { count: count.min(self.count), ..*self }
    }

    pub fn iter(self) -> impl Iterator<Item = T> + use<'m, T> {
        (0..self.count).filter_map(move |index| self.get(index))
    }

    /// The same records as a ring; `None` if there is not a power of two of them.
    pub fn ring(&self) -> Option<Ring<'m, T>> {
        self.count.is_power_of_two().then(|| Ring { memory: self.memory, mask: self.count - 1, records: PhantomData })
    }
}

/// A power of two of records, so that each number stands for one: what is left of it when it is divided by how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m, T> {
    memory: u64,
    mask: usize,
    records: PhantomData<&'m [T]>,
}

impl<T: Pod> Ring<'_, T> {
    /// A ring of one record.
    pub fn of_one(record: &T) -> Ring<'_, T> {
        Ring { memory: (&raw const *record).expose_provenance() as u64, mask: 0, records: PhantomData }
    }

    #[inline(always)]
    pub fn get(&self, number: usize) -> T {
        let address = self.memory + ((number & self.mask) * size_of::<T>()) as u64;
        // SAFETY: the table's maker checked its records, or there is one, and what the mask leaves of a number is below theirs.
        unsafe { pointer::<T>(address).read_unaligned() }
    }
}

/// A string table (gABI, *String Table*).
#[derive(Clone, Copy, Debug)]
pub struct Strings<'m> {
    bytes: &'m [u8],
}

impl<'m> Strings<'m> {
    pub const EMPTY: Strings<'static> = Strings { bytes: &[] };

    pub fn new(bytes: &'m [u8]) -> Strings<'m> {
        Strings { bytes }
    }

    /// The string at `offset`, without its NUL; `None` if it does not end inside the table.
    pub fn get(&self, offset: u64) -> Option<&'m [u8]> {
        let tail = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let length = tail.iter().position(|&byte| byte == 0)?;
        Some(&tail[..length])
    }

    /// As [`get`](Self::get) where the string names a file or a version, of which a file may have many: no longer than a path can
    /// be (`PATH_MAX`).
    pub fn file_name(&self, offset: u64) -> Option<&'m [u8]> {
        const LONGEST: usize = 4096;
        let tail = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let tail = &tail[..tail.len().min(LONGEST)];
        let length = tail.iter().position(|&byte| byte == 0)?;
        Some(&tail[..length])
    }

    /// Up to `most` bytes of the string at `offset`; none if there is no such string.
    pub fn beginning(&self, offset: u32, most: usize) -> &'m [u8] {
        let tail = self.tail(offset).unwrap_or_default();
        let tail = &tail[..tail.len().min(most)];
        tail.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// All from `offset` on.
    #[inline]
    pub fn tail(&self, offset: u32) -> Option<&'m [u8]> {
        self.bytes.get(offset as usize..)
    }

    /// Has the processor fetch the begin of the string at `offset`, and its end if it has that length.
    #[inline(always)]
    pub fn prefetch(&self, offset: u32, length: u32) {
        if let Some(tail) = self.tail(offset) {
            let start = tail.as_ptr().addr() as u64;
            fetch_ahead(start);
            fetch_ahead(start + u64::from(length));
        }
    }

    /// Whether the string at `offset` is `name`.
    #[inline]
    pub fn equals(&self, offset: u32, name: &[u8]) -> bool {
        let start = offset as usize;
        match self.bytes.get(start..).and_then(|tail| tail.get(..=name.len())) {
            Some(candidate) => candidate[name.len()] == 0 && are_equal(&candidate[..name.len()], name),
            None => false,
        }
    }
}

/// Whether two names are the same. Most are short, and are compared here in less time than a call of `memcmp` takes.
#[inline(always)]
pub fn are_equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    // The last word overlaps with the one before it.
    let length = left.len();
    if length >= 8 {
        let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
        let (left_words, right_words) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
        return left[length - 8..] == right[length - 8..]
            && left_words.iter().map(word).eq(right_words.iter().map(word));
    }
    if length >= 4 {
        return left[length - 4..] == right[length - 4..] && left[..4] == right[..4];
    }
    left.iter().eq(right)
}

/// A bit for each of sixteen words that is `value` in the bits of `mask`.
#[inline(always)]
pub fn words_equal(words: &[u32; 16], mask: u32, value: u32) -> u32 {
    // SAFETY: SSE2 is part of x86-64 (psABI, *Processor Architecture*), and each load is of 16 bytes inside the array.
    unsafe {
        let (mask, value) = (_mm_set1_epi32(mask as i32), _mm_set1_epi32(value as i32));
        let quarter = |at: usize| {
            let four = _mm_loadu_si128(words[at..at + 4].as_ptr().cast());
            _mm_cmpeq_epi32(_mm_and_si128(four, mask), value)
        };
        let (low, high) = (_mm_packs_epi32(quarter(0), quarter(4)), _mm_packs_epi32(quarter(8), quarter(12)));
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
