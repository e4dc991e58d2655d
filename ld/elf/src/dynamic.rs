//! The dynamic section (gABI, *Dynamic Section*; psABI; GNU extensions).

use goblin::elf64::dynamic::{self as tag, Dyn};

use crate::address::Vaddr;
use crate::image::{Image, Strings, Table};

pub use goblin::elf64::dynamic::{
    DF_1_GLOBAL, DF_1_INITFIRST, DF_1_INTERPOSE, DF_1_NODEFLIB, DF_1_NODELETE, DF_1_NOOPEN, DF_1_NOW, DF_1_PIE,
    DF_BIND_NOW, DF_STATIC_TLS, DF_SYMBOLIC, DF_TEXTREL, DT_AUDIT, DT_DEPAUDIT, DT_RELACOUNT, DT_RELASZ, DT_STRSZ,
    DT_STRTAB, DT_VERNEED,
};

/// `DT_RELR`, `DT_RELRSZ` (gABI 4.3); goblin 0.10 does not name them.
pub const DT_RELRSZ: u64 = 35;
pub const DT_RELR: u64 = 36;
pub const DT_RELRENT: u64 = 37;

/// `DT_AUXILIARY`, `DT_FILTER` (Solaris *Linker and Libraries Guide*, shared objects as filters); goblin does not name them.
const DT_AUXILIARY: u64 = 0x7fff_fffd;
const DT_FILTER: u64 = 0x7fff_ffff;

/// In which way an object depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    Needed,
    /// Its symbols come before the object's own, if it can be loaded.
    Auxiliary,
    /// Its symbols come before the object's own.
    Filter,
}

/// A run of bytes that two dynamic entries describe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub at: Vaddr,
    pub size: u64,
}

impl Extent {
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

/// A decoded dynamic section: its addresses are link-time ones, whether or not the section was relocated in place since.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic<'m> {
    entries: Table<'m, Dyn>,
    pub strings: Strings<'m>,
    pub symtab: Option<Vaddr>,
    pub gnu_hash: Option<Vaddr>,
    pub hash: Option<Vaddr>,
    pub versym: Option<Vaddr>,
    pub verneed: Option<Vaddr>,
    pub verdef: Option<Vaddr>,
    /// How many versions `DT_VERDEFNUM` says that there are, and how many files `DT_VERNEEDNUM`: what room to make for them.
    pub verdefnum: u64,
    pub verneednum: u64,
    pub rela: Extent,
    /// `DT_RELACOUNT`: how many of `rela` are relative and come first.
    pub relacount: u64,
    pub jmprel: Extent,
    pub relr: Extent,
    pub pltgot: Option<Vaddr>,
    pub init: Option<Vaddr>,
    pub fini: Option<Vaddr>,
    pub preinit_array: Extent,
    pub init_array: Extent,
    pub fini_array: Extent,
    pub soname: Option<&'m [u8]>,
    pub rpath: Option<&'m [u8]>,
    pub runpath: Option<&'m [u8]>,
    /// `DT_FLAGS`, with the bits of the older `DT_SYMBOLIC`, `DT_TEXTREL` and `DT_BIND_NOW` folded in.
    pub flags: u64,
    pub flags_1: u64,
    /// Index of the `DT_DEBUG` entry.
    pub debug: Option<usize>,
}

impl<'m> Dynamic<'m> {
    /// Decodes the section of `size` bytes at `at`; `None` when it or its string table is not in the image.
    pub fn decode(image: &Image<'m>, at: Vaddr, size: u64) -> Option<Dynamic<'m>> {
        let all: Table<Dyn> = image.table(at, size / size_of::<Dyn>() as u64)?;
        let used = (0..all.len())
            .find(|&index| all.get(index).is_none_or(|entry| entry.d_tag == tag::DT_NULL))
            .unwrap_or(all.len());
        let entries = all.truncated(used);

        let mut dynamic = Dynamic {
            entries,
            strings: Strings::EMPTY,
            symtab: None,
            gnu_hash: None,
            hash: None,
            versym: None,
            verneed: None,
            verdef: None,
            verdefnum: 0,
            verneednum: 0,
            rela: Extent::default(),
            relacount: 0,
            jmprel: Extent::default(),
            relr: Extent::default(),
            pltgot: None,
            init: None,
            fini: None,
            preinit_array: Extent::default(),
            init_array: Extent::default(),
            fini_array: Extent::default(),
            soname: None,
            rpath: None,
            runpath: None,
            flags: 0,
            flags_1: 0,
            debug: None,
        };
        let mut strtab = Extent::default();
        let (mut soname, mut rpath, mut runpath) = (None, None, None);
        for (index, entry) in entries.iter().enumerate() {
            let value = entry.d_val;
            let address = Vaddr(value);
            match entry.d_tag {
                tag::DT_STRTAB => strtab.at = address,
                tag::DT_STRSZ => strtab.size = value,
                tag::DT_SYMTAB => dynamic.symtab = Some(address),
                tag::DT_GNU_HASH => dynamic.gnu_hash = Some(address),
                tag::DT_HASH => dynamic.hash = Some(address),
                tag::DT_VERSYM => dynamic.versym = Some(address),
                tag::DT_VERNEED => dynamic.verneed = Some(address),
                tag::DT_VERDEF => dynamic.verdef = Some(address),
                tag::DT_VERDEFNUM => dynamic.verdefnum = value,
                tag::DT_VERNEEDNUM => dynamic.verneednum = value,
                tag::DT_RELA => dynamic.rela.at = address,
                tag::DT_RELASZ => dynamic.rela.size = value,
                tag::DT_RELACOUNT => dynamic.relacount = value,
                tag::DT_JMPREL => dynamic.jmprel.at = address,
                tag::DT_PLTRELSZ => dynamic.jmprel.size = value,
                DT_RELR => dynamic.relr.at = address,
                DT_RELRSZ => dynamic.relr.size = value,
                tag::DT_PLTGOT => dynamic.pltgot = Some(address),
                tag::DT_INIT => dynamic.init = Some(address),
                tag::DT_FINI => dynamic.fini = Some(address),
                tag::DT_PREINIT_ARRAY => dynamic.preinit_array.at = address,
                tag::DT_PREINIT_ARRAYSZ => dynamic.preinit_array.size = value,
                tag::DT_INIT_ARRAY => dynamic.init_array.at = address,
                tag::DT_INIT_ARRAYSZ => dynamic.init_array.size = value,
                tag::DT_FINI_ARRAY => dynamic.fini_array.at = address,
                tag::DT_FINI_ARRAYSZ => dynamic.fini_array.size = value,
                tag::DT_SONAME => soname = Some(value),
                tag::DT_RPATH => rpath = Some(value),
                tag::DT_RUNPATH => runpath = Some(value),
                tag::DT_FLAGS => dynamic.flags |= value,
                tag::DT_FLAGS_1 => dynamic.flags_1 |= value,
                tag::DT_SYMBOLIC => dynamic.flags |= DF_SYMBOLIC,
                tag::DT_TEXTREL => dynamic.flags |= DF_TEXTREL,
                tag::DT_BIND_NOW => dynamic.flags |= DF_BIND_NOW,
                // Tables of records that are not of this machine's sizes cannot be read.
                tag::DT_RELAENT | tag::DT_SYMENT if value != 24 => return None,
                DT_RELRENT if value != 8 => return None,
                tag::DT_PLTREL if value != tag::DT_RELA => return None,
                tag::DT_DEBUG => dynamic.debug = Some(index),
                _ => {}
            }
        }
        if !strtab.is_empty() {
            dynamic.strings = image.strings(strtab.at, strtab.size)?;
        }
        let string = |offset: Option<u64>| offset.and_then(|offset| dynamic.strings.get(offset));
        let (rpath, runpath) = (string(rpath), string(runpath));
        dynamic.soname = soname.and_then(|offset| dynamic.strings.file_name(offset));
        // DT_RPATH is ignored when DT_RUNPATH is present (gABI, Shared Object Dependencies).
        dynamic.rpath = if runpath.is_some() { None } else { rpath };
        dynamic.runpath = runpath;
        Some(dynamic)
    }

    /// The entries before `DT_NULL`, as they are in memory now.
    pub fn entries(&self) -> Table<'m, Dyn> {
        self.entries
    }

    /// The strings of the first entries with these tags.
    pub fn strings_of<const N: usize>(&self, tags: [u64; N]) -> [Option<&'m [u8]>; N] {
        let mut found = [None; N];
        for entry in self.entries.iter() {
            if let Some(at) = tags.iter().position(|tag| *tag == entry.d_tag) {
                found[at].get_or_insert(entry.d_val);
            }
        }
        found.map(|offset| self.strings.get(offset?))
    }

    /// Names of `DT_NEEDED`, in order; `None` for one that the string table does not hold, or that is no path.
    pub fn needed(&self) -> impl Iterator<Item = Option<&'m [u8]>> + use<'m> {
        let strings = self.strings;
        self.entries
            .iter()
            .filter(|entry| entry.d_tag == tag::DT_NEEDED)
            .map(move |entry| strings.file_name(entry.d_val))
    }

    /// Names of `DT_NEEDED`, `DT_AUXILIARY` and `DT_FILTER`, in order; `None` for one that the string table does not hold,
    /// or that is no path.
    pub fn dependencies(&self) -> impl Iterator<Item = (Dependency, Option<&'m [u8]>)> + use<'m> {
        let strings = self.strings;
        self.entries.iter().filter_map(move |entry| {
            let kind = match entry.d_tag {
                tag::DT_NEEDED => Dependency::Needed,
                DT_AUXILIARY => Dependency::Auxiliary,
                DT_FILTER => Dependency::Filter,
                _ => return None,
            };
            Some((kind, strings.file_name(entry.d_val)))
        })
    }

    /// The arrays of initializers and finalizers.
    pub fn arrays(&self) -> [Extent; 3] {
        [self.preinit_array, self.init_array, self.fini_array]
    }

    pub fn binds_now(&self) -> bool {
        self.flags & DF_BIND_NOW != 0 || self.flags_1 & DF_1_NOW != 0
    }
}

#[cfg(test)]
#[path = "dynamic_tests.rs"]
mod tests;
