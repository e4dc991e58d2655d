//! Inputs that were made to cost as much as possible for their size, for the target of a whole start: what must not grow with
//! the square of a file shows in large ones only, which mutation seldom makes.

use crate::archive::Archive;
use crate::elf_fields::{replace, table_at, value};
use crate::seeds;

/// Size in bytes of each large table.
const LARGE: usize = 1 << 18;

const STRTAB: u64 = 5;
const SYMTAB: u64 = 6;
const RELA: u64 = 7;
const GNU_HASH: u64 = 0x6fff_fef5;
const VERDEF: u64 = 0x6fff_fffc;
const VERNEED: u64 = 0x6fff_fffe;

fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The program, `liba.so` and `libb.so`, after a change of the first two.
fn start(change: impl Fn(&mut Vec<u8>, &mut Vec<u8>) -> Option<()>) -> Vec<u8> {
    let mut files = seeds::objects();
    let [program, library, ..] = &mut files[..] else { unreachable!("there are three") };
    change(program, library).expect("seeds have all tables");
    files.push(Vec::new());
    Archive { settings: [0; 4], files }.write()
}

/// As many relocations that look up one symbol and another in turn (`R_X86_64_GLOB_DAT`) as there is room for.
fn lookups(file: &mut Vec<u8>) -> Option<()> {
    let table = (0..LARGE / 24).flat_map(|number| [0, 0, 6, 1 + number as u32 % 2, 0, 0]);
    let table = words(table);
    replace(file, RELA, &table)
}

/// Every name is searched for along one chain, which has no end.
fn endless_chain() -> Vec<u8> {
    start(|program, library| {
        lookups(program)?;
        let chain = words([1, 1, 1, 0, u32::MAX, u32::MAX, 1].into_iter().chain((0..LARGE as u32 / 4).map(|n| n << 1)));
        replace(library, GNU_HASH, &chain)
    })
}

/// Every symbol has the same name, and another version than the one that is wanted.
fn one_name() -> Vec<u8> {
    start(|program, library| {
        lookups(program)?;
        let symbol = table_at(program, SYMTAB)?.get(24..48)?;
        let name = u32::from_le_bytes(*symbol.first_chunk()?);
        let (name, hash) = name_and_hash(program, name)?;
        let mut strings = table_at(library, STRTAB)?.get(..value(library, 10)? as usize)?.to_vec();
        let at = strings.len() as u32;
        strings.extend([name, vec![0]].concat());
        replace(library, STRTAB, &strings)?;
        let symbols = (0..LARGE / 24).flat_map(|_| words([at, 0x0001_0012, 0x1000, 0, 8, 0]));
        let symbols: Vec<u8> = symbols.collect();
        replace(library, SYMTAB, &symbols)?;
        let chain = std::iter::repeat_n(hash & !1, LARGE / 24);
        replace(library, GNU_HASH, &words([1, 1, 1, 0, u32::MAX, u32::MAX, 1].into_iter().chain(chain)))?;
        replace(library, 0x6fff_fff0, &words(std::iter::repeat_n(0x8007_8007, LARGE / 48)))
    })
}

fn name_and_hash(file: &[u8], at: u32) -> Option<(Vec<u8>, u32)> {
    let name = table_at(file, STRTAB)?.get(at as usize..)?.split(|&byte| byte == 0).next()?;
    Some((name.to_vec(), folio_elf::hash::gnu(name)))
}

/// Two symbols that are looked up over and over have a name as long as the string table.
fn long_names() -> Vec<u8> {
    start(|program, _| {
        lookups(program)?;
        let mut strings = table_at(program, STRTAB)?.get(..value(program, 10)? as usize)?.to_vec();
        let at = strings.len() as u32;
        strings.resize(LARGE, b'x');
        strings.push(0);
        replace(program, STRTAB, &strings)?;
        let mut symbols = table_at(program, SYMTAB)?.get(..24 * 8)?.to_vec();
        for symbol in symbols.chunks_exact_mut(24).skip(1) {
            symbol[..4].copy_from_slice(&at.to_le_bytes());
        }
        replace(program, SYMTAB, &symbols)
    })
}

/// As many versions are needed, of one file, as it defines.
fn versions() -> Vec<u8> {
    start(|program, library| {
        let file = table_at(program, VERNEED)?.get(4..8)?;
        let file = u32::from_le_bytes(*file.first_chunk()?);
        let count = LARGE / 32;
        let needs = (0..count as u32).flat_map(|n| [n << 1 | 1, 0x0002_0000, file, 16]);
        replace(program, VERNEED, &words([0xffff_0001, file, 16, 0].into_iter().chain(needs)))?;
        let definitions = (0..count as u32).flat_map(|n| [0x0000_0001, 0x0001_0002, n << 1, 20, 28, 1, 0]);
        replace(library, VERDEF, &words(definitions))
    })
}

/// A search path of very many directories.
fn directories() -> Vec<u8> {
    start(|program, _| {
        let mut strings = table_at(program, STRTAB)?.get(..value(program, 10)? as usize)?.to_vec();
        let at = value(program, 15)? as usize;
        strings.truncate(at);
        for number in 0..LARGE / 5 {
            strings.extend(format!("{number:04x}:").bytes());
        }
        strings.push(0);
        replace(program, STRTAB, &strings)
    })
}

/// As many libraries to preload as a list has room for, none of which is there.
fn preloads() -> Vec<u8> {
    let mut files = seeds::objects();
    files.push([&b"\0"[..], &b"x ".repeat(LARGE / 2)].concat());
    Archive { settings: [0; 4], files }.write()
}

/// All of them, by name.
pub fn inputs() -> [(&'static str, Vec<u8>); 6] {
    [
        ("endless chain", endless_chain()),
        ("one name", one_name()),
        ("long names", long_names()),
        ("versions", versions()),
        ("directories", directories()),
        ("preloads", preloads()),
    ]
}
