//! Where an object's segments go: from program headers to the mappings that will be made, before any is made.
//!
//! Every rule that a damaged file could break is checked here, so that what maps the segments only follows orders
//! (gABI, *Program Header* and *Program Loading*; sentences of *glibc elf/dl-load.c, _dl_map_object_from_fd*).

use alloc::vec::Vec;
use core::fmt;

use folio_elf::dynamic::Extent;
use folio_elf::header::{
    PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_NOTE, PT_PHDR, PT_TLS,
    ProgramHeader,
};
use folio_elf::{FileHeader, Vaddr};

pub use folio_elf::header::{PF_R, PF_W, PF_X};

/// Size in bytes of the smallest page of x86-64 (psABI, *Page Size*).
pub const PAGE: u64 = 4096;

/// Link-time addresses end where user space does (psABI, *Virtual Address Space*).
pub const ADDRESS_LIMIT: u64 = 1 << 47;

/// Why an object's program headers cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementError {
    NoSegments,
    /// `p_vaddr` and `p_offset` differ within a page.
    Misaligned,
    /// Segments overlap or are not in ascending order.
    Overlap,
    /// A segment's file part is larger than its memory part, or an address wraps around.
    Size,
    /// A segment's file part does not lie within the file.
    Truncated,
    NoDynamicSection,
    /// An `ET_EXEC` where a library is wanted.
    Executable,
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            PlacementError::NoSegments => "object file has no loadable segments",
            PlacementError::Misaligned => "ELF load command address/offset not page-aligned",
            PlacementError::Overlap => "ELF load commands overlap or are out of order",
            PlacementError::Size => "ELF load command sizes are inconsistent",
            PlacementError::Truncated => "ELF load command past end of file",
            PlacementError::NoDynamicSection => "object file has no dynamic section",
            PlacementError::Executable => "cannot dynamically load executable",
        })
    }
}

/// One `PT_LOAD`, in whole pages where the kernel wants pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSegment {
    /// First address, rounded down to a page.
    pub start: Vaddr,
    /// End of what the file gives, not rounded.
    pub data_end: Vaddr,
    /// End of the segment in memory, not rounded: zeros follow `data_end`.
    pub end: Vaddr,
    /// File offset of `start`.
    pub offset: u64,
    /// `p_flags`.
    pub flags: u32,
}

impl LoadSegment {
    /// First address after the pages that are mapped from the file.
    pub fn file_pages_end(&self) -> Vaddr {
        Vaddr(self.data_end.0.next_multiple_of(PAGE))
    }

    /// First address after the last page.
    pub fn pages_end(&self) -> Vaddr {
        Vaddr(self.end.0.next_multiple_of(PAGE))
    }

    pub fn has_file_part(&self) -> bool {
        self.data_end.0 > self.start.0
    }
}

/// `PT_TLS`: the initialisation image of an object's thread-local storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsSegment {
    pub image: Vaddr,
    /// Bytes that the image gives.
    pub file_size: u64,
    /// Bytes in all; zeros follow the image.
    pub size: u64,
    pub align: u64,
}

/// The mappings of one object, and where in them its parts lie.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    pub segments: Vec<LoadSegment>,
    pub position_independent: bool,
    pub entry: Vaddr,
    /// Largest `p_align`, at least a page.
    pub align: u64,
    pub dynamic: Option<Extent>,
    /// The dynamic section lies in memory that may be written (it is relocated in place).
    pub dynamic_writable: bool,
    /// `PT_INTERP`: the name of the program's interpreter.
    pub interpreter: Option<Extent>,
    pub tls: Option<TlsSegment>,
    /// `PT_GNU_RELRO`.
    pub relro: Option<Extent>,
    pub eh_frame_header: Option<Vaddr>,
    pub notes: Vec<Extent>,
    /// Those of them with an alignment of 8: property notes are looked for in the last one first.
    pub property_notes: Vec<Extent>,
    /// Where the program headers are in memory, if they are.
    pub headers: Option<Vaddr>,
    pub header_count: u16,
    /// `p_flags` of `PT_GNU_STACK`; absent, the stack must be executable (x86-64 ABI default of old objects).
    pub stack_flags: Option<u32>,
}

fn is_property_note(header: &ProgramHeader) -> bool {
    header.p_type == PT_NOTE && header.p_align == 8
}

impl Placement {
    /// Plans the object with `header` and program headers `headers`, of which `file_size` bytes exist.
    pub fn plan(
        header: &FileHeader,
        headers: impl Iterator<Item = ProgramHeader> + Clone,
        file_size: u64,
    ) -> Result<Placement, PlacementError> {
        // Room for just what there is: each object keeps these for as long as it is loaded.
        let count = |is_one: fn(&ProgramHeader) -> bool| headers.clone().filter(is_one).count();
        let mut placement = Placement {
            position_independent: header.position_independent,
            entry: header.entry,
            align: PAGE,
            header_count: header.phnum,
            segments: Vec::with_capacity(count(|header| header.p_type == PT_LOAD)),
            notes: Vec::with_capacity(count(|header| header.p_type == PT_NOTE)),
            property_notes: Vec::with_capacity(count(is_property_note)),
            ..Placement::default()
        };
        let mut empty_dynamic = false;
        for program_header in headers.clone() {
            let extent = Extent { at: Vaddr(program_header.p_vaddr), size: program_header.p_memsz };
            match program_header.p_type {
                PT_LOAD => placement.add_segment(&program_header, file_size)?,
                PT_DYNAMIC if program_header.p_filesz == 0 => empty_dynamic = true,
                PT_DYNAMIC => {
                    placement.dynamic = Some(extent);
                    placement.dynamic_writable = program_header.p_flags & PF_W != 0;
                }
                PT_INTERP => placement.interpreter = Some(extent),
                PT_PHDR => placement.headers = Some(extent.at),
                PT_TLS if program_header.p_memsz != 0 => {
                    placement.tls = Some(TlsSegment {
                        image: extent.at,
                        file_size: program_header.p_filesz.min(program_header.p_memsz),
                        size: program_header.p_memsz,
                        align: program_header.p_align.max(1),
                    });
                }
                PT_GNU_RELRO => placement.relro = Some(extent),
                PT_GNU_EH_FRAME => placement.eh_frame_header = Some(extent.at),
                PT_GNU_STACK => placement.stack_flags = Some(program_header.p_flags),
                PT_NOTE => {
                    placement.notes.push(extent);
                    if is_property_note(&program_header) {
                        placement.property_notes.push(extent);
                    }
                }
                _ => {}
            }
        }
        if placement.segments.is_empty() {
            return Err(PlacementError::NoSegments);
        }
        if empty_dynamic || (placement.dynamic.is_none() && header.position_independent) {
            return Err(PlacementError::NoDynamicSection);
        }
        if placement.headers.is_none() {
            placement.headers = placement.headers_in_segment(header);
        }
        Ok(placement)
    }

    fn add_segment(&mut self, header: &ProgramHeader, file_size: u64) -> Result<(), PlacementError> {
        if header.p_memsz == 0 {
            return Ok(());
        }
        if !header.p_vaddr.wrapping_sub(header.p_offset).is_multiple_of(PAGE) {
            return Err(PlacementError::Misaligned);
        }
        let end = header
            .p_vaddr
            .checked_add(header.p_memsz)
            .filter(|&end| end <= ADDRESS_LIMIT && header.p_filesz <= header.p_memsz)
            .ok_or(PlacementError::Size)?;
        header
            .p_offset
            .checked_add(header.p_filesz)
            .filter(|&end| end <= file_size || header.p_filesz == 0)
            .ok_or(PlacementError::Truncated)?;
        let start = header.p_vaddr / PAGE * PAGE;
        if self.segments.last().is_some_and(|last| last.pages_end().0 > start) {
            return Err(PlacementError::Overlap);
        }
        if header.p_align.is_power_of_two() && header.p_align < ADDRESS_LIMIT {
            self.align = self.align.max(header.p_align);
        }
        self.segments.push(LoadSegment {
            start: Vaddr(start),
            data_end: if header.p_filesz == 0 { Vaddr(start) } else { Vaddr(header.p_vaddr + header.p_filesz) },
            end: Vaddr(end),
            offset: header.p_offset / PAGE * PAGE,
            flags: header.p_flags & (PF_R | PF_W | PF_X),
        });
        Ok(())
    }

    /// The program headers' address when no `PT_PHDR` tells it: some segment maps that part of the file.
    fn headers_in_segment(&self, header: &FileHeader) -> Option<Vaddr> {
        let end = header.phoff.checked_add(header.phsize() as u64)?;
        self.segments.iter().find_map(|segment| {
            let file_end = segment.offset + (segment.data_end.0 - segment.start.0);
            (segment.offset <= header.phoff && end <= file_end)
                .then(|| Vaddr(segment.start.0 + (header.phoff - segment.offset)))
        })
    }

    /// First address, a multiple of the page size.
    pub fn start(&self) -> Vaddr {
        self.segments.first().map_or(Vaddr(0), |segment| segment.start)
    }

    /// First address after the last segment, not rounded.
    pub fn end(&self) -> Vaddr {
        self.segments.last().map_or(Vaddr(0), |segment| segment.end)
    }

    /// Size in bytes, whole pages, of the address range that the object takes.
    pub fn span(&self) -> u64 {
        self.end().0.next_multiple_of(PAGE) - self.start().0
    }

    /// Whether each segment starts on the page after the last one.
    pub fn is_contiguous(&self) -> bool {
        self.segments.windows(2).all(|pair| pair[0].pages_end() == pair[1].start)
    }

    /// The pages that become read-only after relocation: `PT_GNU_RELRO` with both ends rounded down to a page
    /// (*glibc elf/dl-reloc.c, _dl_protect_relro*), cut to the writable segment that holds it.
    pub fn relro_pages(&self) -> Option<(Vaddr, Vaddr)> {
        let relro = self.relro?;
        let start = relro.at.0 / PAGE * PAGE;
        let end = relro.at.0.checked_add(relro.size)? / PAGE * PAGE;
        let mut segments = self.segments.iter().filter(|segment| segment.flags & PF_W != 0);
        let segment = segments.find(|segment| segment.start.0 <= start && start < segment.pages_end().0)?;
        let end = end.min(segment.pages_end().0);
        (start < end).then_some((Vaddr(start), Vaddr(end)))
    }
}
