//! Ways in which the bytes of a library or a program can be wrong.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use folio_tests::diagnosis::Reference;
use object::Endianness;
use object::elf::{FileHeader64, PT_DYNAMIC, PT_LOAD, PT_NULL, PT_PHDR, PT_TLS};
use object::read::elf::{FileHeader, ProgramHeader};

/// One kind of damage, and the sentence that it must give.
pub struct Damage {
    pub name: &'static str,
    /// Which file is damaged.
    pub file: &'static str,
    pub reference: Reference,
    pub sentence: &'static str,
    change: fn(&mut Bytes),
}

impl Damage {
    /// Damages the file in place.
    pub fn apply(&self, file: &Path) -> Result<()> {
        let mut bytes = Bytes::new(fs::read(file)?).context("the file is sound before")?;
        (self.change)(&mut bytes);
        fs::write(file, bytes.bytes)?;
        Ok(())
    }
}

/// A library's bytes, with the file offsets of the fields that are damaged (gABI chapters 4 and 5).
struct Bytes {
    bytes: Vec<u8>,
    /// The file offsets of the program headers for PT_LOAD, in order.
    loads: Vec<usize>,
    dynamic: usize,
    /// Those for PT_TLS and PT_PHDR.
    tls: Option<usize>,
    headers: Option<usize>,
}

const E_IDENT_DATA: usize = 5;
const E_IDENT_VERSION: usize = 6;
const E_IDENT_OSABI: usize = 7;
const E_TYPE: usize = 16;
const E_VERSION: usize = 20;
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
const P_FLAGS: usize = 4;
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_FILESZ: usize = 32;
const P_MEMSZ: usize = 40;
const P_ALIGN: usize = 48;

impl Bytes {
    fn new(bytes: Vec<u8>) -> Option<Self> {
        let header = FileHeader64::<Endianness>::parse(&*bytes).ok()?;
        let endian = header.endian().ok()?;
        let start = header.e_phoff(endian) as usize;
        let segments: Vec<u32> =
            header.program_headers(endian, &*bytes).ok()?.iter().map(|segment| segment.p_type(endian).0).collect();
        let of_type = |wanted: u32| {
            segments
                .iter()
                .enumerate()
                .filter(move |(_, kind)| **kind == wanted)
                .map(move |(index, _)| start + index * 56)
        };
        let loads = of_type(PT_LOAD.0).collect();
        let dynamic = of_type(PT_DYNAMIC.0).next()?;
        let (tls, headers) = (of_type(PT_TLS.0).next(), of_type(PT_PHDR.0).next());
        Some(Self { loads, dynamic, tls, headers, bytes })
    }

    fn set<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(word)
    }

    fn add(&mut self, at: usize, amount: u64) {
        let value = self.word(at).wrapping_add(amount);
        self.set(at, value.to_le_bytes());
    }

    /// The entry of the dynamic section with this tag: the file offset of its value.
    fn entry(&self, tag: u64) -> Option<usize> {
        let start = self.word(self.dynamic + P_OFFSET) as usize;
        let size = self.word(self.dynamic + P_FILESZ) as usize;
        (start..start + size).step_by(16).find(|&at| self.word(at) == tag).map(|at| at + 8)
    }

    fn set_entry(&mut self, tag: u64, value: u64) {
        if let Some(at) = self.entry(tag) {
            self.set(at, value.to_le_bytes());
        }
    }
}

const LIBRARY: &str = "libvictim.so";

const fn checked(name: &'static str, sentence: &'static str, change: fn(&mut Bytes)) -> Damage {
    Damage { name, file: LIBRARY, reference: Reference::Sentence, sentence, change }
}

const fn unchecked(name: &'static str, change: fn(&mut Bytes)) -> Damage {
    Damage { name, file: LIBRARY, reference: Reference::Unchecked, sentence: "", change }
}

const fn program(name: &'static str, change: fn(&mut Bytes)) -> Damage {
    Damage { file: "program", ..unchecked(name, change) }
}

pub const DAMAGES: &[Damage] = &[
    checked("data_encoding", "ELF file data encoding not little-endian", |file| file.set(E_IDENT_DATA, [2])),
    checked("ident_version", "ELF file version ident does not match current one", |file| {
        file.set(E_IDENT_VERSION, [9])
    }),
    checked("os_abi", "ELF file OS ABI invalid", |file| file.set(E_IDENT_OSABI, [9])),
    checked("abi_version", "ELF file ABI version invalid", |file| file.set(8, [9])),
    checked("padding", "nonzero padding in e_ident", |file| file.set(10, [1])),
    checked("version", "ELF file version does not match current one", |file| file.set(E_VERSION, [9])),
    checked("type_relocatable", "only ET_DYN and ET_EXEC can be loaded", |file| file.set(E_TYPE, [1, 0])),
    checked("type_core", "only ET_DYN and ET_EXEC can be loaded", |file| file.set(E_TYPE, [4, 0])),
    checked("phentsize", "ELF file's phentsize not the expected size", |file| file.set(E_PHENTSIZE, [55, 0])),
    checked("no_load", "object file has no loadable segments", |file| {
        for at in file.loads.clone() {
            file.set(at, PT_NULL.0.to_le_bytes());
        }
    }),
    checked("no_dynamic", "object file has no dynamic section", |file| file.set(file.dynamic, PT_NULL.0.to_le_bytes())),
    unchecked("alignment", |file| {
        file.set(file.loads[0] + P_ALIGN, 1000_u64.to_le_bytes());
    }),
    checked("address_beside_offset", "ELF load command address/offset not", |file| {
        file.add(file.loads[1] + P_VADDR, 0x10);
    }),
    checked("headers_beyond_file", "cannot read file data", |file| file.set(E_PHOFF, 0x10_0000_u64.to_le_bytes())),
    checked("no_headers", "object file has no loadable segments", |file| file.set(E_PHNUM, [0, 0])),
    unchecked("truncated_text", |file| file.bytes.truncate(0x1800)),
    unchecked("truncated_data", |file| file.bytes.truncate(0x2e00)),
    unchecked("segment_beyond_file", |file| {
        let last = file.loads[file.loads.len() - 1];
        file.add(last + P_FILESZ, 0x10_0000);
        file.add(last + P_MEMSZ, 0x10_0000);
    }),
    unchecked("segments_overlap", |file| {
        let (first, second) = (file.loads[0], file.loads[1]);
        let start = file.word(first + P_VADDR);
        file.set(second + P_VADDR, start.to_le_bytes());
    }),
    unchecked("segments_in_disorder", |file| {
        let (first, last) = (file.loads[0], file.loads[file.loads.len() - 1]);
        let kept: Vec<u8> = file.bytes[first..first + 56].to_vec();
        file.bytes.copy_within(last..last + 56, first);
        file.bytes[last..last + 56].copy_from_slice(&kept);
    }),
    unchecked("file_size_above_memory_size", |file| {
        let first = file.loads[0];
        file.set(first + P_MEMSZ, 0x10_u64.to_le_bytes());
    }),
    unchecked("address_overflows", |file| {
        let last = file.loads[file.loads.len() - 1];
        let offset = file.word(last + P_OFFSET) & 0xfff;
        file.set(last + P_VADDR, (0xffff_ffff_ffff_f000 | offset).to_le_bytes());
    }),
    unchecked("memory_size_overflows", |file| {
        let last = file.loads[file.loads.len() - 1];
        file.set(last + P_MEMSZ, u64::MAX.to_le_bytes());
    }),
    unchecked("dynamic_outside", |file| file.set(file.dynamic + P_VADDR, 0x7fff_0000_u64.to_le_bytes())),
    unchecked("strings_outside", |file| file.set_entry(5, 0x7fff_0000)),
    unchecked("symbols_outside", |file| file.set_entry(6, 0x7fff_0000)),
    unchecked("hash_outside", |file| file.set_entry(0x6fff_fef5, 0x7fff_0000)),
    unchecked("relocations_outside", |file| file.set_entry(7, 0x7fff_0000)),
    unchecked("relocations_too_large", |file| file.set_entry(8, 0x7fff_ffff_0000)),
    unchecked("relocation_entry_size", |file| file.set_entry(9, 7)),
    unchecked("relocation_type", |file| {
        let table = file.entry(7).map(|at| file.word(at) as usize);
        if let Some(at) = table {
            file.set(at + 8, 99_u32.to_le_bytes());
        }
    }),
    unchecked("relocation_target_outside", |file| {
        let table = file.entry(7).map(|at| file.word(at) as usize);
        if let Some(at) = table {
            file.set(at, 0x7fff_0000_u64.to_le_bytes());
        }
    }),
    unchecked("version_definitions_outside", |file| file.set_entry(0x6fff_fffc, 0x7fff_0000)),
    unchecked("tls_image_outside", |file| {
        if let Some(at) = file.tls {
            file.set(at + P_VADDR, 0x7fff_0000_u64.to_le_bytes());
            file.set(at + P_FILESZ, 4_u64.to_le_bytes());
        }
    }),
    unchecked("tls_alignment", |file| {
        if let Some(at) = file.tls {
            file.set(at + P_ALIGN, 48_u64.to_le_bytes());
        }
    }),
    unchecked("tls_too_large", |file| {
        if let Some(at) = file.tls {
            file.set(at + P_MEMSZ, (1_u64 << 50).to_le_bytes());
        }
    }),
    unchecked("initializer_nowhere", |file| {
        // The relative relocation of the constructor's place says where it is.
        let relocations = file.entry(7).zip(file.entry(25)).map(|(table, array)| (file.word(table), file.word(array)));
        let Some((table, array)) = relocations else { return };
        let size = file.entry(8).map_or(0, |at| file.word(at));
        for at in (table..table + size).step_by(24).map(|at| at as usize) {
            if (array..array + 16).contains(&file.word(at)) {
                file.set(at + 16, 0x7fff_0000_0000_0000_u64.to_le_bytes());
            }
        }
    }),
    unchecked("resolver_nowhere", |file| {
        let range = file.entry(6).zip(file.entry(5)).map(|(start, end)| (file.word(start), file.word(end)));
        let Some((start, end)) = range else { return };
        for at in (start..end - 23).step_by(24).map(|at| at as usize) {
            // STT_GNU_IFUNC
            if file.bytes[at + 4] & 15 == 10 {
                file.set(at + 8, 0x7fff_0000_0000_0000_u64.to_le_bytes());
            }
        }
    }),
    program("program_headers_unreadable", |file| file.set(file.loads[0] + P_FLAGS, [0; 4])),
    program("program_headers_elsewhere", |file| {
        if let Some(at) = file.headers {
            file.add(at + P_VADDR, 0x1000);
        }
    }),
    program("program_segment_beyond_file", |file| {
        let last = file.loads[file.loads.len() - 1];
        let size = file.word(last + P_FILESZ);
        file.set(last + P_MEMSZ, size.to_le_bytes());
        file.add(last + P_OFFSET, 0x10_0000);
    }),
    unchecked("init_array_outside", |file| file.set_entry(25, 0x7fff_0000)),
];
