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
        true => symbols.sysv_hash.unwrap().find(sysv(name.as_bytes()), None, note),
        false => symbols.gnu_hash.unwrap().find(gnu(name.as_bytes()), None, note),
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
    assert_eq!(table.find(gnu(b"exit"), None, Some), None);
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
        table.find(7, None, |_| -> Option<()> {
            steps += 1;
            None
        }),
        None
    );
    assert_eq!(steps, 3);
    assert!(SysvHash::decode(&words(&[1, 4, 1, 0, 2, 1]), Vaddr(0)).is_none());
    assert!(SysvHash::decode(&words(&[u32::MAX, 1, 1, 0]), Vaddr(0)).is_none());
    let empty = SysvHash::decode(&words(&[0, 0]), Vaddr(0)).unwrap();
    assert_eq!(empty.find(7, None, Some), None);
}

#[test]
fn damaged_gnu_tables_find_nothing() {
    // Header, a Bloom filter that lets all pass, one bucket, and chains that no bit ends.
    let open = [1, 1, 1, 0, u32::MAX, u32::MAX, 1, 8, 8, 8];
    let table = GnuHash::decode(&words(&open), Vaddr(0)).unwrap();
    let mut seen = Vec::new();
    assert_eq!(
        table.find(8, None, |index| -> Option<()> {
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
    assert_eq!(altered(&[(0, 0)]).unwrap().find(8, None, Some), None, "no buckets");
    assert_eq!(altered(&[(1, 2)]).unwrap().find(8, None, Some), None, "bucket below the first symbol");
    assert_eq!(altered(&[(6, u32::MAX)]).unwrap().find(8, None, Some), None, "bucket beyond the chains");
    assert_eq!(altered(&[(4, 0), (5, 0)]).unwrap().find(8, None, Some), None, "the Bloom filter says no");
}

#[test]
fn chain_of_the_last_symbol_numbers_ends() {
    let base = u32::MAX - 1;
    let table = GnuHash::decode(&words(&[1, base, 1, 0, u32::MAX, u32::MAX, base, 8, 8, 8, 8]), Vaddr(0)).unwrap();
    assert_eq!(table.symbol_count(), u32::MAX);
    assert_eq!(table.find(8, None, |index| (index == u32::MAX).then_some(())), Some(()));
    assert_eq!(table.find(8, None, |_| -> Option<()> { None }), None);
}

/// A table of one bucket whose chain has so many entries of one hash, and no end.
fn one_long_chain(entries: usize) -> GnuHash<'static> {
    let head = [1, 1, 1, 0, u32::MAX, u32::MAX, 1];
    let table: Vec<u32> = head.into_iter().chain(std::iter::repeat_n(8, entries)).collect();
    GnuHash::decode(&words(&table), Vaddr(0)).unwrap()
}

#[test]
fn long_chains_cost_all_lookups_together_what_their_number_allows() {
    let entries = 1 << 18;
    let table = one_long_chain(entries);
    let visits = |effort: Option<&Effort>, lookups: usize| {
        let mut visits = 0;
        for _ in 0..lookups {
            table.find(8, effort, |_| -> Option<()> {
                visits += 1;
                None
            });
        }
        visits
    };
    assert_eq!(visits(None, 2), 2 * entries, "a lookup that comes alone sees the whole table");
    let stock = (100 + 64) * Effort::SHARE as usize;
    let most = stock + 100 * Effort::CHAIN;
    assert!(stock / 2 < 100 * entries);
    assert!((stock..=most).contains(&visits(Some(&Effort::new(100)), 100)));
    // A single chain that is twice as long as a lookup's share costs on average as much as there is.
    let table = one_long_chain(2 * Effort::SHARE as usize);
    let effort = Effort::new(1000);
    for index in (1..2 * Effort::SHARE as u32).step_by(33).take(1000) {
        assert_eq!(table.find(8, Some(&effort), |found| (found == index).then_some(found)), Some(index));
    }
}

#[test]
fn circles_cost_all_lookups_together_what_their_number_allows() {
    let chain = (0..1 << 18).map(|index| if index == 0 { 0 } else { 1 });
    let table: Vec<u32> = [1, 1 << 18, 1].into_iter().chain(chain).collect();
    let table = SysvHash::decode(&words(&table), Vaddr(0)).unwrap();
    let effort = Effort::new(100);
    let mut visits = 0;
    for _ in 0..100 {
        table.find(8, Some(&effort), |_| -> Option<()> {
            visits += 1;
            None
        });
    }
    assert!(visits <= 164 * Effort::SHARE as usize + 100 * Effort::CHAIN, "{visits}");
}

#[test]
fn long_names_cost_all_lookups_together_what_their_number_allows() {
    let mut bytes = vec![b'x'; 1 << 20];
    bytes.push(0);
    let strings = Strings::new(&bytes);
    let whole = hashed_name(&strings, 0, None).unwrap();
    assert_eq!(whole, (&bytes[..1 << 20], gnu(&bytes[..1 << 20])));
    let effort = Effort::new(64);
    let found = (0..64).filter(|_| hashed_name(&strings, 0, Some(&effort)).is_some()).count();
    assert_eq!(found, 2, "128 shares of 16 KiB");
    let ordinary = (1 << 20) + 1 - Effort::NAME as u32;
    assert!(hashed_name(&strings, ordinary, Some(&effort)).is_some(), "what is ordinary costs nothing");
    assert!(hashed_name(&strings, ordinary - 1, Some(&effort)).is_none());
    assert!(hashed_name(&Strings::new(&bytes[..Effort::NAME]), 0, None).is_none());
    assert!(hashed_name(&Strings::new(&bytes[..1 << 20]), 0, None).is_none());
}
