use super::*;
use crate::real_files;
use crate::{ProgramHeader, Symbols};

/// Rows of the dynamic symbol table by readelf: index, name without version, whether it is defined.
fn rows(file: &real_files::RealFile) -> Vec<(u32, String, bool)> {
    let rows: Vec<_> = file
        .readelf("--dyn-syms")
        .iter()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let index = words.first()?.strip_suffix(':')?.parse().ok()?;
            let name = words.get(7).map_or("", |name| name.split('@').next().unwrap());
            Some((index, name.to_owned(), words[6] != "UND"))
        })
        .collect();
    assert!(rows.len() > 2, "{}", file.path.display());
    rows
}

fn all_named(symbols: &Symbols, name: &str, sysv_table: bool) -> Vec<u32> {
    let mut found = Vec::new();
    let note = |index: u32| -> Option<()> {
        let symbol = symbols.get(index)?;
        if symbols.name(&symbol) == Some(name.as_bytes()) {
            found.push(index);
        }
        None
    };
    match sysv_table {
        true => symbols.sysv_hash.unwrap().find(sysv(name.as_bytes()), note),
        false => symbols.gnu_hash.unwrap().find(gnu(name.as_bytes()), note),
    };
    found.sort_unstable();
    found
}

/// Each name leads to all its definitions and to nothing else.
fn assert_complete(file: &real_files::RealFile) {
    let symbols = &file.symbols;
    let rows = rows(file);
    let mut by_name = std::collections::BTreeMap::<_, Vec<u32>>::new();
    for (index, name, defined) in &rows {
        by_name.entry(name.as_str()).or_default().push(*index);
        // DT_GNU_HASH leaves undefined symbols out, but for some that the link editor found defined too late.
        if let Some(table) = &symbols.gnu_hash {
            assert!(!defined || *index >= table.symbol_base, "{name} in {}", file.path.display());
        }
    }
    by_name.remove("");
    for (name, all) in &by_name {
        if let Some(table) = &symbols.gnu_hash {
            let hashed: Vec<u32> = all.iter().copied().filter(|&index| index >= table.symbol_base).collect();
            assert_eq!(all_named(symbols, name, false), hashed, "{name} in {}", file.path.display());
        }
        // DT_HASH holds all symbols.
        if symbols.sysv_hash.is_some() {
            assert_eq!(all_named(symbols, name, true), *all, "{name} in {}", file.path.display());
        }
    }
    for absent in ["", "no such symbol", "Printf"] {
        if symbols.gnu_hash.is_some() {
            assert_eq!(all_named(symbols, absent, false), []);
        }
    }
    let hashed = rows.iter().any(|(_, _, defined)| *defined);
    if hashed {
        assert_eq!(symbols.count() as usize, rows.len(), "{}", file.path.display());
        if let Some(table) = &symbols.gnu_hash {
            assert_eq!(table.symbol_count() as usize, rows.len(), "{}", file.path.display());
        }
    }
}

#[test]
fn hashes_of_known_names() {
    assert_eq!((gnu(b""), sysv(b"")), (5381, 0));
    assert_eq!((gnu(b"exit"), sysv(b"exit")), (0x7c96_7e3f, 0x0006_cf04));
    assert_eq!((gnu(b"printf"), sysv(b"printf")), (0x156b_2bb8, 0x0779_05a6));
    assert_eq!((gnu(b"syscall"), sysv(b"syscall")), (0xbac2_12a0, 0x0b09_985c));
    // The version hash that every program of x86-64 carries.
    assert_eq!(sysv(b"GLIBC_2.2.5"), 0x0969_1a75);
    assert_eq!(sysv(&[0xff; 64]) >> 28, 0);
}

#[test]
fn system_libraries_are_found_symbol_by_symbol() {
    let files = real_files::system();
    assert!(files.iter().any(|file| file.symbols.gnu_hash.is_some() && file.symbols.sysv_hash.is_some()));
    for file in files {
        assert_complete(&file);
    }
}

#[test]
fn either_style_alone_finds_all() {
    let source: String = (0..300).map(|n| format!("int folio_symbol_{n}(void) {{ return {n}; }}\n")).collect();
    let source = source + "extern int elsewhere(void); int caller(void) { return elsewhere(); }";
    for style in ["gnu", "sysv", "both"] {
        let file = real_files::compile(&format!("style-{style}"), &source, &[&format!("-Wl,--hash-style={style}")]);
        assert_eq!(file.symbols.gnu_hash.is_some(), style != "sysv");
        assert_eq!(file.symbols.sysv_hash.is_some(), style != "gnu");
        assert_complete(&file);
    }
    let nothing = real_files::compile("style-empty", "", &["-Wl,--hash-style=gnu"]);
    let table = nothing.symbols.gnu_hash.unwrap();
    assert_eq!(table.find(gnu(b"exit"), Some), None);
}

fn words(words: &[u32]) -> Image<'static> {
    let bytes: &[u8] = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().leak();
    let header = ProgramHeader { p_type: 1, p_filesz: bytes.len() as u64, ..Default::default() };
    real_files::image_of(bytes, &[header])
}

#[test]
fn circular_chain_ends() {
    // One bucket that starts at 1; 1 leads to 2 and 2 to 1.
    let table = SysvHash::decode(&words(&[1, 3, 1, 0, 2, 1]), Vaddr(0)).unwrap();
    let mut steps = 0;
    assert_eq!(
        table.find(7, |_| -> Option<()> {
            steps += 1;
            None
        }),
        None
    );
    assert_eq!(steps, 3);
    assert!(SysvHash::decode(&words(&[1, 4, 1, 0, 2, 1]), Vaddr(0)).is_none());
    assert!(SysvHash::decode(&words(&[u32::MAX, 1, 1, 0]), Vaddr(0)).is_none());
    let empty = SysvHash::decode(&words(&[0, 0]), Vaddr(0)).unwrap();
    assert_eq!(empty.find(7, Some), None);
}

#[test]
fn damaged_gnu_tables_find_nothing() {
    // Header, a Bloom filter that lets all pass, one bucket, and chains that no bit ends.
    let open = [1, 1, 1, 0, u32::MAX, u32::MAX, 1, 8, 8, 8];
    let table = GnuHash::decode(&words(&open), Vaddr(0)).unwrap();
    let mut seen = Vec::new();
    assert_eq!(
        table.find(8, |index| -> Option<()> {
            seen.push(index);
            None
        }),
        None
    );
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(table.symbol_count(), 4);
    let altered = |changes: &[(usize, u32)]| {
        let mut table = open.to_vec();
        for &(at, value) in changes {
            table[at] = value;
        }
        GnuHash::decode(&words(&table), Vaddr(0))
    };
    assert!(altered(&[(2, 0)]).is_none(), "no Bloom words");
    assert!(altered(&[(2, 3)]).is_none(), "not a power of two");
    assert!(altered(&[(3, 32)]).is_none(), "shift of the whole hash");
    assert!(altered(&[(0, u32::MAX)]).is_none(), "buckets beyond the segment");
    assert_eq!(altered(&[(0, 0)]).unwrap().find(8, Some), None, "no buckets");
    assert_eq!(altered(&[(1, 2)]).unwrap().find(8, Some), None, "bucket below the first symbol");
    assert_eq!(altered(&[(6, u32::MAX)]).unwrap().find(8, Some), None, "bucket beyond the chains");
    assert_eq!(altered(&[(4, 0), (5, 0)]).unwrap().find(8, Some), None, "the Bloom filter says no");
}
