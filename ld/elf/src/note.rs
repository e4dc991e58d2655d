//! Notes (gABI, *Note Section*): the build id, and the properties that ask something of the loader.

/// `NT_GNU_BUILD_ID`.
const NT_GNU_BUILD_ID: u32 = 3;

/// The build id in the bytes of a `PT_NOTE` segment.
pub fn build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut rest = notes;
    while let Some((header, tail)) = rest.split_first_chunk::<12>() {
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (namesz, descsz) = (word(0) as usize, word(4) as usize);
        let name = tail.get(..namesz)?;
        let after_name = tail.get(namesz.checked_next_multiple_of(4)?..)?;
        let description = after_name.get(..descsz)?;
        if word(8) == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(description);
        }
        rest = after_name.get(descsz.checked_next_multiple_of(4)?..)?;
    }
    None
}

/// `NT_GNU_PROPERTY_TYPE_0`.
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
/// `GNU_PROPERTY_MEMORY_SEAL` (GNU ld(1), `-z memory-seal`) and `GNU_PROPERTY_X86_ISA_1_NEEDED` (psABI, *Program Property*).
const MEMORY_SEAL: u32 = 3;
const ISA_1_NEEDED: u32 = 0xc000_8002;

/// What property notes ask of whoever loads an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The processor's levels that it needs, as `GNU_PROPERTY_X86_ISA_1_*` bits.
    pub isa_needed: u32,
    /// Its mappings shall be sealed (mseal(2)).
    pub memory_seal: bool,
}

/// The properties in the bytes of a `PT_NOTE` segment of alignment 8; `None` if the segment has no property note. More than
/// one such note, which old link editors made, says nothing, nor does one with properties out of order (*glibc
/// sysdeps/x86/dl-prop.h, _dl_process_property_note*).
pub fn properties(notes: &[u8]) -> Option<Properties> {
    let mut found = None;
    let mut rest = notes;
    while let Some(note) = Note::first(rest) {
        if note.kind == NT_GNU_PROPERTY_TYPE_0 && note.name == b"GNU\0" {
            if found.is_some() {
                return Some(Properties::default());
            }
            found = Some(decode(note.description).unwrap_or_default());
        }
        rest = note.rest;
    }
    found
}

/// A note where they are aligned to 8 bytes, and what follows it.
struct Note<'n> {
    kind: u32,
    name: &'n [u8],
    description: &'n [u8],
    rest: &'n [u8],
}

impl<'n> Note<'n> {
    fn first(notes: &'n [u8]) -> Option<Note<'n>> {
        let [namesz, descsz, kind] = [0, 4, 8].map(|at| word(notes, at));
        let name_end = 12usize.checked_add(namesz? as usize)?;
        let start = name_end.checked_next_multiple_of(8)?;
        let end = start.checked_add(descsz? as usize)?;
        let rest = notes.get(end.checked_next_multiple_of(8)?..).unwrap_or_default();
        Some(Note { kind: kind?, name: notes.get(12..name_end)?, description: notes.get(start..end)?, rest })
    }
}

fn decode(mut bytes: &[u8]) -> Option<Properties> {
    let mut properties = Properties::default();
    let mut last = 0;
    while bytes.len() >= 8 {
        let (kind, size) = (word(bytes, 0)?, word(bytes, 4)? as usize);
        let value = bytes.get(8..8usize.checked_add(size)?)?;
        match kind {
            _ if kind < last => return None,
            MEMORY_SEAL => properties.memory_seal = size == 0,
            ISA_1_NEEDED if size == 4 => return Some(Properties { isa_needed: word(value, 0)?, ..properties }),
            // They are in ascending order.
            _ if kind >= ISA_1_NEEDED => break,
            _ => {}
        }
        last = kind;
        bytes = bytes.get(8 + size.checked_next_multiple_of(8)?..)?;
    }
    Some(properties)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
