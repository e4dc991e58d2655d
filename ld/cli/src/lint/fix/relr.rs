//! Packs the relative relocations of a finished library into a `DT_RELR`, inside the room that they took before.
//!
//! Nothing moves: the places keep their addresses, and get the values that the records held. In the room of `.rela.dyn` then
//! stand the other relocations, the packed words, and copies of the two tables that have to grow, since a loader insists on
//! the version `GLIBC_ABI_DT_RELR` of whoever uses `DT_RELR` (*glibc elf/dl-version.c, _dl_check_map_versions*). The file
//! keeps its size; what shrinks is the part of it that is read when the library is loaded. It takes glibc 2.36 or later,
//! and three free entries in the dynamic section, which GNU ld leaves there and LLVM's lld does not.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use folio_elf::dynamic::{
    DT_RELACOUNT, DT_RELASZ, DT_RELR, DT_RELRENT, DT_RELRSZ, DT_STRSZ, DT_STRTAB, DT_VERNEED, Dynamic,
};
use folio_elf::relocation::{Rela, Relocation};
use folio_elf::{hash, version};
use folio_link::placement::{LoadSegment, PAGE};
use folio_link::relocate;

use crate::lint::library::{self, Library};
use crate::lint::pack;

/// The version that stands for a loader that knows `DT_RELR`.
const ABI: &[u8] = b"GLIBC_ABI_DT_RELR";

/// Bytes that go to a place in the file.
type Change = (usize, Vec<u8>);

/// Packs a library's file; gives the sentence that says what became of its tables.
pub fn pack(file: &mut [u8]) -> Result<String> {
    let (changes, sentence) = plan(file)?;
    for (at, bytes) in changes {
        file.get_mut(at..at + bytes.len()).context("a change lies outside the file")?.copy_from_slice(&bytes);
    }
    Ok(sentence)
}

fn plan(file: &[u8]) -> Result<(Vec<Change>, String)> {
    let mut storage = library::storage(file);
    let library = Library::decode("".as_ref(), file, &mut storage)?;
    let dynamic = library.object.dynamic.as_ref().context("no dynamic section")?;
    ensure!(dynamic.relr.is_empty(), "it has a DT_RELR already, which would have to be merged");
    let [rela, _] = relocate::tables(&library.object).context("its relocations lie outside the file")?;
    let offset = |at: u64, length: u64| offset_of(library.segments(), at, length);
    let mut changes = Vec::new();

    // A word that something else is stored into as well cannot hold its own addend.
    let mut uses: BTreeMap<u64, usize> = BTreeMap::new();
    for place in &library.places {
        *uses.entry(place.at).or_default() += 1;
    }
    let packable: std::collections::BTreeSet<u64> = pack::packable(&library)
        .map(|place| place.at)
        .filter(|at| uses.get(at) == Some(&1) && offset(*at, 8).is_some())
        .collect();
    let (mut kept, mut count, mut is_leading, mut relative) = (Vec::new(), 0u64, true, 0u64);
    for record in rela.iter() {
        let relocation = Relocation::from(record);
        let is_relative = relocation.kind == folio_elf::relocation::R_X86_64_RELATIVE;
        if is_relative && packable.contains(&relocation.offset.0) {
            let at = offset(relocation.offset.0, 8).context("checked above")?;
            changes.push((at, relocation.addend.to_le_bytes().to_vec()));
            count += 1;
            continue;
        }
        is_leading &= is_relative;
        relative += u64::from(is_leading);
        kept.extend(bytes_of(&record));
    }
    ensure!(count > 0, "it has no relative relocations that could be packed");
    let places: Vec<u64> = packable.into_iter().collect();
    let packed: Vec<u8> = pack::encode(&places).into_iter().flat_map(u64::to_le_bytes).collect();

    let mut room = Room { bytes: kept, start: dynamic.rela.at.0 };
    let kept_size = room.bytes.len() as u64;
    let packed_at = room.append(&packed);
    let mut tags = vec![(DT_RELASZ, Some(kept_size)), (DT_RELACOUNT, (relative > 0).then_some(relative))];
    tags.extend([(DT_RELR, Some(packed_at)), (DT_RELRSZ, Some(packed.len() as u64)), (DT_RELRENT, Some(8))]);
    let mut moved = BTreeMap::new();
    if dynamic.needed().flatten().any(|name| name.starts_with(b"libc.so.")) {
        let (strings, needs) = with_abi_version(&library, dynamic, file)?;
        let (needs_at, strings_at) = (room.append(&needs), room.append(&strings));
        tags.extend([
            (DT_VERNEED, Some(needs_at)),
            (DT_STRTAB, Some(strings_at)),
            (DT_STRSZ, Some(strings.len() as u64)),
        ]);
        let old = |tag| dynamic.entries().iter().find(|entry| entry.d_tag == tag).map(|entry| entry.d_val);
        moved.extend(old(DT_VERNEED).map(|at| (at, (needs_at, needs.len() as u64))));
        moved.extend(old(DT_STRTAB).map(|at| (at, (strings_at, strings.len() as u64))));
    }
    moved.insert(dynamic.rela.at.0, (dynamic.rela.at.0, kept_size));
    let (before, after) = (rela.len() as u64 * 24, room.bytes.len() as u64);
    ensure!(after <= before, "{after} bytes do not fit into the {before} bytes that its relocations take");
    let start = offset(room.start, before).context("its relocations lie outside the file")?;
    // What is left over is not read by anybody.
    room.bytes.resize(usize::try_from(before)?, 0);
    changes.push((start, room.bytes));
    changes.push(dynamic_section(&library, &tags)?);
    changes.extend(section_headers(file, &moved, offset)?);
    let sentence = format!(
        "{count} relative relocations packed: {} bytes of them are now {}, {} pages less to read (glibc 2.36 and later)",
        count * 24,
        packed.len(),
        before / PAGE - after.div_ceil(PAGE).min(before / PAGE),
    );
    Ok((changes, sentence))
}

/// Tables one after the other, aligned to words.
struct Room {
    bytes: Vec<u8>,
    start: u64,
}

impl Room {
    /// Appends a table and gives its address.
    fn append(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.start + self.bytes.len() as u64;
        self.bytes.extend_from_slice(table);
        at
    }
}

fn bytes_of(record: &Rela) -> Vec<u8> {
    [record.r_offset.to_le_bytes(), record.r_info.to_le_bytes(), record.r_addend.to_le_bytes()].concat()
}

/// Where in the file `length` bytes of memory come from.
fn offset_of(segments: &[LoadSegment], at: u64, length: u64) -> Option<usize> {
    let end = at.checked_add(length)?;
    let segment = segments.iter().find(|segment| segment.start.0 <= at && end <= segment.data_end.0)?;
    usize::try_from(segment.offset + (at - segment.start.0)).ok()
}

/// The string table and the needed versions, with `GLIBC_ABI_DT_RELR` of libc added to both.
fn with_abi_version(library: &Library, dynamic: &Dynamic, file: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let tag = |wanted| dynamic.entries().iter().find(|entry| entry.d_tag == wanted).map(|entry| entry.d_val);
    let (at, size) = (tag(DT_STRTAB).context("no DT_STRTAB")?, tag(DT_STRSZ).context("no DT_STRSZ")?);
    let start = offset_of(library.segments(), at, size).context("its strings lie outside the file")?;
    let mut strings = file.get(start..start + usize::try_from(size)?).context("cut off in its strings")?.to_vec();
    let chain = dynamic.verneed.context("it needs no version of libc, so that no loader could be told of DT_RELR")?;
    let needs: Vec<version::Need> = version::needs(&library.object.image, dynamic.strings, chain).collect();
    let last = needs.iter().map(|need| need.index & 0x7fff).max().unwrap_or(1);
    let last = last.max(version_definitions(library, dynamic));
    let place = |strings: &[u8], name: &[u8]| -> Result<u32> {
        let with_end = [name, b"\0"].concat();
        let found = strings.windows(with_end.len()).position(|window| window == with_end);
        Ok(u32::try_from(found.context("the name of a version is lost")?)?)
    };
    let abi_name = u32::try_from(strings.len())?;
    strings.extend_from_slice(ABI);
    strings.push(0);
    let mut files: Vec<(&[u8], Vec<[u32; 3]>)> = Vec::new();
    for need in &needs {
        let flags_and_index = u32::from(need.flags) | u32::from(need.index) << 16;
        let record = [need.hash, flags_and_index, place(&strings, need.name)?];
        match files.iter_mut().find(|(name, _)| *name == need.file) {
            Some((_, records)) => records.push(record),
            None => files.push((need.file, vec![record])),
        }
    }
    let libc = files.iter_mut().find(|(name, _)| name.starts_with(b"libc.so.")).map(|(_, records)| records);
    let libc = libc.context("it needs no version of libc, so that no loader could be told of DT_RELR")?;
    libc.push([hash::sysv(ABI), u32::from(last + 1) << 16, abi_name]);
    let mut table = Vec::new();
    for (number, (name, records)) in files.iter().enumerate() {
        // Elf64_Verneed and Elf64_Vernaux have 16 bytes each (LSB Core, Symbol Versioning).
        let next = if number + 1 == files.len() { 0 } else { 16 * (1 + records.len() as u32) };
        let head = [1 | (records.len() as u32) << 16, place(&strings, name)?, 16, next];
        table.extend(head.iter().flat_map(|word| word.to_le_bytes()));
        for (number, record) in records.iter().enumerate() {
            let next = if number + 1 == records.len() { 0 } else { 16 };
            table.extend(record.iter().chain([&next]).flat_map(|word: &u32| word.to_le_bytes()));
        }
    }
    Ok((strings, table))
}

/// The highest index that the versions which it defines itself take.
fn version_definitions(library: &Library, dynamic: &Dynamic) -> u16 {
    let definitions = dynamic.verdef.map(|at| version::definitions(&library.object.image, dynamic.strings, at));
    definitions.into_iter().flatten().map(|definition| definition.index & 0x7fff).max().unwrap_or(1)
}

/// The dynamic section with these tags set, added, or, without a value, taken out.
fn dynamic_section(library: &Library, tags: &[(u64, Option<u64>)]) -> Result<Change> {
    let extent = library.object.placement.dynamic.context("no dynamic section")?;
    let dynamic = library.object.dynamic.as_ref().context("no dynamic section")?;
    let value_of = |tag| tags.iter().find(|(wanted, _)| *wanted == tag).map(|(_, value)| *value);
    let mut entries: Vec<[u64; 2]> = Vec::new();
    for entry in dynamic.entries().iter() {
        match value_of(entry.d_tag) {
            Some(Some(value)) => entries.push([entry.d_tag, value]),
            Some(None) => {}
            None => entries.push([entry.d_tag, entry.d_val]),
        }
    }
    for (tag, value) in tags {
        if let (Some(value), false) = (value, entries.iter().any(|entry| entry[0] == *tag)) {
            // A count of relative relocations is a hint: one that was not there is not missed.
            if *tag != DT_RELACOUNT {
                entries.push([*tag, *value]);
            }
        }
    }
    let capacity = usize::try_from(extent.size / 16)?;
    ensure!(
        entries.len() < capacity,
        "its dynamic section has room for {capacity} entries, and would need {} (link again with -z pack-relative-relocs)",
        entries.len() + 1,
    );
    entries.resize(capacity, [0, 0]);
    let at =
        offset_of(library.segments(), extent.at.0, extent.size).context("its dynamic section lies outside the file")?;
    Ok((at, entries.into_iter().flatten().flat_map(u64::to_le_bytes).collect()))
}

/// Section headers of tables that moved or shrank: the loader does not read them, and other tools do.
fn section_headers(
    file: &[u8],
    moved: &BTreeMap<u64, (u64, u64)>,
    offset: impl Fn(u64, u64) -> Option<usize>,
) -> Result<Vec<Change>> {
    /// Offsets in `Elf64_Ehdr` and `Elf64_Shdr`.
    const E_SHOFF: usize = 40;
    const E_SHENTSIZE: usize = 58;
    const E_SHNUM: usize = 60;
    const SH_ADDR: usize = 16;
    let half = |at: usize| file.get(at..at + 2).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let word = |at: usize| file.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let table = usize::try_from(word(E_SHOFF).unwrap_or(0))?;
    let (count, size) = (half(E_SHNUM).unwrap_or(0), half(E_SHENTSIZE).unwrap_or(0));
    let mut changes = Vec::new();
    for index in (0..count).filter(|_| table != 0) {
        let Some(at) = index.checked_mul(size).and_then(|into| table.checked_add(into)) else { break };
        let Some((new, length)) = word(at.saturating_add(SH_ADDR)).and_then(|address| moved.get(&address)) else {
            continue;
        };
        // An empty section may stand at the same address as a table that moves.
        if word(at + SH_ADDR + 16) == Some(0) {
            continue;
        }
        let place = offset(*new, *length).context("a table moved out of the file")? as u64;
        changes.push((at + SH_ADDR, [*new, place, *length].into_iter().flat_map(u64::to_le_bytes).collect()));
    }
    Ok(changes)
}
