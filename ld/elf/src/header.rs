//! The ELF header and program headers of a file, checked as a loader must check them.
//!
//! Sentences and their order are those of *glibc elf/dl-load.c, open_verify and _dl_map_object_from_fd*: programs and people
//! know them.

use core::fmt;

use goblin::elf64::header::{
    EI_ABIVERSION, EI_CLASS, EI_DATA, EI_OSABI, EI_VERSION, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN,
    ET_EXEC, EV_CURRENT, Header, SIZEOF_EHDR,
};
use goblin::elf64::program_header::SIZEOF_PHDR;
pub use goblin::elf64::program_header::{
    PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_NOTE, PT_PHDR,
    PT_TLS, ProgramHeader,
};

use crate::address::Vaddr;

/// `e_ident[EI_OSABI]` of objects that use GNU extensions.
const ELFOSABI_GNU: u8 = 3;

/// Offset in `e_ident` of its padding.
const EI_PAD: usize = 9;

/// Why a file is not an object that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    TooShort,
    NotElf,
    /// Of another class: skipped in a search.
    OtherClass,
    /// For another machine: skipped in a search.
    OtherMachine,
    ByteOrder,
    IdentVersion,
    OsAbi,
    AbiVersion,
    Padding,
    Version,
    Type,
    ProgramHeaderSize,
    ProgramHeaderCount,
}

impl HeaderError {
    /// Whether a search goes on after such a file, as if it were not there.
    pub fn is_foreign(self) -> bool {
        matches!(self, HeaderError::OtherClass | HeaderError::OtherMachine)
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            HeaderError::TooShort => "file too short",
            HeaderError::NotElf => "invalid ELF header",
            HeaderError::OtherClass => "wrong ELF class: ELFCLASS32",
            HeaderError::OtherMachine => "cannot open shared object file: No such file or directory",
            HeaderError::ByteOrder => "ELF file data encoding not little-endian",
            HeaderError::IdentVersion => "ELF file version ident does not match current one",
            HeaderError::OsAbi => "ELF file OS ABI invalid",
            HeaderError::AbiVersion => "ELF file ABI version invalid",
            HeaderError::Padding => "nonzero padding in e_ident",
            HeaderError::Version => "ELF file version does not match current one",
            HeaderError::Type => "only ET_DYN and ET_EXEC can be loaded",
            HeaderError::ProgramHeaderSize => "ELF file's phentsize not the expected size",
            HeaderError::ProgramHeaderCount => "ELF file has too many program headers",
        })
    }
}

/// What the ELF header of a loadable object says.
#[derive(Clone, Copy, Debug)]
pub struct FileHeader {
    /// `ET_DYN`, as against `ET_EXEC` at fixed addresses.
    pub position_independent: bool,
    pub entry: Vaddr,
    /// File offset of the program headers.
    pub phoff: u64,
    pub phnum: u16,
}

/// The bytes of an ELF header where its numbers may be.
#[repr(align(8))]
struct Aligned([u8; SIZEOF_EHDR]);

impl FileHeader {
    /// Size in bytes of the ELF header itself.
    pub const SIZE: usize = SIZEOF_EHDR;

    /// Decodes and checks the first bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<SIZEOF_EHDR>() else {
            return Err(HeaderError::TooShort);
        };
        // Goblin takes no bytes but aligned ones.
        let aligned = Aligned(*bytes);
        let header = Header::from_bytes(&aligned.0);
        let ident = &header.e_ident;
        if &ident[..4] != ELFMAG {
            return Err(HeaderError::NotElf);
        }
        if ident[EI_CLASS] != ELFCLASS64 {
            return Err(HeaderError::OtherClass);
        }
        if ident[EI_DATA] != ELFDATA2LSB {
            // The machine is read as this machine reads numbers, whatever the file says of its own.
            return Err(if header.e_machine == EM_X86_64 { HeaderError::ByteOrder } else { HeaderError::OtherMachine });
        }
        if ident[EI_VERSION] != EV_CURRENT {
            return Err(HeaderError::IdentVersion);
        }
        let osabi = ident[EI_OSABI];
        if osabi != 0 && osabi != ELFOSABI_GNU {
            return Err(HeaderError::OsAbi);
        }
        // ABI version 1 marks STB_GNU_UNIQUE, 2 marks IFUNC and 3 absolute symbols (glibc LIBC_ABI_*).
        if ident[EI_ABIVERSION] != 0 && !(osabi == ELFOSABI_GNU && ident[EI_ABIVERSION] < 4) {
            return Err(HeaderError::AbiVersion);
        }
        if ident[EI_PAD..].iter().any(|&byte| byte != 0) {
            return Err(HeaderError::Padding);
        }
        if header.e_version != u32::from(EV_CURRENT) {
            return Err(HeaderError::Version);
        }
        if header.e_machine != EM_X86_64 {
            return Err(HeaderError::OtherMachine);
        }
        if header.e_type != ET_DYN && header.e_type != ET_EXEC {
            return Err(HeaderError::Type);
        }
        if usize::from(header.e_phentsize) != SIZEOF_PHDR {
            return Err(HeaderError::ProgramHeaderSize);
        }
        // The kernel starts no program that has more (Linux fs/binfmt_elf.c, load_elf_phdrs).
        if usize::from(header.e_phnum) * SIZEOF_PHDR > 1 << 16 {
            return Err(HeaderError::ProgramHeaderCount);
        }
        Ok(FileHeader {
            position_independent: header.e_type == ET_DYN,
            entry: Vaddr(header.e_entry),
            phoff: header.e_phoff,
            phnum: header.e_phnum,
        })
    }

    /// Size in bytes of the program header table.
    pub fn phsize(&self) -> usize {
        usize::from(self.phnum) * SIZEOF_PHDR
    }
}

/// The whole program headers in `bytes`.
pub fn program_headers(bytes: &[u8]) -> impl Iterator<Item = ProgramHeader> + Clone + '_ {
    bytes.chunks_exact(SIZEOF_PHDR).map(|record| {
        let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap_or_default());
        let half = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap_or_default());
        ProgramHeader {
            p_type: half(0),
            p_flags: half(4),
            p_offset: word(8),
            p_vaddr: word(16),
            p_paddr: word(24),
            p_filesz: word(32),
            p_memsz: word(40),
            p_align: word(48),
        }
    })
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
