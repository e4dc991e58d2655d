use super::*;
use crate::real_files;

const LOADABLE: [u8; FileHeader::SIZE] = {
    let mut bytes = [0; FileHeader::SIZE];
    let start = *b"\x7fELF\x02\x01\x01";
    let mut at = 0;
    while at < start.len() {
        bytes[at] = start[at];
        at += 1;
    }
    bytes[16] = 3;
    bytes[18] = 62;
    bytes[20] = 1;
    bytes[54] = 56;
    bytes
};

fn with(changes: &[(usize, u8)]) -> Result<FileHeader, HeaderError> {
    let mut bytes = LOADABLE;
    for &(at, byte) in changes {
        bytes[at] = byte;
    }
    FileHeader::decode(&bytes)
}

#[test]
fn each_field_has_its_error() {
    use HeaderError::*;
    assert!(with(&[]).unwrap().position_independent);
    assert!(!with(&[(16, 2)]).unwrap().position_independent);
    let wrong: &[(&[(usize, u8)], HeaderError)] = &[
        (&[(0, 0)], NotElf),
        (&[(EI_CLASS, 1)], OtherClass),
        (&[(EI_CLASS, 0)], OtherClass),
        // The machine's number, as this machine reads it, says whose file of the other byte order it is.
        (&[(EI_DATA, 2)], ByteOrder),
        (&[(EI_DATA, 2), (18, 0), (19, 62)], OtherMachine),
        (&[(EI_DATA, 2), (18, 0), (19, 43)], OtherMachine),
        (&[(EI_VERSION, 0)], IdentVersion),
        (&[(EI_OSABI, 9)], OsAbi),
        (&[(EI_ABIVERSION, 1)], AbiVersion),
        (&[(EI_OSABI, ELFOSABI_GNU), (EI_ABIVERSION, 4)], AbiVersion),
        (&[(EI_PAD, 1)], Padding),
        (&[(15, 1)], Padding),
        (&[(20, 2)], Version),
        (&[(18, 3)], OtherMachine),
        (&[(16, 1)], Type),
        (&[(16, 4)], Type),
        (&[(54, 32)], ProgramHeaderSize),
        // The first of two errors is told, in glibc's order.
        (&[(EI_CLASS, 1), (EI_DATA, 2)], OtherClass),
        (&[(EI_OSABI, 9), (20, 2)], OsAbi),
        (&[(16, 1), (18, 3)], OtherMachine),
    ];
    for (changes, error) in wrong {
        assert_eq!(with(changes).unwrap_err(), *error, "{changes:?}");
    }
    for (osabi, version) in [(ELFOSABI_GNU, 0), (ELFOSABI_GNU, 1), (ELFOSABI_GNU, 3), (0, 0)] {
        assert!(with(&[(EI_OSABI, osabi), (EI_ABIVERSION, version)]).is_ok());
    }
    for length in 0..FileHeader::SIZE {
        assert_eq!(FileHeader::decode(&LOADABLE[..length]).unwrap_err(), TooShort);
    }
}

#[test]
fn sentences_are_those_that_people_search_for() {
    assert_eq!(HeaderError::NotElf.to_string(), "invalid ELF header");
    assert_eq!(HeaderError::TooShort.to_string(), "file too short");
    assert_eq!(HeaderError::OtherClass.to_string(), "wrong ELF class: ELFCLASS32");
    assert_eq!(HeaderError::ByteOrder.to_string(), "ELF file data encoding not little-endian");
    assert!(HeaderError::OtherClass.is_foreign() && HeaderError::OtherMachine.is_foreign());
    assert!(!HeaderError::NotElf.is_foreign() && !HeaderError::OsAbi.is_foreign());
}

#[test]
fn real_headers_are_what_readelf_reads() {
    for file in real_files::system() {
        let header = FileHeader::decode(file.bytes).unwrap();
        let lines = file.readelf("--program-headers");
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let entry = lines.iter().find_map(|line| line.strip_prefix("Entry point ")).unwrap();
        assert_eq!(header.entry.0, number(entry));
        let rows: Vec<[u64; 7]> = lines
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| words.len() > 6 && words[1].starts_with("0x") && words[5].starts_with("0x"))
            .map(|words| {
                let flags = words[6..words.len() - 1].concat();
                let flag = |letter: char, bit: u64| if flags.contains(letter) { bit } else { 0 };
                let flags = flag('R', 4) | flag('W', 2) | flag('E', 1);
                let field = |index: usize| number(words[index]);
                [field(1), field(2), field(3), field(4), field(5), flags, number(words[words.len() - 1])]
            })
            .collect();
        let ours: Vec<[u64; 7]> = file
            .headers
            .iter()
            .map(|h| [h.p_offset, h.p_vaddr, h.p_paddr, h.p_filesz, h.p_memsz, u64::from(h.p_flags), h.p_align])
            .collect();
        assert_eq!(ours, rows, "{}", file.path.display());
        assert_eq!(ours.len(), usize::from(header.phnum));
        // The same headers again, from the object's own memory.
        let mapped = file.image.table::<ProgramHeader>(Vaddr(header.phoff), u64::from(header.phnum)).unwrap();
        assert_eq!(mapped.iter().collect::<Vec<_>>(), file.headers);
    }
}

#[test]
fn more_program_headers_than_the_kernel_takes_are_refused() {
    let most = ((1 << 16) / SIZEOF_PHDR) as u16;
    let with_count = |count: u16| {
        let mut bytes = LOADABLE;
        bytes[56..58].copy_from_slice(&count.to_le_bytes());
        FileHeader::decode(&bytes).map(|header| header.phnum)
    };
    assert_eq!(with_count(most), Ok(most));
    assert_eq!([most + 1, u16::MAX].map(with_count), [Err(HeaderError::ProgramHeaderCount); 2]);
}

#[test]
fn header_may_lie_at_any_address() {
    let mut bytes = [0; FileHeader::SIZE + 8];
    for at in 0..8 {
        bytes[at..][..FileHeader::SIZE].copy_from_slice(&LOADABLE);
        assert!(FileHeader::decode(&bytes[at..]).is_ok(), "{at}");
    }
}

#[test]
fn half_a_program_header_is_none() {
    assert_eq!(program_headers(&[0; SIZEOF_PHDR * 2 + 55]).count(), 2);
    assert_eq!(program_headers(&[]).count(), 0);
}
