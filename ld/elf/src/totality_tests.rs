//! No bytes whatsoever make a decoder panic or work longer than the bytes are many.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::relocation::{Rela, Relocation, relr};
use crate::{
    Dynamic, FileHeader, Image, ProgramHeader, Segment, Strings, Symbols, Vaddr, hash, header, note, real_files,
    version,
};

const NAMES: [&[u8]; 3] = [b"", b"folio_function_3", b"absent"];

/// Runs each decoder over an image of which `size` bytes exist, and counts what they give.
fn decode_tables(image: &Image, dynamic: &Dynamic, size: usize) {
    let symbols = Symbols::decode(image, dynamic);
    let words = size / 4 + 1;
    for name in NAMES {
        let mut visited = 0;
        let mut visit = |index: u32| -> Option<()> {
            visited += 1;
            let symbol = symbols.get(index)?;
            let _ = (symbol.kind(), symbol.binding(), symbol.visibility(), symbol.is_defined(), symbol.is_absolute());
            symbols.name(&symbol)?;
            symbols.version_index(index)?;
            None
        };
        if let Some(table) = &symbols.gnu_hash {
            table.find(hash::gnu(name), None, &mut visit);
        }
        if let Some(table) = &symbols.sysv_hash {
            table.find(hash::sysv(name), None, &mut visit);
        }
        assert!(visited <= 2 * words, "{visited} of {words}");
    }
    let _ = symbols.count();
    if let Some(at) = dynamic.verdef {
        assert!(version::definitions(image, dynamic.strings, at).count() <= size / 16);
    }
    if let Some(at) = dynamic.verneed {
        assert!(version::needs(image, dynamic.strings, at).count() <= size / 16);
    }
    if let Some(table) = image.table::<u64>(dynamic.relr.at, dynamic.relr.size / 8) {
        assert!(relr(table).count() <= 63 * (size / 8));
    }
    for extent in [dynamic.rela, dynamic.jmprel] {
        if let Some(table) = image.table::<Rela>(extent.at, extent.size / 24) {
            assert!(table.iter().map(Relocation::from).count() <= size / 24);
        }
    }
    assert!(dynamic.needed().count() <= size / 16);
    let _ = (dynamic.binds_now(), dynamic.soname, dynamic.rpath, dynamic.runpath);
}

/// Decodes a file from its first byte on, as a loader does.
fn decode_file(bytes: &[u8]) -> bool {
    let Ok(file) = FileHeader::decode(bytes) else { return false };
    let table = usize::try_from(file.phoff).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let table = &table[..table.len().min(file.phsize())];
    let headers = || header::program_headers(table);
    let nothing = Segment { start: Vaddr(0), size: 0, memory: 0, writable: false };
    let mut storage = vec![nothing; 8];
    let image = Image::of_file(bytes, headers(), &mut storage);
    let mut decoded = false;
    for program_header in headers() {
        match program_header.p_type {
            2 => {
                if let Some(dynamic) = Dynamic::decode(&image, Vaddr(program_header.p_vaddr), program_header.p_memsz) {
                    decode_tables(&image, &dynamic, bytes.len());
                    decoded = true;
                }
            }
            4 => {
                if let Some(notes) = image.constant_bytes(Vaddr(program_header.p_vaddr), program_header.p_filesz) {
                    let _ = note::build_id(notes);
                }
            }
            _ => {}
        }
    }
    decoded
}

/// A library that has each kind of table.
static LIBRARY: LazyLock<&[u8]> = LazyLock::new(|| {
    let functions: String = (0..20).map(|n| format!("int folio_function_{n}(void) {{ return {n}; }}\n")).collect();
    let script = std::env::temp_dir().join(format!("folio-elf-{}.map", std::process::id()));
    std::fs::write(&script, "V1 { folio_function_1*; };\nV2 { folio_function_3; } V1;\n").unwrap();
    let versions = format!("-Wl,--version-script={}", script.display());
    let options = ["-Wl,--hash-style=both", "-Wl,-z,pack-relative-relocs", "-Wl,--build-id=sha1", "-lc", &versions];
    let source = functions
        + "#include <stdio.h>\nstatic int x; void *pointers[100] = { [2 ... 90] = &x };
        int says(void) { return puts(\"x\"); }";
    let file = real_files::compile("totality", &source, &options);
    std::fs::remove_file(script).unwrap();
    let dynamic = &file.dynamic;
    assert!(dynamic.verdef.is_some() && dynamic.verneed.is_some() && !dynamic.relr.is_empty());
    assert!(dynamic.gnu_hash.is_some() && dynamic.hash.is_some() && !dynamic.jmprel.is_empty());
    file.bytes
});

/// Numbers that are likely to hit a bound.
fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..64u64, 0..0x8000u64, Just(u64::MAX), Just(1 << 31), Just(u64::from(u32::MAX))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_a_header_or_none(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = FileHeader::decode(&bytes);
        prop_assert_eq!(header::program_headers(&bytes).count(), bytes.len() / 56);
        if let Some(id) = note::build_id(&bytes) {
            prop_assert!(id.len() <= bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_tables_or_none(
        bytes in prop::collection::vec(prop_oneof![4 => 0..4u8, 1 => any::<u8>()], 0..1024),
        base in prop_oneof![Just(0), Just(0x1000), Just(u64::MAX - 512)],
        at in 0..64u64,
    ) {
        let load = ProgramHeader { p_type: 1, p_vaddr: base, p_filesz: bytes.len() as u64, ..Default::default() };
        let mut storage = [Segment { start: Vaddr(0), size: 0, memory: 0, writable: false }];
        let image = Image::of_file(&bytes, [load].into_iter(), &mut storage);
        let at = Vaddr(base.wrapping_add(at));
        if let Some(dynamic) = Dynamic::decode(&image, at, bytes.len() as u64) {
            decode_tables(&image, &dynamic, bytes.len());
        }
        if let Some(table) = hash::GnuHash::decode(&image, at) {
            let mut visited = 0;
            table.find(hash::gnu(b"x"), None, |_| -> Option<()> { visited += 1; None });
            prop_assert!(visited <= bytes.len() / 4);
            let _ = table.symbol_count();
        }
        if let Some(table) = hash::SysvHash::decode(&image, at) {
            let mut visited = 0;
            table.find(hash::sysv(b"x"), None, |_| -> Option<()> { visited += 1; None });
            prop_assert!(visited <= bytes.len() / 4);
        }
        let strings = Strings::new(&bytes);
        prop_assert!(version::definitions(&image, strings, at).count() <= bytes.len() / 16);
        prop_assert!(version::needs(&image, strings, at).count() <= bytes.len() / 16);
    }

    #[test]
    fn mutated_libraries_are_decoded_or_refused(
        // The header, the program headers and the tables behind them, or anything.
        changes in prop::collection::vec((prop_oneof![0..0x40usize, 0x40..0x400usize, 0..usize::MAX], edge()), 1..12),
        dynamic_changes in prop::collection::vec((0..64usize, edge()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let library: &[u8] = &LIBRARY;
        let mut bytes = library.to_vec();
        let mut put = |at: usize, value: u64, width: usize| {
            let at = at % (bytes.len() - 8);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        };
        let file = FileHeader::decode(library).unwrap();
        let headers = header::program_headers(&library[file.phoff as usize..][..file.phsize()]);
        let dynamic = headers.into_iter().find(|header| header.p_type == 2).unwrap().p_offset as usize;
        for (index, value) in dynamic_changes {
            put(dynamic + index * 8, value, 8);
        }
        for (index, (at, value)) in changes.into_iter().enumerate() {
            // The first change may be to the header, which is refused at once; the rest lie behind it.
            put(if index == 0 { at } else { at.max(0x40) }, value, [1, 2, 4, 8][value as usize % 4]);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        decode_file(&bytes);
    }
}

#[test]
fn unharmed_library_reaches_every_decoder() {
    assert!(decode_file(&LIBRARY));
}
