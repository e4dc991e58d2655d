//! Adopt: make objects of what is in memory already, the program that the kernel mapped, the vDSO, and Folio itself.
//!
//! # Safety
//! Addresses come from the kernel's auxiliary vector (getauxval(3)) and from the linker script.
#![allow(unsafe_code)]

use alloc::boxed::Box;

use folio_elf::header::{PT_LOAD, PT_PHDR, ProgramHeader, program_headers};
use folio_elf::{Addr, Bias, FileHeader, Vaddr};
use folio_link::Problem;
use folio_link::object::{Kind, Object};
use folio_link::placement::{PAGE, PF_R, Placement};
use folio_runtime::signal;

use crate::image::map::{self, image_of};

/// Size in bytes of an `Elf64_Phdr`.
const PROGRAM_HEADER: usize = 56;

// SAFETY: every link editor defines this symbol for the image that it makes, and only its address is taken.
unsafe extern "C" {
    /// Folio's own first byte (`linker-scripts/rtld.ld`).
    static __ehdr_start: u8;
    /// The end of its last segment.
    static _end: u8;
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

/// Whether an address is in Folio itself.
pub fn is_own(address: usize) -> bool {
    let (start, end) = ((&raw const __ehdr_start).addr(), (&raw const _end).addr());
    (start..end).contains(&address)
}

/// An object of which only the place of its program headers is known: the program of a start as `PT_INTERP`.
pub fn program(headers: Addr, count: u16, entry: Addr) -> Result<Box<Object<'static>>, Problem> {
    let length = usize::from(count) * PROGRAM_HEADER;
    if !is_readable(headers, length) {
        return Err(Problem::Headers);
    }
    // SAFETY: the program headers of the program that the kernel mapped, all of whose pages were asked for.
    let table = unsafe { mapped_bytes(headers, length) };
    let list = program_headers(table);
    let table_header = list.clone().find(|header| header.p_type == PT_PHDR);
    let bias = table_header.map_or(Bias(0), |header| Bias(headers.0.wrapping_sub(header.p_vaddr)));
    require_bias(bias, headers, entry, list.clone())?;
    let header =
        FileHeader { position_independent: bias.0 != 0, entry: bias.remove(entry), phoff: u64::MAX, phnum: count };
    let mut placement = place(&header, list)?;
    placement.headers = Some(bias.remove(headers));
    map::copy_dynamic(&placement, bias);
    decode(Kind::Executable, b"", placement, bias)
}

/// Whether the pages of a range can be read. The kernel says where a program's headers should be, not whether they are.
fn is_readable(at: Addr, length: usize) -> bool {
    let Some(last) = at.0.checked_add(length as u64).and_then(|end| end.checked_sub(1)) else { return false };
    let mut pages = at.0 / PAGE..=last / PAGE;
    pages.all(|page| signal::is_readable((page * PAGE).max(at.0) as usize))
}

/// Checks the load bias that `PT_PHDR` tells, on which every access to the program rests.
///
/// In nearly all programs the ELF header stands right before the program headers: it knows the entry point, of which the
/// kernel tells where it is. Tools that needed more headers have moved them elsewhere; then every segment must at least begin
/// and end in memory.
fn require_bias(
    bias: Bias,
    headers: Addr,
    entry: Addr,
    list: impl Iterator<Item = ProgramHeader>,
) -> Result<(), Problem> {
    let start = Addr(headers.0.wrapping_sub(FileHeader::SIZE as u64));
    let header = start.0.is_multiple_of(PAGE).then(|| {
        // SAFETY: on the page of the program headers, which can be read.
        FileHeader::decode(unsafe { mapped_bytes(start, FileHeader::SIZE) })
    });
    let is_right = match header {
        Some(Ok(header)) => bias.apply(header.entry) == entry,
        // The kernel starts some programs whose header no library may have.
        _ => list.filter(|load| load.p_type == PT_LOAD && load.p_memsz >= 8 && load.p_flags & PF_R != 0).all(|load| {
            let ends = [load.p_vaddr, load.p_vaddr.wrapping_add(load.p_memsz - 8)];
            ends.iter().all(|&end| signal::is_readable(bias.apply(Vaddr(end)).0 as usize))
        }),
    };
    if is_right { Ok(()) } else { Err(Problem::Headers) }
}

/// An object whose ELF header is mapped at `base`, with all of it mapped as it says: the vDSO, and Folio itself.
pub fn whole(kind: Kind, base: Addr, path: &[u8]) -> Result<Box<Object<'static>>, Problem> {
    // SAFETY: AT_SYSINFO_EHDR, or Folio's own first page.
    let start = unsafe { mapped_bytes(base, FileHeader::SIZE) };
    let header = FileHeader::decode(start).map_err(Problem::Header)?;
    // SAFETY: both objects have their program headers in their first page, behind the header.
    let table = unsafe { mapped_bytes(Addr(base.0.wrapping_add(header.phoff)), header.phsize()) };
    let placement = place(&header, program_headers(table))?;
    let bias = Bias(base.0.wrapping_sub(placement.start().0));
    decode(kind, path, placement, bias)
}

fn place(header: &FileHeader, list: impl Iterator<Item = ProgramHeader> + Clone) -> Result<Placement, Problem> {
    // The kernel has mapped the file already, so its size is of no more interest.
    Placement::plan(header, list, u64::MAX).map_err(Problem::Placement)
}

fn decode(kind: Kind, path: &[u8], placement: Placement, bias: Bias) -> Result<Box<Object<'static>>, Problem> {
    // SAFETY: the kernel mapped every segment, and nobody unmaps them.
    let image = unsafe { image_of(&placement, bias) };
    Object::decode(kind, path, placement, image)
}
