use super::*;
use crate::{ProgramHeader, real_files};

/// A dynamic section of `entries` at 0x1000 whose string table, at 0x2000, is `strings`.
fn decode(entries: &[(u64, u64)], strings: &str) -> Option<Dynamic<'static>> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(|&(tag, value)| [tag, value]).flat_map(u64::to_le_bytes).collect();
    let size = bytes.len() as u64;
    bytes.extend(strings.as_bytes());
    let header = |at, offset, size| ProgramHeader {
        p_type: 1,
        p_vaddr: at,
        p_offset: offset,
        p_filesz: size,
        ..Default::default()
    };
    let headers = [header(0x1000, 0, size), header(0x2000, size, strings.len() as u64)];
    Dynamic::decode(&real_files::image_of(bytes.leak(), &headers), Vaddr(0x1000), size)
}

const STRINGS: &str = "\0libx.so\0/r:/s\0/run\0";
const STRTAB: [(u64, u64); 2] = [(tag::DT_STRTAB, 0x2000), (tag::DT_STRSZ, STRINGS.len() as u64)];

fn with_strings(entries: &[(u64, u64)]) -> Dynamic<'static> {
    decode(&[entries, &STRTAB, &[(0, 0)]].concat(), STRINGS).unwrap()
}

#[test]
fn real_sections_say_what_readelf_reads() {
    for file in real_files::system() {
        let lines = file.readelf("--dynamic");
        let rows: Vec<(u64, &str)> = lines
            .iter()
            .filter_map(|line| {
                let (number, rest) = line.trim().strip_prefix("0x")?.split_once(' ')?;
                Some((u64::from_str_radix(number, 16).ok()?, rest.split_once(')')?.1.trim()))
            })
            .collect();
        let text = |wanted: u64| rows.iter().find(|(number, _)| *number == wanted).map(|(_, text)| *text);
        let number = |wanted: u64| {
            let text = text(wanted)?.trim_end_matches(" (bytes)");
            Some(text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16)).unwrap())
        };
        let strings = |wanted: u64| -> Vec<String> {
            let values = rows.iter().filter(|(number, _)| *number == wanted);
            values.map(|(_, text)| text.split(['[', ']']).nth(1).unwrap().to_owned()).collect()
        };
        let dynamic = &file.dynamic;
        let address = |at: Option<Vaddr>| at.map(|at| at.0);
        assert_eq!(address(dynamic.symtab), number(tag::DT_SYMTAB));
        assert_eq!(address(dynamic.gnu_hash), number(tag::DT_GNU_HASH));
        assert_eq!(address(dynamic.hash), number(tag::DT_HASH));
        assert_eq!(address(dynamic.versym), number(tag::DT_VERSYM));
        assert_eq!(address(dynamic.verneed), number(tag::DT_VERNEED));
        assert_eq!(address(dynamic.verdef), number(tag::DT_VERDEF));
        assert_eq!(address(dynamic.init), number(tag::DT_INIT));
        assert_eq!(address(dynamic.fini), number(tag::DT_FINI));
        assert_eq!(address(dynamic.pltgot), number(tag::DT_PLTGOT));
        for (extent, at, size) in [
            (dynamic.rela, tag::DT_RELA, tag::DT_RELASZ),
            (dynamic.jmprel, tag::DT_JMPREL, tag::DT_PLTRELSZ),
            (dynamic.relr, DT_RELR, DT_RELRSZ),
            (dynamic.init_array, tag::DT_INIT_ARRAY, tag::DT_INIT_ARRAYSZ),
            (dynamic.fini_array, tag::DT_FINI_ARRAY, tag::DT_FINI_ARRAYSZ),
            (dynamic.preinit_array, tag::DT_PREINIT_ARRAY, tag::DT_PREINIT_ARRAYSZ),
        ] {
            assert_eq!((extent.at.0, extent.size), (number(at).unwrap_or(0), number(size).unwrap_or(0)));
        }
        assert_eq!(dynamic.relacount, number(tag::DT_RELACOUNT).unwrap_or(0));
        let ours: Vec<_> = dynamic.needed().map(|name| String::from_utf8(name.unwrap().to_vec()).unwrap()).collect();
        assert_eq!(ours, strings(tag::DT_NEEDED));
        let soname = dynamic.soname.map(|name| String::from_utf8(name.to_vec()).unwrap());
        assert_eq!(soname, strings(tag::DT_SONAME).pop());
        let flag = |wanted: u64, word: &str| text(wanted).is_some_and(|text| text.split(' ').any(|flag| flag == word));
        assert_eq!(dynamic.flags & DF_STATIC_TLS != 0, flag(tag::DT_FLAGS, "STATIC_TLS"));
        assert_eq!(dynamic.binds_now(), flag(tag::DT_FLAGS, "BIND_NOW") || flag(tag::DT_FLAGS_1, "NOW"));
        assert_eq!(dynamic.flags_1 & DF_1_PIE != 0, flag(tag::DT_FLAGS_1, "PIE"));
        assert_eq!(dynamic.entries().len() + 1, rows.len(), "all before DT_NULL");
        assert_eq!(dynamic.debug.is_some(), text(tag::DT_DEBUG).is_some());
    }
}

#[test]
fn runpath_takes_the_place_of_rpath() {
    let only_rpath = with_strings(&[(tag::DT_RPATH, 9)]);
    assert_eq!((only_rpath.rpath, only_rpath.runpath), (Some(b"/r:/s".as_slice()), None));
    let both = with_strings(&[(tag::DT_RPATH, 9), (tag::DT_RUNPATH, 15)]);
    assert_eq!((both.rpath, both.runpath), (None, Some(b"/run".as_slice())));
}

#[test]
fn older_tags_fold_into_flags() {
    let dynamic = with_strings(&[(tag::DT_SYMBOLIC, 0), (tag::DT_FLAGS, DF_STATIC_TLS), (tag::DT_TEXTREL, 0)]);
    assert_eq!(dynamic.flags, DF_SYMBOLIC | DF_STATIC_TLS | DF_TEXTREL);
    assert!(!dynamic.binds_now());
    assert!(with_strings(&[(tag::DT_BIND_NOW, 0)]).binds_now());
    assert!(with_strings(&[(tag::DT_FLAGS, DF_BIND_NOW)]).binds_now());
    assert!(with_strings(&[(tag::DT_FLAGS_1, DF_1_NOW)]).binds_now());
}

#[test]
fn entries_after_null_do_not_count() {
    let dynamic = with_strings(&[(tag::DT_NEEDED, 1), (tag::DT_DEBUG, 0)]);
    assert_eq!((dynamic.entries().len(), dynamic.debug), (4, Some(1)));
    let cut = [&STRTAB, [(0, 0), (tag::DT_NEEDED, 1)].as_slice()].concat();
    assert_eq!(decode(&cut, STRINGS).unwrap().needed().count(), 0);
    // Without DT_NULL the segment header says where the section ends.
    assert_eq!(decode(&STRTAB, STRINGS).unwrap().entries().len(), 2);
    assert!(decode(&[], STRINGS).unwrap().entries().is_empty());
}

#[test]
fn strings_outside_their_table_are_told_from_absent_ones() {
    let dynamic = with_strings(&[(tag::DT_NEEDED, 99), (tag::DT_NEEDED, 1), (tag::DT_SONAME, 99)]);
    assert_eq!(dynamic.needed().collect::<Vec<_>>(), [None, Some(b"libx.so".as_slice())]);
    assert_eq!(dynamic.soname, None);
    let size = STRINGS.len() as u64;
    assert!(decode(&[(tag::DT_STRTAB, 0x2000), (tag::DT_STRSZ, size + 1)], STRINGS).is_none());
    assert!(decode(&[(tag::DT_STRTAB, 0x3000), (tag::DT_STRSZ, 1)], STRINGS).is_none());
    let unsized_table = decode(&[(tag::DT_STRTAB, 0x2000), (tag::DT_NEEDED, 1)], STRINGS).unwrap();
    assert_eq!(unsized_table.needed().collect::<Vec<_>>(), [None]);
    let image = real_files::image_of(&[], &[]);
    assert!(Dynamic::decode(&image, Vaddr(0x1000), 16).is_none());
}
