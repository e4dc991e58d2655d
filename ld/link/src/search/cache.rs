//! Decodes `/etc/ld.so.cache`: the table that `ldconfig` writes, from library name to path.
//!
//! The decoder is total: it takes any bytes, reads only inside them, and answers `None` where the file makes no sense.
//! Source: ldconfig(8); the format is that of glibc sysdeps/generic/dl-cache.h, the lookup that of elf/dl-cache.c,
//! `_dl_load_cache_lookup`.
//!
//! Three shapes of file exist: the new format alone (what every `ldconfig` of today writes), the new format behind the
//! table of glibc 2.1, and that old table alone. All three are one array of entries sorted by name, descending; they differ
//! in the size of an entry and in what string offsets count from.

use core::cmp::Ordering;
use core::fmt;
use core::ops::Range;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
/// The magic, a byte of padding, and the number of entries.
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;

const NEW_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const NEW_HEADER: usize = 48;
const NEW_ENTRY: usize = 24;

const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const EXTENSION_SECTION: usize = 16;
const HWCAPS_SECTION: u32 = 1;

/// `flags` of an entry for the x86-64 ABI of libc6: `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`.
const X86_64: u32 = 0x303;

/// Who knows what a machine offers of the `glibc-hwcaps` subdirectories. It is asked where a search comes by one: most systems
/// have none, and to know the processor takes time.
pub trait Machine: fmt::Debug {
    fn hwcaps(&self) -> Hwcaps<'_>;

    /// Whether it may offer any.
    fn offers_any(&self) -> bool {
        true
    }
}

/// What the machine offers of the `glibc-hwcaps` subdirectories.
#[derive(Clone, Copy, Debug)]
pub struct Hwcaps<'a> {
    /// Names of the subdirectories to use, best first: `x86-64-v4`, `x86-64-v3`, `x86-64-v2`.
    pub subdirectories: &'a [&'a [u8]],
    /// The `GNU_PROPERTY_X86_ISA_1_*` bits of this processor: bit 0 is the baseline, bit `n` is x86-64-v(n+1).
    pub isa_level: u32,
}

impl Hwcaps<'_> {
    pub const NONE: Hwcaps<'static> = Hwcaps { subdirectories: &[], isa_level: 0 };
}

impl Machine for Hwcaps<'_> {
    fn hwcaps(&self) -> Hwcaps<'_> {
        *self
    }

    fn offers_any(&self) -> bool {
        !self.subdirectories.is_empty()
    }
}

/// A decoded header: where the entries, the strings and the names of the hwcaps are.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    file: &'a [u8],
    entries: &'a [u8],
    entry_size: usize,
    strings: &'a [u8],
    hwcaps: &'a [u8],
}

/// One line of `ldconfig -p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub path: &'a [u8],
    /// `FLAG_*` of glibc's ldconfig: the type of the library and its ABI.
    pub flags: u32,
    /// The `glibc-hwcaps` subdirectory that the library is in, for entries that name one.
    pub hwcap: Option<&'a [u8]>,
}

impl<'a> Cache<'a> {
    /// Finds the parts of a cache file; `None` when it is none, was cut, or belongs to a big-endian machine.
    pub fn parse(file: &'a [u8]) -> Option<Self> {
        if file.starts_with(NEW_MAGIC) {
            return Self::parse_new(file, 0);
        }
        if !file.starts_with(OLD_MAGIC) {
            return None;
        }
        let count = usize::try_from(word(file, 12)?).ok()?;
        let end = count.checked_mul(OLD_ENTRY)?.checked_add(OLD_HEADER)?;
        let entries = file.get(OLD_HEADER..end)?;
        let behind = end.checked_next_multiple_of(8)?;
        if file.get(behind..)?.starts_with(NEW_MAGIC) {
            return Self::parse_new(file, behind);
        }
        Some(Self { file, entries, entry_size: OLD_ENTRY, strings: &file[end..], hwcaps: &[] })
    }

    fn parse_new(file: &'a [u8], start: usize) -> Option<Self> {
        let strings = &file[start..];
        let count = usize::try_from(word(strings, 20)?).ok()?;
        let endianness = *strings.get(28)?;
        if endianness != 0 && endianness & 3 != 2 {
            return None;
        }
        let end = count.checked_mul(NEW_ENTRY)?.checked_add(NEW_HEADER)?;
        let entries = strings.get(NEW_HEADER..end)?;
        let hwcaps = hwcaps_section(file, word(strings, 32)?).unwrap_or(&[]);
        Some(Self { file, entries, entry_size: NEW_ENTRY, strings, hwcaps })
    }

    /// The path that the cache gives for `name` on this machine.
    ///
    /// Of several entries with one name, those of `glibc-hwcaps` subdirectories stand first; the one whose subdirectory this
    /// machine prefers wins, else the first plain entry. Entries of the platform mechanism that glibc 2.37 removed (any
    /// other non-zero hwcap) are passed over.
    pub fn find(&self, name: &[u8], machine: &dyn Machine) -> Option<&'a [u8]> {
        let mut best: Option<(usize, &'a [u8])> = None;
        for index in self.equal_range(name)? {
            let (flags, Some(path), capability) = (self.flags(index), self.path(index), self.capability(index)) else {
                continue;
            };
            if flags != X86_64 {
                continue;
            }
            match capability {
                Capability::Subdirectory { index, level } => {
                    let hwcaps = machine.hwcaps();
                    let usable = 1u32.checked_shl(level).is_some_and(|bit| hwcaps.isa_level & bit != 0);
                    let rank = self
                        .hwcap_name(index)
                        .filter(|_| usable)
                        .and_then(|name| hwcaps.subdirectories.iter().position(|&subdirectory| subdirectory == name));
                    if let Some(rank) = rank
                        && best.is_none_or(|(found, _)| rank < found)
                    {
                        best = Some((rank, path));
                    }
                }
                Capability::None => return Some(best.map_or(path, |(_, path)| path)),
                Capability::Legacy => {}
            }
        }
        best.map(|(_, path)| path)
    }

    /// All entries in the order of the file, without those whose strings lie outside it.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + '_ {
        (0..self.len()).filter_map(|index| {
            let hwcap = match self.capability(index) {
                Capability::Subdirectory { index, .. } => self.hwcap_name(index),
                Capability::None | Capability::Legacy => None,
            };
            Some(Entry { name: self.name(index)?, path: self.path(index)?, flags: self.flags(index), hwcap })
        })
    }

    /// The indices of the entries whose name compares equal to `name`, which is not always identical: see [`compare`].
    fn equal_range(&self, name: &[u8]) -> Option<Range<usize>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(name, self.name(middle)?) {
                // The table is sorted in descending order.
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    let equal = |&index: &usize| self.name(index).is_some_and(|n| compare(name, n) == Ordering::Equal);
                    let first = (low..middle).rev().take_while(equal).last().unwrap_or(middle);
                    let last = (middle..high).take_while(equal).last().unwrap_or(middle);
                    return Some(first..last + 1);
                }
            }
        }
        None
    }

    fn len(&self) -> usize {
        self.entries.len() / self.entry_size
    }

    fn field(&self, index: usize, at: usize) -> u32 {
        // `entries` holds whole entries, so a field of an entry below `len()` is always there.
        word(self.entries, index * self.entry_size + at).unwrap_or(0)
    }

    fn flags(&self, index: usize) -> u32 {
        self.field(index, 0)
    }

    fn name(&self, index: usize) -> Option<&'a [u8]> {
        string(self.strings, self.field(index, 4))
    }

    fn path(&self, index: usize) -> Option<&'a [u8]> {
        string(self.strings, self.field(index, 8))
    }

    fn capability(&self, index: usize) -> Capability {
        if self.entry_size == OLD_ENTRY {
            return Capability::None;
        }
        let (low, high) = (self.field(index, 16), self.field(index, 20));
        // Bit 62 of the 64 marks the extension; bits 32 to 41 then hold the number of the ISA level that the file needs.
        match (low, high) {
            (0, 0) => Capability::None,
            _ if high & !0x3ff == 1 << 30 => Capability::Subdirectory { index: low, level: high & 0x3ff },
            _ => Capability::Legacy,
        }
    }

    fn hwcap_name(&self, index: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(index).ok()?.checked_mul(4)?;
        // Unlike the strings of entries, these count from the start of the file, also behind an old table.
        string(self.file, word(self.hwcaps, at)?)
    }
}

/// What the `hwcap` field of an entry says.
enum Capability {
    None,
    /// An index into the section of hwcaps names, and the ISA level.
    Subdirectory {
        index: u32,
        level: u32,
    },
    Legacy,
}

/// The extension section that lists the names of the hwcaps subdirectories, as 32-bit string offsets.
fn hwcaps_section(file: &[u8], directory: u32) -> Option<&[u8]> {
    let directory = usize::try_from(directory).ok()?;
    if directory == 0 || word(file, directory)? != EXTENSION_MAGIC {
        return None;
    }
    let count = usize::try_from(word(file, directory.checked_add(4)?)?).ok()?;
    let start = directory.checked_add(8)?;
    let sections = file.get(start..count.checked_mul(EXTENSION_SECTION)?.checked_add(start)?)?;
    let section = sections.chunks_exact(EXTENSION_SECTION).rfind(|section| word(section, 0) == Some(HWCAPS_SECTION))?;
    let offset = usize::try_from(word(section, 8)?).ok()?;
    let size = usize::try_from(word(section, 12)?).ok()?;
    file.get(offset..offset.checked_add(size)?)
}

/// Orders library names as the cache is sorted: runs of digits compare as numbers, and stand after everything else.
///
/// Names that differ only in leading zeros of such a number are therefore equal; glibc behaves so, and numbers too large
/// for a C `int` wrap in both. Source: glibc elf/dl-cache.c, `_dl_cache_libcmp`.
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        match (left.split_first(), right.split_first()) {
            (None, None) => return Ordering::Equal,
            // A C string ends in NUL, which stands before all characters but those that a signed `char` makes negative.
            (None, Some((&r, _))) => return 0.cmp(&r.cast_signed()),
            (Some((&l, left_rest)), right_first) => match (l, right_first.map(|(&r, _)| r)) {
                (b'0'..=b'9', Some(b'0'..=b'9')) => {
                    let (l, r);
                    (l, left) = number(left);
                    (r, right) = number(right);
                    if l != r {
                        return l.wrapping_sub(r).cmp(&0);
                    }
                }
                (b'0'..=b'9', _) => return Ordering::Greater,
                (_, Some(b'0'..=b'9')) => return Ordering::Less,
                (l, r) if Some(l) != r => return l.cast_signed().cmp(&r.unwrap_or(0).cast_signed()),
                _ => {
                    left = left_rest;
                    right = right.get(1..).unwrap_or(&[]);
                }
            },
        }
    }
}

/// Takes the run of digits that `text` starts with.
fn number(text: &[u8]) -> (i32, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value =
        text[..end].iter().fold(0i32, |value, digit| value.wrapping_mul(10).wrapping_add((digit - b'0').into()));
    (value, &text[end..])
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The NUL-terminated string at `offset`; one that the end of the file cuts is none, nor is one that is no path (`PATH_MAX`).
fn string(table: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(offset).ok()?..)?;
    let rest = &rest[..rest.len().min(4096)];
    Some(&rest[..rest.iter().position(|&byte| byte == 0)?])
}

#[cfg(test)]
#[path = "cache_tests.rs"]
pub(super) mod tests;
