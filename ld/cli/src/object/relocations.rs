//! Where the linker stores into an object, by page.

use std::collections::BTreeMap;

use folio_elf::dynamic::Extent;
use folio_elf::relocation::{
    R_X86_64_32, R_X86_64_64, R_X86_64_COPY, R_X86_64_DTPMOD64, R_X86_64_DTPOFF64, R_X86_64_GLOB_DAT,
    R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_PC32, R_X86_64_RELATIVE, R_X86_64_SIZE32,
    R_X86_64_SIZE64, R_X86_64_TLSDESC, R_X86_64_TPOFF64, Rela, Relocation, relr,
};
use folio_elf::{Dynamic, Image, Symbols};

use crate::process::PAGE;

/// The part of one relocation's place that lies on one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From the page's first byte.
    pub start: u16,
    pub length: u16,
    /// The relocation's name in the psABI, without `R_X86_64_`.
    pub kind: &'static str,
    /// A relocation begins here: it does not reach in from the page before, and is not a place of the linker's own.
    pub begins: bool,
}

/// All places by page. What the file says of its size is the bound: nothing is looked at twice.
pub fn slots(image: &Image, dynamic: &Dynamic, dynamic_section: Extent) -> BTreeMap<u64, Vec<Slot>> {
    let mut slots = Slots::default();
    let symbols = Symbols::decode(image, dynamic);
    for extent in [dynamic.rela, dynamic.jmprel] {
        let records = image.table::<Rela>(extent.at, extent.size / size_of::<Rela>() as u64);
        for relocation in records.into_iter().flat_map(|table| table.iter()).map(Relocation::from) {
            slots.add(relocation.offset.0, length(&relocation, Some(&symbols)), name(relocation.kind));
        }
    }
    if let Some(table) = image.table::<u64>(dynamic.relr.at, dynamic.relr.size / 8) {
        for place in relr(table) {
            slots.add(place.0, 8, "RELR");
        }
    }
    // Where the linker leaves notes of its own: the dynamic section, of which glibc's makes the addresses absolute, and the
    // first three words of the table that PLT entries jump through (psABI, Global Offset Table).
    slots.add_notes(dynamic_section.at.0, dynamic_section.size);
    if let Some(got) = dynamic.pltgot {
        slots.add_notes(got.0, 3 * 8);
    }
    slots.0
}

/// How many bytes a relocation changes (psABI, *Relocation Types*).
pub fn length(relocation: &Relocation, symbols: Option<&Symbols>) -> u64 {
    match relocation.kind {
        R_X86_64_NONE => 0,
        R_X86_64_32 | R_X86_64_PC32 | R_X86_64_SIZE32 => 4,
        R_X86_64_TLSDESC => 16,
        R_X86_64_COPY => {
            // The size of what is copied stands with the symbol. No variable is larger than its file by much, and no damaged
            // size costs time.
            let symbol = symbols.and_then(|symbols| symbols.get(relocation.symbol));
            symbol.map_or(0, |symbol| symbol.0.st_size.min(1 << 24))
        }
        _ => 8,
    }
}

#[derive(Default)]
struct Slots(BTreeMap<u64, Vec<Slot>>);

impl Slots {
    fn add(&mut self, at: u64, length: u64, kind: &'static str) {
        self.spread(at, length, kind, true);
    }

    /// Places that the linker writes without a relocation.
    fn add_notes(&mut self, at: u64, length: u64) {
        self.spread(at, length.min(1 << 16), "note", false);
    }

    fn spread(&mut self, mut at: u64, mut length: u64, kind: &'static str, mut begins: bool) {
        while length > 0 {
            let start = at % PAGE;
            let here = length.min(PAGE - start);
            let slot = Slot { start: start as u16, length: here as u16, kind, begins };
            self.0.entry(at / PAGE).or_default().push(slot);
            let Some(next) = at.checked_add(here) else { return };
            (at, length, begins) = (next, length - here, false);
        }
    }
}

fn name(kind: u32) -> &'static str {
    match kind {
        R_X86_64_64 => "64",
        R_X86_64_PC32 => "PC32",
        R_X86_64_32 => "32",
        R_X86_64_COPY => "COPY",
        R_X86_64_GLOB_DAT => "GLOB_DAT",
        R_X86_64_JUMP_SLOT => "JUMP_SLOT",
        R_X86_64_RELATIVE => "RELATIVE",
        R_X86_64_DTPMOD64 => "DTPMOD64",
        R_X86_64_DTPOFF64 => "DTPOFF64",
        R_X86_64_TPOFF64 => "TPOFF64",
        R_X86_64_SIZE32 => "SIZE32",
        R_X86_64_SIZE64 => "SIZE64",
        R_X86_64_TLSDESC => "TLSDESC",
        R_X86_64_IRELATIVE => "IRELATIVE",
        _ => "other",
    }
}
