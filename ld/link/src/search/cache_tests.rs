use std::process::Command;

use proptest::prelude::*;

use super::*;

const ALL: Hwcaps<'_> = Hwcaps { subdirectories: &[b"x86-64-v4", b"x86-64-v3", b"x86-64-v2"], isa_level: 0b1111 };
const NONE: Hwcaps<'_> = Hwcaps { subdirectories: &[], isa_level: 1 };

/// The marks of an entry for an hwcaps subdirectory: index of the name, and the ISA level of the file.
const fn subdirectory(index: u64, level: u64) -> u64 {
    1 << 62 | level << 32 | index
}

/// Writes a cache as ldconfig does, at `base` in the file.
pub fn new_format(entries: &[(&str, &str, u32, u64)], hwcaps: &[&str], base: usize) -> Vec<u8> {
    let mut strings = Vec::new();
    let mut add = |text: &str| {
        let at = NEW_HEADER + entries.len() * NEW_ENTRY + strings.len();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at as u32
    };
    let mut table = Vec::new();
    for &(name, path, flags, hwcap) in entries {
        for field in [flags, add(name), add(path), 0] {
            table.extend(field.to_le_bytes());
        }
        table.extend(hwcap.to_le_bytes());
    }
    let names: Vec<u32> = hwcaps.iter().map(|name| add(name) + base as u32).collect();
    while !strings.len().is_multiple_of(4) {
        strings.push(0);
    }
    let extension = NEW_HEADER + table.len() + strings.len() + base;
    let mut file = NEW_MAGIC.to_vec();
    for field in [entries.len() as u32, strings.len() as u32, 2, extension as u32, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend(table);
    file.extend(strings);
    let data = (extension + 8 + 16) as u32;
    for field in [EXTENSION_MAGIC, 1, HWCAPS_SECTION, 0, data, 4 * names.len() as u32] {
        file.extend(field.to_le_bytes());
    }
    file.extend(names.iter().flat_map(|name| name.to_le_bytes()));
    file
}

/// The table of glibc 2.1, with strings behind it.
fn old_format(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut file = [OLD_MAGIC, &[0], &(entries.len() as u32).to_le_bytes()].concat();
    let mut strings = Vec::new();
    for (name, path) in entries {
        file.extend(X86_64.to_le_bytes());
        for text in [name, path] {
            file.extend((strings.len() as u32).to_le_bytes());
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
        }
    }
    file.extend(strings);
    file
}

const SAMPLE: &[(&str, &str, u32, u64)] = &[
    ("libz.so.10", "/lib/libz.so.10", X86_64, 0),
    ("libz.so.9", "/lib/libz.so.9", X86_64, 0),
    ("liba.so.1", "/x/v2/liba.so.1", X86_64, subdirectory(0, 1)),
    ("liba.so.1", "/x/v3/liba.so.1", X86_64, subdirectory(1, 2)),
    ("liba.so.1", "/x/haswell/liba.so.1", X86_64, 1 << 50),
    ("liba.so.1", "/x32/liba.so.1", 0x803, 0),
    ("liba.so.1", "/x/liba.so.1", X86_64, 0),
    ("liba.so.1", "/y/liba.so.1", X86_64, 0),
];

fn find<'a>(cache: &Cache<'a>, name: &str, hwcaps: &Hwcaps<'_>) -> Option<&'a str> {
    cache.find(name.as_bytes(), hwcaps).map(|path| str::from_utf8(path).unwrap())
}

#[test]
fn best_hwcaps_subdirectory_wins() {
    let file = new_format(SAMPLE, &["x86-64-v2", "x86-64-v3"], 0);
    let cache = Cache::parse(&file).unwrap();
    assert_eq!(find(&cache, "liba.so.1", &ALL), Some("/x/v3/liba.so.1"));
    assert_eq!(find(&cache, "liba.so.1", &NONE), Some("/x/liba.so.1"));
    // A processor without v3, and a processor with it whose user masked the directory.
    let v2 = Hwcaps { subdirectories: ALL.subdirectories, isa_level: 0b11 };
    assert_eq!(find(&cache, "liba.so.1", &v2), Some("/x/v2/liba.so.1"));
    let masked = Hwcaps { subdirectories: &[b"x86-64-v2"], isa_level: 0b1111 };
    assert_eq!(find(&cache, "liba.so.1", &masked), Some("/x/v2/liba.so.1"));
    // The level of the file counts, not that of its directory's name.
    let file = new_format(&[("liba.so", "/liba.so", X86_64, subdirectory(0, 3))], &["x86-64-v2"], 0);
    assert_eq!(find(&Cache::parse(&file).unwrap(), "liba.so", &v2), None);
}

#[test]
fn names_are_found_by_number() {
    let file = new_format(SAMPLE, &["x86-64-v2", "x86-64-v3"], 0);
    let cache = Cache::parse(&file).unwrap();
    assert_eq!(find(&cache, "libz.so.9", &NONE), Some("/lib/libz.so.9"));
    assert_eq!(find(&cache, "libz.so.10", &NONE), Some("/lib/libz.so.10"));
    assert_eq!(find(&cache, "libz.so.010", &NONE), Some("/lib/libz.so.10"));
    assert_eq!(find(&cache, "libz.so.1", &NONE), None);
    assert_eq!(find(&cache, "", &NONE), None);
}

#[test]
fn new_table_behind_the_old_one_is_preferred() {
    let mut file = old_format(&[("liba.so.1", "/old/liba.so.1")]);
    let cache = Cache::parse(&file).unwrap();
    assert_eq!(find(&cache, "liba.so.1", &ALL), Some("/old/liba.so.1"));
    // Without its strings, which in a real file lie in the new table.
    file.truncate(OLD_HEADER + OLD_ENTRY);
    file.resize(file.len().next_multiple_of(8), 0);
    file.extend(new_format(SAMPLE, &["x86-64-v2", "x86-64-v3"], file.len()));
    let cache = Cache::parse(&file).unwrap();
    assert_eq!(find(&cache, "liba.so.1", &ALL), Some("/x/v3/liba.so.1"));
    assert_eq!(find(&cache, "liba.so.1", &NONE), Some("/x/liba.so.1"));
}

#[test]
fn what_is_no_path_is_not_found() {
    for (length, found) in [(4095, true), (4096, false)] {
        let path = "/".repeat(length);
        let file = new_format(&[("liba.so", &path, X86_64, 0)], &[], 0);
        assert_eq!(Cache::parse(&file).unwrap().find(b"liba.so", &NONE).is_some(), found);
    }
}

#[test]
fn foreign_files_are_refused() {
    let file = new_format(SAMPLE, &[], 0);
    for end in 0..NEW_HEADER + SAMPLE.len() * NEW_ENTRY {
        assert!(Cache::parse(&file[..end]).is_none(), "{end}");
    }
    let mut big_endian = file.clone();
    big_endian[28] = 3;
    assert!(Cache::parse(&big_endian).is_none());
    let mut unmarked = file.clone();
    unmarked[28] = 0;
    assert!(Cache::parse(&unmarked).is_some());
    assert!(Cache::parse(b"\x7fELF").is_none());
}

#[test]
fn comparison_knows_numbers() {
    use Ordering::*;
    for (left, right, order) in [
        ("libc.so.6", "libc.so.6", Equal),
        ("libc.so.6", "libc.so.10", Less),
        ("libc.so.6", "libc.so", Greater),
        ("lib1", "liba", Greater),
        ("liba", "lib1", Less),
        ("lib01", "lib1", Equal),
        ("lib", "", Greater),
        ("", "", Equal),
        // 2^32 wraps to 0.
        ("lib4294967296", "lib0", Equal),
    ] {
        assert_eq!(compare(left.as_bytes(), right.as_bytes()), order, "{left} {right}");
    }
    // Characters are signed.
    assert_eq!(compare(b"lib\xff", b"liba"), Less);
}

/// The cache of the machine that runs the tests holds what ldconfig says it does.
#[test]
fn agrees_with_ldconfig() {
    let file = std::fs::read("/etc/ld.so.cache").expect("the tests run on a machine with glibc");
    let cache = Cache::parse(&file).expect("the cache can be decoded");
    let output = ["/sbin/ldconfig", "/usr/sbin/ldconfig"]
        .iter()
        .find_map(|program| Command::new(program).arg("-p").output().ok())
        .expect("glibc brings ldconfig");
    let text = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix('\t')?.split_once(" ("))
        .map(|(name, rest)| (name, rest.split_once(" => ").unwrap().1))
        .collect();
    let decoded: Vec<(&str, &str)> = cache
        .entries()
        .map(|entry| (str::from_utf8(entry.name).unwrap(), str::from_utf8(entry.path).unwrap()))
        .collect();
    assert!(!decoded.is_empty());
    assert_eq!(decoded, printed);
    for entry in cache.entries().filter(|entry| entry.flags == X86_64 && entry.hwcap.is_none()) {
        let first = cache.entries().find(|other| other.name == entry.name && other.flags == X86_64).unwrap();
        assert_eq!(cache.find(entry.name, &NONE), Some(first.path));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(
        mut file in prop::collection::vec(any::<u8>(), 0..300),
        magic in prop::sample::select(vec![&b""[..], OLD_MAGIC, NEW_MAGIC]),
        name in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        file.splice(..0, magic.iter().copied());
        if let Some(cache) = Cache::parse(&file) {
            let _ = cache.find(&name, &ALL);
            let _ = cache.entries().count();
        }
    }

    #[test]
    fn damaged_caches_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        old in any::<bool>(),
        cut in 0usize..200,
    ) {
        let mut file = if old { old_format(&[("liba.so.1", "/a")]) } else { Vec::new() };
        file.truncate(OLD_HEADER + OLD_ENTRY);
        file.resize(file.len().next_multiple_of(8), 0);
        file.extend(new_format(SAMPLE, &["x86-64-v2", "x86-64-v3"], file.len()));
        for (index, value) in changes {
            let at = index.index(file.len());
            file[at] = value;
        }
        file.truncate(file.len().saturating_sub(cut));
        if let Some(cache) = Cache::parse(&file) {
            for (name, ..) in SAMPLE {
                let _ = cache.find(name.as_bytes(), &ALL);
            }
            prop_assert!(cache.entries().count() <= cache.len());
        }
    }

    #[test]
    fn every_entry_of_a_sorted_cache_is_found(names in prop::collection::btree_set("lib[a-c]{1,2}[0-9]{0,2}\\.so\\.[1-9]{1,2}", 1..40)) {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by(|a, b| compare(b.as_bytes(), a.as_bytes()));
        names.dedup_by(|a, b| compare(a.as_bytes(), b.as_bytes()) == Ordering::Equal);
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), X86_64, 0)).collect();
        let file = new_format(&entries, &[], 0);
        let cache = Cache::parse(&file).unwrap();
        for name in &names {
            prop_assert_eq!(find(&cache, name, &NONE), Some(name.as_str()));
        }
    }

    #[test]
    fn comparison_is_symmetric(left in "[a-b0-2.]{0,6}", right in "[a-b0-2.]{0,6}") {
        let (left, right) = (left.as_bytes(), right.as_bytes());
        prop_assert_eq!(compare(left, right), compare(right, left).reverse());
    }
}
