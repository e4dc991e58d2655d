use std::collections::BTreeMap;

use super::*;
use crate::real_files::{self, RealFile};
use crate::symbol::VERSYM_HIDDEN;
use crate::{ProgramHeader, hash};

fn defined(file: &RealFile) -> Vec<Definition<'static>> {
    file.dynamic.verdef.map_or(Vec::new(), |at| definitions(&file.image, file.dynamic.strings, at).collect())
}

fn needed(file: &RealFile) -> Vec<Need<'static>> {
    file.dynamic.verneed.map_or(Vec::new(), |at| needs(&file.image, file.dynamic.strings, at).collect())
}

/// The word after `key` in a line of readelf.
fn word_after<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.split_once(key)?.1.split_whitespace().next()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn system_libraries_define_and_need_what_readelf_reads() {
    let mut counts = (0, 0);
    for file in real_files::system() {
        let (mut wanted_definitions, mut wanted_needs, mut current) = (Vec::new(), Vec::new(), String::new());
        for line in file.readelf("--version-info") {
            if let (Some(flags), Some(index)) = (word_after(&line, "Flags: "), word_after(&line, " Index: ")) {
                wanted_definitions.push((
                    flags == "BASE",
                    index.to_owned(),
                    word_after(&line, "Name: ").unwrap().to_owned(),
                ));
            } else if let Some(name) = word_after(&line, "File: ") {
                current = name.to_owned();
            } else if let (Some(name), Some(index)) = (word_after(&line, "Name: "), word_after(&line, "Version: ")) {
                wanted_needs.push((current.clone(), name.to_owned(), index.to_owned()));
            }
        }
        let definitions = defined(&file);
        let needs = needed(&file);
        counts = (counts.0 + definitions.len(), counts.1 + needs.len());
        assert!(definitions.iter().all(|definition| definition.hash == hash::sysv(definition.name)));
        assert!(needs.iter().all(|need| need.hash == hash::sysv(need.name)));
        let definitions: Vec<_> =
            definitions.iter().map(|d| (d.flags & VER_FLG_BASE != 0, d.index.to_string(), text(d.name))).collect();
        let needs: Vec<_> = needs.iter().map(|n| (text(n.file), text(n.name), n.index.to_string())).collect();
        assert_eq!(definitions, wanted_definitions, "{}", file.path.display());
        assert_eq!(needs, wanted_needs, "{}", file.path.display());
    }
    assert!(counts.0 > 30 && counts.1 > 10, "{counts:?}");
}

#[test]
fn each_symbol_has_the_version_that_readelf_shows() {
    for file in real_files::system() {
        let mut names = BTreeMap::new();
        for definition in defined(&file) {
            if definition.flags & VER_FLG_BASE == 0 {
                names.insert(definition.index, text(definition.name));
            }
        }
        let own: Vec<u16> = names.keys().copied().collect();
        names.extend(needed(&file).iter().map(|need| (need.index, text(need.name))));
        let mut versioned = 0;
        for line in file.readelf("--dyn-syms") {
            let words: Vec<_> = line.split_whitespace().collect();
            let index = words.first().and_then(|word| word.strip_suffix(':')?.parse::<u32>().ok());
            // The names of versions are symbols too, and shown without a version.
            let (Some(index), Some(shown), Some(&section)) = (index, words.get(7), words.get(6)) else { continue };
            if section == "ABS" {
                continue;
            }
            let symbol = file.symbols.get(index).unwrap();
            let versym = file.symbols.version_index(index).unwrap();
            let mut ours = text(file.symbols.name(&symbol).unwrap());
            if let Some(version) = names.get(&(versym & !VERSYM_HIDDEN)) {
                versioned += 1;
                // What a program copied from a library keeps the version that it needs.
                let default = symbol.is_defined() && own.contains(&versym);
                ours += if default { "@@" } else { "@" };
                ours += version;
            }
            assert_eq!(ours, *shown, "{index} in {}", file.path.display());
        }
        assert!(versioned > 10, "{}", file.path.display());
    }
}

fn image(bytes: &'static [u8]) -> Image<'static> {
    real_files::image_of(bytes, &[ProgramHeader { p_type: 1, p_filesz: bytes.len() as u64, ..Default::default() }])
}

fn bytes(words: &[u32]) -> &'static [u8] {
    words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().leak()
}

#[test]
fn chains_that_share_their_tails_cost_no_more_than_their_bytes() {
    // Thousands of file entries, each of which leads to the same thousands of needs.
    const FILES: u32 = 4096;
    let mut words = Vec::new();
    for file in 0..FILES {
        let to_needs = (FILES - file) * 16;
        words.extend([1 << 16 | 1, 0, to_needs, if file + 1 < FILES { 16 } else { 0 }]);
    }
    for need in 0..FILES {
        words.extend([0, 2 << 16, 0, if need + 1 < FILES { 16 } else { 0 }]);
    }
    let bytes = bytes(&words);
    let count = needs(&image(bytes), Strings::new(b"\0"), Vaddr(0)).count();
    assert!(count >= FILES as usize - 1 && count <= bytes.len() / 16, "{count}");
    // The same with offsets of one byte, so that records overlap.
    let ones: &'static [u8] = [0, 0, 1, 0, 1, 0, 0, 0].repeat(8192).leak();
    for start in 0..8 {
        assert!(needs(&image(ones), Strings::new(&[0; 0x10000]), Vaddr(start)).count() <= ones.len() / 16);
        assert!(definitions(&image(ones), Strings::new(&[0; 0x10000]), Vaddr(start)).count() <= ones.len());
    }
}

#[test]
fn damaged_chains_end() {
    let strings = Strings::new(b"\0libx.so\0V1\0");
    let need = |file: [u32; 4], need: [u32; 4]| {
        let words = [file, need].concat();
        needs(&image(bytes(&words)), strings, Vaddr(0)).map(|need| (need.file, need.name)).collect::<Vec<_>>()
    };
    let found = vec![(b"libx.so".as_slice(), b"V1".as_slice())];
    assert_eq!(need([1 << 16 | 1, 1, 16, 0], [5, 2 << 16, 9, 0]), found);
    assert_eq!(need([1, 1, 16, 0], [5, 2 << 16, 9, 0]), [], "vn_cnt is 0");
    assert_eq!(need([1 << 16 | 1, 99, 16, 0], [5, 2 << 16, 9, 0]), [], "name of the file outside");
    assert_eq!(need([1 << 16 | 1, 1, 16, 0], [5, 2 << 16, 99, 0]), [], "name of the version outside");
    assert_eq!(need([1 << 16 | 1, 1, u32::MAX, 0], [5, 2 << 16, 9, 0]), [], "needs outside");
    assert_eq!(need([1 << 16 | 1, 1, 16, u32::MAX], [5, 2 << 16, 9, u32::MAX]), found, "nexts outside");
    let words = [1, 1 | 1 << 16, 5, 20, 0, 9, 0];
    let read = |words: &[u32]| {
        definitions(&image(bytes(words)), strings, Vaddr(0)).map(|d| (d.index, d.hash, d.name)).collect::<Vec<_>>()
    };
    assert_eq!(read(&words), [(1, 5, b"V1".as_slice())]);
    assert_eq!(read(&words[..5]), [], "name outside");
    assert_eq!(read(&words[..4]), [], "cut record");
}
