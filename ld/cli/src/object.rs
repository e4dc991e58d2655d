//! One ELF file as its pages: to which segment and section each belongs, what the linker has to store into it, and which
//! symbols lie there.

mod relocations;
mod symbols;

use std::collections::BTreeMap;
use std::ops::Range;

use folio_elf::dynamic::{DF_TEXTREL, Extent};
use folio_elf::header::{PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_LOAD};
use folio_elf::{Dynamic, FileHeader, Image, ProgramHeader, Vaddr, header};
use serde::Serialize;

pub use relocations::{Slot, length};
pub use symbols::{Section, Symbol, read as names};

use crate::process::PAGE;

/// What a run of pages is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    Constants,
    /// Written while the program was linked, read-only since (`PT_GNU_RELRO`).
    Relro,
    Data,
    /// Data that begins as zeros and has no bytes in the file.
    Bss,
    /// A file that is no ELF object, or that could not be read.
    File,
    /// Memory without a file: heap, stack, arenas.
    Anonymous,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Constants => "constants",
            Self::Relro => "relro",
            Self::Data => "data",
            Self::Bss => "bss",
            Self::File => "file",
            Self::Anonymous => "memory",
        }
    }

    /// Whether somebody has to write into it for the program to run.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Relro | Self::Data | Self::Bss)
    }
}

/// A run of pages of one kind. Pages are link-time addresses divided by the page size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub kind: Kind,
    pub pages: Range<u64>,
}

/// A `PT_LOAD`, with the bytes of the file where they can be changed in memory.
#[derive(Debug)]
struct Load {
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
    writable: bool,
    executable: bool,
    /// The file's bytes, for segments into which somebody may write.
    bytes: Vec<u8>,
}

/// What is known of one ELF file.
#[derive(Debug)]
pub struct Object {
    loads: Vec<Load>,
    pub segments: Vec<Segment>,
    pub sections: Vec<Section>,
    symbols: Vec<Symbol>,
    slots: BTreeMap<u64, Vec<Slot>>,
    /// The linker has to write into text (`DT_TEXTREL`).
    pub text_relocations: bool,
}

impl Object {
    /// `None` for a file that is no ELF object of this machine, or a damaged one.
    pub fn decode(file: &[u8]) -> Option<Self> {
        let header = FileHeader::decode(file).ok()?;
        let table = file.get(usize::try_from(header.phoff).ok()?..)?.get(..header.phsize())?;
        let headers: Vec<ProgramHeader> = header::program_headers(table).collect();
        let nothing = folio_elf::Segment { start: Vaddr(0), size: 0, memory: 0, writable: false };
        let mut storage = vec![nothing; headers.len()];
        let image = Image::of_file(file, headers.iter().copied(), &mut storage);
        let place = headers.iter().find(|header| header.p_type == PT_DYNAMIC);
        let section = place.map(|place| Extent { at: Vaddr(place.p_vaddr), size: place.p_memsz }).unwrap_or_default();
        let dynamic = place.and_then(|_| Dynamic::decode(&image, section.at, section.size));
        let text_relocations = dynamic.as_ref().is_some_and(|dynamic| dynamic.flags & DF_TEXTREL != 0);
        let slots = dynamic.map(|dynamic| relocations::slots(&image, &dynamic, section)).unwrap_or_default();
        let loads: Vec<Load> = headers
            .iter()
            .filter(|header| header.p_type == PT_LOAD && header.p_memsz != 0)
            .map(|header| load(file, header, text_relocations))
            .collect::<Option<_>>()?;
        let relro = headers.iter().find(|header| header.p_type == PT_GNU_RELRO);
        let segments = segments(&loads, relro);
        let (sections, symbols) = symbols::read(file);
        (!segments.is_empty()).then_some(Self { loads, segments, sections, symbols, slots, text_relocations })
    }

    /// Every load bias at which the file's bytes from `offset` on can lie at `address`: a page at the border of two
    /// segments belongs to both. The likeliest comes first.
    pub fn biases(&self, address: u64, offset: u64, writable: bool, executable: bool) -> Vec<u64> {
        let mut fitting: Vec<&Load> = self
            .loads
            .iter()
            .filter(|load| {
                let first = load.offset / PAGE * PAGE;
                (first..load.offset.saturating_add(load.in_file).max(first + 1)).contains(&offset)
            })
            .collect();
        fitting.sort_by_key(|load| (load.executable != executable, load.writable != writable));
        let start = |load: &&Load| (load.address / PAGE * PAGE).wrapping_add(offset - load.offset / PAGE * PAGE);
        fitting.iter().map(|load| address.wrapping_sub(start(load))).collect()
    }

    /// The pages from the first segment's first to the last segment's last.
    pub fn pages(&self) -> Range<u64> {
        let first = self.segments.iter().map(|segment| segment.pages.start).min().unwrap_or(0);
        first..self.segments.iter().map(|segment| segment.pages.end).max().unwrap_or(first)
    }

    /// Where in the file a page's bytes begin; `None` for one that has none.
    pub fn offset(&self, page: u64) -> Option<u64> {
        let load = self.load_of(page)?;
        let into = page.wrapping_mul(PAGE).wrapping_sub(load.address / PAGE * PAGE);
        let end = load.offset % PAGE + load.in_file;
        (into < end).then(|| load.offset / PAGE * PAGE + into)
    }

    fn load_of(&self, page: u64) -> Option<&Load> {
        self.loads.iter().rev().find(|load| {
            (load.address / PAGE..(load.address.saturating_add(load.in_memory)).div_ceil(PAGE)).contains(&page)
        })
    }

    /// What a page of a writable segment holds before anybody writes: the file's bytes, and zeros after them.
    pub fn initial(&self, page: u64) -> Option<[u8; PAGE as usize]> {
        let load = self.load_of(page)?;
        if load.bytes.is_empty() && load.in_file != 0 {
            return None;
        }
        let mut bytes = [0; PAGE as usize];
        let into = usize::try_from(page.wrapping_mul(PAGE).wrapping_sub(load.address / PAGE * PAGE)).ok()?;
        let found = load.bytes.get(into..).unwrap_or_default();
        let length = found.len().min(bytes.len());
        bytes[..length].copy_from_slice(&found[..length]);
        Some(bytes)
    }

    /// Whether the linker fills the rest of this page, after the file's last byte, with zeros.
    pub fn has_zeroed_rest(&self, page: u64) -> bool {
        self.load_of(page).is_some_and(|load| {
            let end = load.address.saturating_add(load.in_file);
            load.in_memory > load.in_file && !end.is_multiple_of(PAGE) && end / PAGE == page
        })
    }

    /// Where the linker stores into a page, in no order.
    pub fn slots(&self, page: u64) -> &[Slot] {
        self.slots.get(&page).map_or(&[], Vec::as_slice)
    }

    /// How many relocations of which kind a page has.
    pub fn relocations(&self, page: u64) -> BTreeMap<&'static str, u64> {
        let mut kinds = BTreeMap::new();
        for slot in self.slots(page).iter().filter(|slot| slot.begins) {
            *kinds.entry(slot.kind).or_default() += 1;
        }
        kinds
    }

    /// The sections that have bytes on a page.
    pub fn sections_at(&self, page: u64) -> impl Iterator<Item = &Section> {
        let (start, end) = (page.wrapping_mul(PAGE), page.wrapping_mul(PAGE).saturating_add(PAGE));
        self.sections.iter().filter(move |section| section.range.start < end && section.range.end > start)
    }

    /// The symbols that have bytes in a range of addresses, in the order of their addresses.
    pub fn symbols_at(&self, range: Range<u64>) -> impl Iterator<Item = &Symbol> {
        let first = self.symbols.partition_point(|symbol| symbol.address < range.start);
        // One that begins earlier may reach in; the nearest is looked at, since symbols seldom lie inside each other.
        let before = self.symbols[..first].last().filter(|symbol| symbol.end() > range.start);
        before.into_iter().chain(self.symbols[first..].iter().take_while(move |symbol| symbol.address < range.end))
    }
}

fn load(file: &[u8], header: &ProgramHeader, text_relocations: bool) -> Option<Load> {
    // Addresses that wrap around are no object's.
    header.p_vaddr.checked_add(header.p_memsz)?.checked_add(PAGE)?;
    let end = header.p_offset.checked_add(header.p_filesz)?;
    let writable = header.p_flags & PF_W != 0;
    let start = usize::try_from(header.p_offset / PAGE * PAGE).ok()?;
    let bytes = if writable || text_relocations {
        file.get(start..usize::try_from(end).ok()?.min(file.len())).unwrap_or_default().to_vec()
    } else {
        Vec::new()
    };
    Some(Load {
        offset: header.p_offset,
        address: header.p_vaddr,
        in_file: header.p_filesz,
        in_memory: header.p_memsz,
        writable,
        executable: header.p_flags & PF_X != 0,
        bytes,
    })
}

/// The pages by kind, each in one segment: where two share a page, it counts for the later one, which is mapped over the
/// earlier.
fn segments(loads: &[Load], relro: Option<&ProgramHeader>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut add = |kind, pages: Range<u64>| {
        if pages.is_empty() {
            return;
        }
        if let Some(last) = segments.last_mut() {
            last.pages.end = last.pages.end.min(pages.start).max(last.pages.start);
        }
        segments.push(Segment { kind, pages });
    };
    // The gABI demands ascending order (Program Loading); a file that breaks it has its segments taken as they come.
    for load in loads {
        let first = load.address / PAGE;
        let end = (load.address + load.in_memory).div_ceil(PAGE);
        let end_of_file = (load.address + load.in_file.min(load.in_memory)).div_ceil(PAGE).max(first);
        let kind = match (load.executable, load.writable) {
            (true, false) => Kind::Text,
            (false, false) => Kind::Constants,
            (_, true) => Kind::Data,
        };
        let sealed = relro
            .filter(|relro| load.writable && (first..end).contains(&(relro.p_vaddr / PAGE)))
            // Only whole pages can be protected (gABI has no rule; glibc elf/dl-reloc.c, _dl_protect_relro).
            .map_or(first, |relro| (relro.p_vaddr.saturating_add(relro.p_memsz) / PAGE).clamp(first, end));
        add(Kind::Relro, first..sealed.min(end_of_file));
        add(kind, sealed.min(end_of_file)..end_of_file);
        add(Kind::Bss, end_of_file..end);
    }
    segments.retain(|segment| !segment.pages.is_empty());
    segments
}

#[cfg(test)]
mod tests;
