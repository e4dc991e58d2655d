//! The SystemTap notes of the interpreter (systemtap's *sys/sdt.h*, version 3): gdb uses the probes only if those that it
//! knows are all there, and reads the arguments where the notes say.

use anyhow::{Context, Result};
use object::{Object, ObjectSection};

use crate::Elf;

/// What glibc's loader has where it is built with probes, with the number of their arguments.
const PROBES: [(&str, usize); 8] = [
    ("init_complete", 2),
    ("init_start", 2),
    ("map_complete", 3),
    ("map_start", 2),
    ("reloc_complete", 3),
    ("reloc_start", 2),
    ("unmap_complete", 2),
    ("unmap_start", 2),
];
const NT_STAPSDT: u32 = 3;

pub fn check(elf: &Elf) -> Result<Vec<String>> {
    let section = |name| elf.section_by_name(name).with_context(|| format!("there is no section {name}"));
    let (notes, base, text) = (section(".note.stapsdt")?, section(".stapsdt.base")?.address(), section(".text")?);
    let mut rest = notes.data()?;
    let (mut findings, mut found) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (note, next) = next_note(rest).context("a note is cut off")?;
        rest = next;
        let (place, assumed_base, semaphore) = note.addresses;
        let code = place.checked_sub(text.address()).and_then(|at| text.data().ok()?.get(at as usize));
        if code != Some(&0x90) {
            findings.push(format!("{}: no NOP of the code at {place:#x}", note.name));
        }
        if (note.kind, note.provider, assumed_base, semaphore) != (NT_STAPSDT, "rtld", base, 0) {
            findings.push(format!("{}: {note:?}, and the base is {base:#x}", note.name));
        }
        found.push((note.name, note.arguments.split(' ').count()));
    }
    found.sort_unstable();
    if found != PROBES {
        findings.push(format!("{found:?} are not {PROBES:?}"));
    }
    Ok(findings)
}

#[derive(Debug)]
struct Note<'a> {
    kind: u32,
    /// The probe's, that of `.stapsdt.base` when it was linked, the semaphore's.
    addresses: (u64, u64, u64),
    provider: &'a str,
    name: &'a str,
    arguments: &'a str,
}

/// The first note of `data`, and what follows it.
fn next_note(data: &[u8]) -> Option<(Note<'_>, &[u8])> {
    let (header, rest) = data.split_first_chunk::<12>()?;
    let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let owner = (word(0)? as usize).next_multiple_of(4);
    let size = word(4)? as usize;
    let description = rest.get(owner..)?.get(..size)?;
    let long = |at: usize| Some(u64::from_le_bytes(description.get(at..at + 8)?.try_into().ok()?));
    let mut strings = description.get(24..)?.split(|&byte| byte == 0).map(str::from_utf8);
    let mut string = || strings.next()?.ok();
    let note = Note {
        kind: word(8)?,
        addresses: (long(0)?, long(8)?, long(16)?),
        provider: string()?,
        name: string()?,
        arguments: string()?,
    };
    Some((note, rest.get(owner + size.next_multiple_of(4)..)?))
}
