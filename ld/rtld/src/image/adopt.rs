//! Adopt: make objects of what is in memory already, the program that the kernel mapped, the vDSO, and Folio itself.
//!
//! # Safety
//! Addresses come from the kernel's auxiliary vector (getauxval(3)) and from the linker script.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use folio_elf::header::{ProgramHeader, program_headers};
use folio_elf::{Addr, Bias, FileHeader};
use folio_link::Problem;
use folio_link::object::{Kind, Object};
use folio_link::placement::Placement;

use crate::image::map::image_of;

/// Size in bytes of an `Elf64_Phdr`.
const PROGRAM_HEADER: usize = 56;
const PT_PHDR: u32 = 6;

// SAFETY: every link editor defines this symbol for the image that it makes, and only its address is taken.
unsafe extern "C" {
    /// Folio's own first byte (`linker-scripts/rtld.ld`).
    static __ehdr_start: u8;
}

/// Address of Folio's own ELF header, which is its load bias: the script links at 0.
pub fn own_base() -> Addr {
    Addr((&raw const __ehdr_start).expose_provenance() as u64)
}

/// `length` bytes of an object that the kernel mapped.
///
/// # Safety
/// They must be there, readable and constant.
unsafe fn mapped_bytes(at: Addr, length: usize) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at.0 as usize), length) }
}

/// An object of which only the place of its program headers is known: the program of a start as `PT_INTERP`.
pub fn program(headers: Addr, count: u16, entry: Addr) -> Result<Box<Object<'static>>, Problem> {
    // SAFETY: AT_PHDR and AT_PHNUM describe the program headers of the program that the kernel mapped.
    let table = unsafe { mapped_bytes(headers, usize::from(count) * PROGRAM_HEADER) };
    let list: Vec<ProgramHeader> = program_headers(table).collect();
    let bias = list
        .iter()
        .find(|header| header.p_type == PT_PHDR)
        .map_or(Bias(0), |header| Bias(headers.0.wrapping_sub(header.p_vaddr)));
    let header =
        FileHeader { position_independent: bias.0 != 0, entry: bias.remove(entry), phoff: u64::MAX, phnum: count };
    let mut placement = place(&header, &list)?;
    placement.headers = Some(bias.remove(headers));
    decode(Kind::Executable, b"", placement, bias)
}

/// An object whose ELF header is mapped at `base`, with all of it mapped as it says: the vDSO, and Folio itself.
pub fn whole(kind: Kind, base: Addr, path: &[u8]) -> Result<Box<Object<'static>>, Problem> {
    // SAFETY: AT_SYSINFO_EHDR, or Folio's own first page.
    let start = unsafe { mapped_bytes(base, FileHeader::SIZE) };
    let header = FileHeader::decode(start).map_err(Problem::Header)?;
    // SAFETY: both objects have their program headers in their first page, behind the header.
    let table = unsafe { mapped_bytes(Addr(base.0.wrapping_add(header.phoff)), header.phsize()) };
    let list: Vec<ProgramHeader> = program_headers(table).collect();
    let placement = place(&header, &list)?;
    let bias = Bias(base.0.wrapping_sub(placement.start().0));
    decode(kind, path, placement, bias)
}

fn place(header: &FileHeader, list: &[ProgramHeader]) -> Result<Placement, Problem> {
    // The kernel has mapped the file already, so its size is of no more interest.
    Placement::plan(header, list.iter().copied(), u64::MAX).map_err(Problem::Placement)
}

fn decode(kind: Kind, path: &[u8], placement: Placement, bias: Bias) -> Result<Box<Object<'static>>, Problem> {
    // SAFETY: the kernel mapped every segment, and nobody unmaps them.
    let image = unsafe { image_of(&placement, bias) };
    Object::decode(kind, path, placement, image)
}
