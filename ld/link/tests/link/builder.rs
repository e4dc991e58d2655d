//! Builds objects in memory: what a link editor would write of the tables that linking reads, and no code.
//!
//! Tables lie in a segment that is read only, at [`TABLES`]; a writable segment of 256 bytes follows at [`DATA`].

use std::collections::BTreeMap;

use folio_elf::dynamic::Extent;
use folio_elf::symbol::{STB_GLOBAL, STT_FUNC, VERSYM_HIDDEN};
use folio_elf::{Bias, Image, Segment, Vaddr, hash};
use folio_link::placement::{LoadSegment, PF_R, PF_W, PF_X, Placement};
use folio_link::resolve::{Scope, Uniques};
use folio_link::{Kind, Object, ObjectId, Objects};

/// Address of the tables.
pub const TABLES: u64 = 0x1000;
/// Address and size of the data.
pub const DATA: u64 = 0x20_0000;
pub const DATA_SIZE: u64 = 256;
/// The load bias, which no address in this process has anything to do with.
pub const BIAS: u64 = 0x7000_0000_0000;
/// What the data holds before relocation, byte for byte.
pub const FILL: u8 = 0x5a;

pub const HIDDEN: u16 = VERSYM_HIDDEN;
pub const UNDEFINED: u16 = 0;
pub const ABSOLUTE: u16 = 0xfff1;

/// A symbol; by default a global function that is defined.
#[derive(Clone, Copy, Debug)]
pub struct Sym {
    pub name: &'static str,
    pub value: u64,
    pub size: u64,
    pub kind: u8,
    pub binding: u8,
    pub visibility: u8,
    pub section: u16,
    /// `Elf64_Versym`, in objects that have versions.
    pub versym: u16,
}

pub fn defined(name: &'static str, value: u64) -> Sym {
    Sym { name, value, size: 8, kind: STT_FUNC, binding: STB_GLOBAL, visibility: 0, section: 1, versym: 1 }
}

pub fn undefined(name: &'static str) -> Sym {
    Sym { section: UNDEFINED, size: 0, versym: 0, ..defined(name, 0) }
}

/// `Elf64_Rela`.
#[derive(Clone, Copy, Debug)]
pub struct Rela {
    pub place: u64,
    pub kind: u32,
    pub symbol: u32,
    pub addend: i64,
}

/// What the object is made of.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pub kind: Option<Kind>,
    pub path: &'static str,
    pub soname: Option<&'static str>,
    pub needed: Vec<&'static str>,
    /// `DT_AUXILIARY`, and then `DT_FILTER`.
    pub auxiliaries: Vec<&'static str>,
    pub filters: Vec<&'static str>,
    pub rpath: Option<&'static str>,
    pub runpath: Option<&'static str>,
    pub flags_1: u64,
    /// Without the null symbol, which comes first of itself.
    pub symbols: Vec<Sym>,
    /// Index, name and flags of each version.
    pub defines: Vec<(u16, &'static str, u16)>,
    /// File, index, name and flags of each version.
    pub needs: Vec<(&'static str, u16, &'static str, u16)>,
    pub rela: Vec<Rela>,
    pub jmprel: Vec<Rela>,
    /// `DT_RELASZ` counts the relocations of `DT_JMPREL` too.
    pub jmprel_in_rela: bool,
    pub relr: Vec<u64>,
    pub relacount: u64,
    /// `DT_HASH` instead of `DT_GNU_HASH`.
    pub sysv_hash: bool,
    /// A second bucket of `DT_GNU_HASH`, beside the one that holds all symbols.
    pub stray_bucket: Option<u32>,
}

/// Bytes at increasing addresses.
struct Tables(Vec<u8>);

impl Tables {
    fn align(&mut self) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        TABLES + self.0.len() as u64
    }

    fn words(&mut self, words: &[u32]) {
        self.0.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    fn longs(&mut self, longs: &[u64]) {
        self.0.extend(longs.iter().flat_map(|long| long.to_le_bytes()));
    }

    fn halves(&mut self, halves: &[u16]) {
        self.0.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    }
}

/// A string table that gives each string its offset.
struct Names {
    bytes: Vec<u8>,
    offsets: BTreeMap<String, u32>,
}

impl Names {
    fn add(&mut self, name: &str) -> u32 {
        let bytes = &mut self.bytes;
        *self.offsets.entry(name.to_owned()).or_insert_with(|| {
            let offset = bytes.len() as u32;
            bytes.extend(name.as_bytes());
            bytes.push(0);
            offset
        })
    }
}

impl Sym {
    /// Whether `DT_GNU_HASH` lists it: what is defined, and a canonical function address.
    fn is_hashed(&self) -> bool {
        self.section != UNDEFINED || self.value != 0
    }
}

impl Builder {
    /// Symbols as they are in the table: those that are not hashed come first.
    fn table(&self) -> Vec<Sym> {
        let mut table = self.symbols.clone();
        table.sort_by_key(Sym::is_hashed);
        table
    }

    /// Index in the symbol table of the first symbol with this name.
    pub fn index(&self, name: &str) -> u32 {
        1 + self.table().iter().position(|symbol| symbol.name == name).expect("the object has this symbol") as u32
    }

    pub fn object(&self) -> Box<Object<'static>> {
        let (placement, image) = self.parts();
        Object::decode(self.kind.unwrap_or(Kind::Library), self.path.as_bytes(), placement, image).unwrap()
    }

    /// The object's placement and image.
    pub fn parts(&self) -> (Placement, Image<'static>) {
        let mut tables = Tables(Vec::new());
        let mut names = Names { bytes: vec![0], offsets: BTreeMap::from([(String::new(), 0)]) };
        let mut dynamic = Vec::<[u64; 2]>::new();
        let symbols = self.table();

        dynamic.push([6, tables.align()]);
        tables.longs(&[0; 3]);
        for symbol in &symbols {
            let info = u32::from(symbol.binding << 4 | symbol.kind);
            let rest = info | u32::from(symbol.visibility) << 8 | u32::from(symbol.section) << 16;
            tables.words(&[names.add(symbol.name), rest]);
            tables.longs(&[symbol.value, symbol.size]);
        }
        dynamic.push([if self.sysv_hash { 4 } else { 0x6fff_fef5 }, tables.align()]);
        if self.sysv_hash {
            // One bucket with all symbols, first to last.
            let count = symbols.len() as u32 + 1;
            tables.words(&[1, count, u32::from(count > 1), 0]);
            tables.words(&(1..count).map(|index| if index + 1 < count { index + 1 } else { 0 }).collect::<Vec<_>>());
        } else {
            let hashed: Vec<u32> = symbols
                .iter()
                .filter(|symbol| symbol.is_hashed())
                .map(|symbol| hash::gnu(symbol.name.as_bytes()))
                .collect();
            let base = 1 + (symbols.len() - hashed.len()) as u32;
            const SHIFT: u32 = 6;
            let filter =
                hashed.iter().fold(0, |filter, hash| filter | 1u64 << (hash % 64) | 1 << ((hash >> SHIFT) % 64));
            let bucket = if hashed.is_empty() { 0 } else { base };
            let buckets: Vec<u32> = [bucket].into_iter().chain(self.stray_bucket).collect();
            tables.words(&[buckets.len() as u32, base, 1, SHIFT]);
            tables.longs(&[filter]);
            tables.words(&buckets);
            let last = hashed.len().wrapping_sub(1);
            let chain = hashed.iter().enumerate().map(|(at, hash)| hash & !1 | u32::from(at == last));
            tables.words(&chain.collect::<Vec<_>>());
        }
        if !self.defines.is_empty() || !self.needs.is_empty() {
            dynamic.push([0x6fff_fff0, tables.align()]);
            tables.halves(&[0]);
            tables.halves(&symbols.iter().map(|symbol| symbol.versym).collect::<Vec<_>>());
        }
        if !self.defines.is_empty() {
            dynamic.push([0x6fff_fffc, tables.align()]);
        }
        for (at, &(index, name, flags)) in self.defines.iter().enumerate() {
            tables.halves(&[1, flags, index, 1]);
            let next = if at + 1 < self.defines.len() { 28 } else { 0 };
            tables.words(&[hash::sysv(name.as_bytes()), 20, next, names.add(name), 0]);
        }
        if !self.needs.is_empty() {
            dynamic.push([0x6fff_fffe, tables.align()]);
        }
        for (at, &(file, index, name, flags)) in self.needs.iter().enumerate() {
            tables.halves(&[1, 1]);
            let next = if at + 1 < self.needs.len() { 32 } else { 0 };
            tables.words(&[names.add(file), 16, next, hash::sysv(name.as_bytes())]);
            tables.halves(&[flags, index]);
            tables.words(&[names.add(name), 0]);
        }
        let (rela_size, jmprel_size) = (24 * self.rela.len() as u64, 24 * self.jmprel.len() as u64);
        let rela = tables.align();
        for record in self.rela.iter().chain(&self.jmprel) {
            tables.longs(&[
                record.place,
                u64::from(record.symbol) << 32 | u64::from(record.kind),
                record.addend as u64,
            ]);
        }
        dynamic.extend([[7, rela], [8, rela_size + if self.jmprel_in_rela { jmprel_size } else { 0 }]]);
        dynamic.extend([[23, rela + rela_size], [2, jmprel_size], [0x6fff_fff9, self.relacount]]);
        dynamic.extend([[36, tables.align()], [35, 8 * self.relr.len() as u64]]);
        tables.longs(&self.relr);
        for (tag, list) in [(1, &self.needed), (0x7fff_fffd, &self.auxiliaries), (0x7fff_ffff, &self.filters)] {
            dynamic.extend(list.iter().map(|name| [tag, u64::from(names.add(name))]));
        }
        for (tag, name) in [(14, self.soname), (15, self.rpath), (29, self.runpath)] {
            dynamic.extend(name.map(|name| [tag, u64::from(names.add(name))]));
        }
        dynamic.push([0x6fff_fffb, self.flags_1]);
        dynamic.extend([[5, tables.align()], [10, names.bytes.len() as u64]]);
        tables.0.extend(names.bytes);
        dynamic.push([0, 0]);
        let at = tables.align();
        tables.longs(dynamic.as_flattened());
        let extent = Extent { at: Vaddr(at), size: 16 * dynamic.len() as u64 };
        placed(tables.0, extent)
    }
}

/// The image of `tables` and of fresh data.
fn placed(tables: Vec<u8>, dynamic: Extent) -> (Placement, Image<'static>) {
    assert!(TABLES + (tables.len() as u64) < DATA);
    let segment = |at, size, offset, flags| LoadSegment {
        start: Vaddr(at),
        data_end: Vaddr(at + size),
        end: Vaddr(at + size),
        offset,
        flags,
    };
    let placement = Placement {
        segments: vec![
            // Code, of which nothing is read.
            segment(0, TABLES, 0, PF_X),
            segment(TABLES, tables.len() as u64, 0, PF_R),
            segment(DATA, DATA_SIZE, DATA - TABLES, PF_R | PF_W),
        ],
        position_independent: true,
        dynamic: Some(dynamic),
        ..Placement::default()
    };
    let tables: &'static [u8] = tables.leak();
    let data: &'static mut [u8] = vec![FILL; DATA_SIZE as usize].leak();
    let segments = vec![
        Segment {
            start: Vaddr(TABLES),
            size: tables.len() as u64,
            memory: tables.as_ptr().expose_provenance() as u64,
            writable: false,
        },
        Segment {
            start: Vaddr(DATA),
            size: DATA_SIZE,
            memory: data.as_mut_ptr().expose_provenance() as u64,
            writable: true,
        },
    ];
    // SAFETY: both runs of bytes were leaked and are reached through this image alone; the strings are in the first.
    let image = unsafe { Image::new(Bias(BIAS), segments.leak()) };
    (placement, image)
}

/// Objects that see each other, in the order in which they were added.
#[derive(Default)]
pub struct World {
    pub objects: Objects<'static>,
    pub scope: Scope,
    pub uniques: Uniques,
}

impl World {
    pub fn add(&mut self, builder: &Builder) -> ObjectId {
        let id = self.objects.insert(builder.object());
        self.scope.objects.push(id);
        id
    }

    /// The word at `place` of an object.
    pub fn word(&self, id: ObjectId, place: u64) -> u64 {
        self.objects[id].image.read(Vaddr(place)).unwrap()
    }
}

pub fn shared_object(path: &'static str, symbols: &[Sym]) -> Builder {
    Builder { path, symbols: symbols.to_vec(), ..Builder::default() }
}

pub fn executable(symbols: &[Sym]) -> Builder {
    Builder { kind: Some(Kind::Executable), symbols: symbols.to_vec(), ..Builder::default() }
}
