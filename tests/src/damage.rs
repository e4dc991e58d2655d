//! Damaged copies of ELF files: which fields a file has, and what is done to them.
//!
//! A file is taken apart once into its *sites*, the fields that a dynamic linker reads, by kind: a kind is chosen first, so
//! that the few fields of the ELF header are hit as often as the many of the symbol table. What is written there is mostly
//! what breaks programs: borders, huge numbers, another field's value. Everything follows from a seed, so that a damage has a
//! number and can be had again.

use std::collections::BTreeMap;

/// `d_tag`s of tables and of their sizes (gABI, *Dynamic Section*; GNU extensions).
const DT_PLTRELSZ: u64 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_STRSZ: u64 = 10;
const DT_JMPREL: u64 = 23;
const DT_INIT_ARRAY: u64 = 25;
const DT_FINI_ARRAY: u64 = 26;
const DT_INIT_ARRAYSZ: u64 = 27;
const DT_FINI_ARRAYSZ: u64 = 28;
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_VERSYM: u64 = 0x6fff_fff0;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERNEED: u64 = 0x6fff_fffe;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_NOTE: u64 = 4;

/// Sizes in bytes of the fields of each record, in order.
const EHDR: &[usize] = &[4, 1, 1, 1, 1, 1, 7, 2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2];
const PHDR: &[usize] = &[4, 4, 8, 8, 8, 8, 8, 8];
const DYN: &[usize] = &[8, 8];
const SYM: &[usize] = &[4, 1, 1, 2, 8, 8];
const RELA: &[usize] = &[8, 4, 4, 8];
const VERDEF: &[usize] = &[2, 2, 2, 2, 4, 4, 4, 4, 4];
const VERNEED: &[usize] = &[2, 2, 4, 4, 4, 4, 2, 2, 4, 4];

/// A field of a file.
#[derive(Clone, Copy, Debug)]
struct Site {
    at: usize,
    size: usize,
}

/// A file that can be damaged.
#[derive(Debug)]
pub struct Original {
    pub bytes: Vec<u8>,
    kinds: Vec<(&'static str, Vec<Site>)>,
    /// File offsets of the program headers of type `PT_LOAD`.
    loads: Vec<usize>,
    /// Values of the file's own, which mislead better than random ones.
    values: Vec<u64>,
}

/// A pseudo-random sequence (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators": SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// What was done to a file, so that the same can be done to a copy that differs in the path of its interpreter only.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    edits: Vec<(usize, Vec<u8>)>,
    length: Option<usize>,
    /// For a person.
    pub said: Vec<String>,
}

impl Damage {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        for (at, new) in &self.edits {
            if let Some(old) = bytes.get_mut(*at..at + new.len()) {
                old.copy_from_slice(new);
            }
        }
        if let Some(length) = self.length {
            bytes.truncate(length);
        }
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

impl Original {
    /// Takes a sound file apart; `None` if it is not one.
    pub fn new(bytes: Vec<u8>) -> Option<Original> {
        let word = |at: usize| number(&bytes, at, 8);
        let (table, count) = (word(32)? as usize, number(&bytes, 56, 2)? as usize);
        let headers: Vec<usize> = (0..count).map(|index| table + 56 * index).collect();
        let kind_of = |at: usize| number(&bytes, at, 4);
        let loads: Vec<usize> = headers.iter().copied().filter(|&at| kind_of(at) == Some(PT_LOAD)).collect();
        let offset_of = |address: u64| {
            loads.iter().find_map(|&at| {
                let into = address.checked_sub(word(at + 16)?)?;
                (into < word(at + 32)?).then_some((word(at + 8)? + into) as usize)
            })
        };
        let dynamic = *headers.iter().find(|&&at| kind_of(at) == Some(PT_DYNAMIC))?;
        let (dynamic_at, dynamic_size) = (word(dynamic + 8)? as usize, word(dynamic + 32)? as usize);
        let mut entries = BTreeMap::new();
        let mut used = 0;
        while let Some(tag) = word(dynamic_at + 16 * used).filter(|&tag| tag != 0 && 16 * used < dynamic_size) {
            entries.insert(tag, word(dynamic_at + 16 * used + 8)?);
            used += 1;
        }
        let place = |tag: u64| entries.get(&tag).and_then(|&address| offset_of(address));
        let size = |tag: u64| entries.get(&tag).map_or(0, |&size| size as usize);

        let mut kinds: Vec<(&'static str, Vec<Site>)> = vec![
            ("ELF header", records(0, EHDR, 1)),
            ("program header", records(table, PHDR, count)),
            ("dynamic entry", records(dynamic_at, DYN, used + 1)),
        ];
        let mut add = |name: &'static str, at: Option<usize>, fields: &[usize], length: usize| {
            let each: usize = fields.iter().sum();
            let sites = at.map(|at| records(at, fields, length / each)).unwrap_or_default();
            if !sites.is_empty() {
                kinds.push((name, sites));
            }
        };
        // The string table follows the symbols in every file that a link editor makes.
        let symbols = place(DT_STRTAB).zip(place(DT_SYMTAB)).map_or(0, |(end, start)| end.saturating_sub(start));
        add("symbol", place(DT_SYMTAB), SYM, symbols);
        add("string", place(DT_STRTAB), &[1], size(DT_STRSZ));
        add("relocation", place(DT_RELA), RELA, size(DT_RELASZ));
        add("PLT relocation", place(DT_JMPREL), RELA, size(DT_PLTRELSZ));
        add("packed relocation", place(DT_RELR), &[8], size(DT_RELRSZ));
        add("symbol version", place(DT_VERSYM), &[2], symbols / 24 * 2);
        add("version definition", place(DT_VERDEF), VERDEF, 28 * 4);
        add("version need", place(DT_VERNEED), VERNEED, 32 * 4);
        add("initializer", place(DT_INIT_ARRAY), &[8], size(DT_INIT_ARRAYSZ));
        add("finalizer", place(DT_FINI_ARRAY), &[8], size(DT_FINI_ARRAYSZ));
        if let Some(at) = place(DT_GNU_HASH) {
            let (buckets, bloom) = (number(&bytes, at, 4)? as usize, number(&bytes, at + 8, 4)? as usize);
            add("GNU hash header", Some(at), &[4, 4, 4, 4], 16);
            add("Bloom filter", Some(at + 16), &[8], bloom * 8);
            add("GNU hash bucket", Some(at + 16 + bloom * 8), &[4], buckets * 4);
            add("GNU hash chain", Some(at + 16 + bloom * 8 + buckets * 4), &[4], symbols / 24 * 4);
        }
        if let Some(at) = place(DT_HASH) {
            let (buckets, chains) = (number(&bytes, at, 4)? as usize, number(&bytes, at + 4, 4)? as usize);
            add("hash header", Some(at), &[4, 4], 8);
            add("hash bucket or chain", Some(at + 8), &[4], (buckets + chains) * 4);
        }
        for &header in headers.iter().filter(|&&at| kind_of(at) == Some(PT_NOTE)) {
            add("note", Some(word(header + 8)? as usize), &[4], word(header + 32)? as usize);
        }
        for (_, sites) in &mut kinds {
            sites.retain(|site| site.at + site.size <= bytes.len());
        }
        let mut values: Vec<u64> = entries.into_values().collect();
        values
            .extend(headers.iter().flat_map(|&at| [word(at + 8), word(at + 16), word(at + 40)].into_iter().flatten()));
        values.extend([bytes.len() as u64, bytes.len() as u64 - 1]);
        Some(Original { bytes, kinds, loads, values })
    }

    /// The damage of this number.
    pub fn damage(&self, seed: u64) -> Damage {
        let mut dice = Dice(seed);
        let mut damage = Damage::default();
        for _ in 0..[1, 1, 1, 2, 2, 3][dice.below(6)] {
            match dice.below(16) {
                0 => self.truncate(&mut dice, &mut damage),
                1 => self.overlap(&mut dice, &mut damage),
                2 => self.scribble(&mut dice, &mut damage),
                _ => self.change_field(&mut dice, &mut damage),
            }
        }
        damage
    }

    fn change_field(&self, dice: &mut Dice, damage: &mut Damage) {
        let Some((kind, sites)) = dice.one_of(&self.kinds) else { return };
        let Some(&Site { at, size }) = dice.one_of(sites) else { return };
        let old = number(&self.bytes, at, size).unwrap_or(0);
        let own = dice.one_of(&self.values).copied().unwrap_or(0);
        let new = match dice.below(14) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (size * 8 - 1),
            3 => old.wrapping_add(1),
            4 => old.wrapping_sub(1),
            5 => old ^ 1 << dice.below(size * 8),
            6 => dice.roll(),
            7 => dice.roll() % 64,
            8 => own,
            9 => own.wrapping_add(dice.roll() % 64),
            10 => old.wrapping_add(4096),
            11 => 1 << dice.below(64),
            12 => (1 << 47) - 4096,
            _ => old.wrapping_mul(2),
        };
        damage.said.push(format!("{kind} at {at:#x}: {old:#x} becomes {new:#x} ({size} bytes)"));
        damage.edits.push((at, new.to_le_bytes()[..size].to_vec()));
    }

    fn truncate(&self, dice: &mut Dice, damage: &mut Damage) {
        let end = match dice.below(3) {
            // Within a page of a table's or segment's border.
            0 => (dice.one_of(&self.values).copied().unwrap_or(0) as usize).saturating_add(dice.below(4096)),
            1 => dice.below(4096),
            _ => dice.below(self.bytes.len()),
        };
        let length = end.min(self.bytes.len().saturating_sub(1));
        damage.said.push(format!("cut to {length:#x} bytes"));
        damage.length = Some(length);
    }

    /// Lays one segment over another, or lets two change places.
    fn overlap(&self, dice: &mut Dice, damage: &mut Damage) {
        let (Some(&one), Some(&other)) = (dice.one_of(&self.loads), dice.one_of(&self.loads)) else { return };
        let header = |at: usize| self.bytes[at..at + 56].to_vec();
        match dice.below(3) {
            0 => {
                damage.said.push(format!("segments at {one:#x} and {other:#x} change places"));
                damage.edits.extend([(one, header(other)), (other, header(one))]);
            }
            1 => {
                damage.said.push(format!("segment at {one:#x} is where that at {other:#x} is"));
                damage.edits.push((one + 16, self.bytes[other + 16..other + 24].to_vec()));
            }
            _ => {
                damage.said.push(format!("segment at {one:#x} is a copy of that at {other:#x}"));
                damage.edits.push((one, header(other)));
            }
        }
    }

    /// Fills a run of bytes with zeros, ones or noise.
    fn scribble(&self, dice: &mut Dice, damage: &mut Damage) {
        let Some(&near) = dice.one_of(&self.values) else { return };
        let at = (near as usize).saturating_add(dice.below(256)).min(self.bytes.len());
        let length = (1 << dice.below(13)).min(self.bytes.len() - at);
        let what = dice.below(3);
        let noise = (0..length).map(|_| [0, 0xff, dice.roll() as u8][what]).collect();
        damage.said.push(format!("{length:#x} bytes at {at:#x} become {}", ["zero", "ones", "noise"][what]));
        damage.edits.push((at, noise));
    }
}

/// The fields of `count` records of one shape.
fn records(at: usize, fields: &[usize], count: usize) -> Vec<Site> {
    let each: usize = fields.iter().sum();
    let record = |index: usize| {
        fields.iter().scan(at + index * each, |next, &size| {
            let at = std::mem::replace(next, *next + size);
            // Padding is as good as one byte of it.
            Some(Site { at, size: if size > 8 || size == 7 { 1 } else { size } })
        })
    };
    (0..count).flat_map(record).collect()
}
