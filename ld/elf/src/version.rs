//! Symbol versions: what an object defines (`DT_VERDEF`) and what it needs of others (`DT_VERNEED`).
//!
//! Both are chains of records that point forward by byte offsets; a chain whose offset is 0 ends. Offsets are unsigned,
//! so each step goes forward and a chain is no longer than its segment. Many chains could still share one long tail, so
//! no more records are read than the segment has room for. (*LSB Core, Symbol Versioning*.)

use crate::address::Vaddr;
use crate::image::{Image, Strings};

/// `vd_flags`: the version of the file itself.
pub const VER_FLG_BASE: u16 = 1;
/// `vna_flags`: the need is no error when missing.
pub const VER_FLG_WEAK: u16 = 2;

/// A version that an object defines.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'m> {
    /// `vd_ndx`, as in `Elf64_Versym`.
    pub index: u16,
    pub flags: u16,
    pub hash: u32,
    pub name: &'m [u8],
}

/// A version that an object needs.
#[derive(Clone, Copy, Debug)]
pub struct Need<'m> {
    /// The file that should define it: a soname.
    pub file: &'m [u8],
    pub name: &'m [u8],
    pub hash: u32,
    pub flags: u16,
    /// `vna_other`, as in `Elf64_Versym`.
    pub index: u16,
}

/// Four words in one read: all of an `Elf64_Verneed` or `Elf64_Vernaux`, and all but the last word of an `Elf64_Verdef`.
fn record(image: &Image, at: Vaddr) -> Option<[u32; 4]> {
    image.read(at)
}

/// The halves of a word, the one at the lower address first.
fn halves(word: u32) -> [u16; 2] {
    [word as u16, (word >> 16) as u16]
}

/// How many records of at least 16 bytes fit between `at` and the end of its segment.
fn room(image: &Image, at: Vaddr) -> usize {
    image.table_to_end::<[u32; 4]>(at).map_or(0, |records| records.len())
}

/// The record `offset` bytes after `at`, or none where the chain ends.
fn follow(at: Vaddr, offset: u32) -> Option<Vaddr> {
    (offset != 0).then(|| at.checked_add(u64::from(offset))).flatten()
}

/// The definitions in the `Elf64_Verdef` chain at `at`.
pub fn definitions<'i, 'm: 'i>(
    image: &'i Image<'m>,
    strings: Strings<'m>,
    at: Vaddr,
) -> impl Iterator<Item = Definition<'m>> + use<'i, 'm> {
    let mut next = Some(at);
    let mut left = room(image, at);
    core::iter::from_fn(move || {
        let at = next?;
        left = left.checked_sub(1)?;
        let [first, second, hash, auxiliary] = record(image, at)?;
        let auxiliary = at.checked_add(u64::from(auxiliary))?;
        next = follow(at, image.read(at.checked_add(16)?)?);
        let ([_, flags], [index, _]) = (halves(first), halves(second));
        Some(Definition { flags, index, hash, name: strings.file_name(u64::from(image.read::<u32>(auxiliary)?))? })
    })
}

/// The needs in the `Elf64_Verneed` chain at `at`, file by file.
pub fn needs<'i, 'm: 'i>(
    image: &'i Image<'m>,
    strings: Strings<'m>,
    at: Vaddr,
) -> impl Iterator<Item = Need<'m>> + use<'i, 'm> {
    let mut next_file = Some(at);
    let mut current: Option<(&'m [u8], Vaddr)> = None;
    let mut left = room(image, at);
    core::iter::from_fn(move || {
        loop {
            left = left.checked_sub(1)?;
            if let Some((file, at)) = current {
                let [hash, second, name, after] = record(image, at)?;
                let [flags, index] = halves(second);
                current = follow(at, after).map(|at| (file, at));
                return Some(Need { file, hash, flags, index, name: strings.file_name(u64::from(name))? });
            }
            let at = next_file?;
            let [first, file, auxiliary, after] = record(image, at)?;
            next_file = follow(at, after);
            let file = strings.file_name(u64::from(file))?;
            let [_, count] = halves(first);
            if count > 0 {
                current = follow(at, auxiliary).map(|at| (file, at));
            }
        }
    })
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
