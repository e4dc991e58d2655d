//! Loaded objects: what linking knows of each ELF file, in one table by number.

use alloc::boxed::Box;
use alloc::vec::Vec;

use folio_elf::dynamic::{DF_SYMBOLIC, Dynamic, Extent};
use folio_elf::hash::BloomFilter;
use folio_elf::image::are_equal;
use folio_elf::note::{self, Properties};
use folio_elf::{Addr, Image, Symbols, Vaddr};

use crate::error::Problem;
use crate::placement::{PF_X, Placement};
use crate::search::PathList;
use crate::tls;
use crate::version::Versions;

/// Number of an object in [`Objects`]; stable for as long as the object is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

/// Which file it is, whatever its name (stat(2): `st_dev`, `st_ino`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
}

/// What part an object plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Executable,
    /// The dynamic linker itself.
    Interpreter,
    /// The kernel's virtual object (vdso(7)).
    Vdso,
    Library,
}

/// An ELF object and its decoded tables.
#[derive(Debug)]
pub struct Object<'m> {
    pub kind: Kind,
    /// `l_name`: the path as opened; empty for the executable.
    pub path: Vec<u8>,
    /// Names by which it was asked for: a later request by one of them means this object.
    pub names: Vec<Vec<u8>>,
    /// The directory that `$ORIGIN` stands for.
    pub origin: Vec<u8>,
    pub identity: Option<Identity>,
    pub placement: Placement,
    pub image: Image<'m>,
    /// `None` for an executable without dynamic section.
    pub dynamic: Option<Dynamic<'m>>,
    pub symbols: Option<Symbols<'m>>,
    pub versions: Versions<'m>,
    pub properties: Properties,
    /// The object whose dependency it was when it was loaded (`l_loader`).
    pub loader: Option<ObjectId>,
    /// Its direct dependencies, in `DT_NEEDED` order.
    pub needed: Vec<ObjectId>,
    /// Those of `needed` that are searched before the object itself (`DT_FILTER`, `DT_AUXILIARY`).
    pub filtees: Vec<ObjectId>,
    /// Whether `needed` is filled in.
    pub is_graphed: bool,
    /// `DT_RPATH` and `DT_RUNPATH`, taken apart when a search first asked for them.
    pub rpath: Option<PathList>,
    pub runpath: Option<PathList>,
    /// Its finalizers have run, and it is about to be unloaded: no request and no reference means it any more.
    pub is_removed: bool,
}

impl<'m> Object<'m> {
    /// Decodes the tables of an object that is in memory. What is known of one takes a quarter of a page, so it is boxed from
    /// the beginning: threads with small stacks open objects too.
    pub fn decode(kind: Kind, path: &[u8], placement: Placement, image: Image<'m>) -> Result<Box<Object<'m>>, Problem> {
        let dynamic = match placement.dynamic {
            Some(extent) => Some(Dynamic::decode(&image, extent.at, extent.size).ok_or(Problem::Dynamic)?),
            None => None,
        };
        for array in dynamic.iter().flat_map(|dynamic| dynamic.arrays()) {
            image.table::<u64>(array.at, array.size / 8).ok_or(Problem::Dynamic)?;
        }
        if let Some(segment) = &placement.tls {
            tls::Module::from(segment).check().map_err(Problem::Tls)?;
            image.table::<u8>(segment.image, segment.file_size).ok_or(Problem::TlsImage)?;
        }
        let symbols = dynamic.as_ref().map(|dynamic| Symbols::decode(&image, dynamic));
        let versions = dynamic.as_ref().map(|dynamic| Versions::decode(&image, dynamic)).unwrap_or_default();
        let properties = properties(&placement, &image);
        Ok(Box::new(Object {
            kind,
            path: path.to_vec(),
            names: Vec::new(),
            origin: directory_of(path).to_vec(),
            identity: None,
            placement,
            image,
            dynamic,
            symbols,
            versions,
            properties,
            loader: None,
            needed: Vec::new(),
            filtees: Vec::new(),
            is_graphed: false,
            rpath: None,
            runpath: None,
            is_removed: false,
        }))
    }

    /// Whether it needs any library.
    pub fn needs_any(&self) -> bool {
        self.dynamic.as_ref().is_some_and(|dynamic| dynamic.needed().next().is_some())
    }

    pub fn soname(&self) -> Option<&'m [u8]> {
        self.dynamic.as_ref()?.soname
    }

    /// The string of `PT_INTERP`.
    pub fn named_interpreter(&self) -> Option<&'m [u8]> {
        let extent = self.placement.interpreter?;
        self.image.strings(extent.at, extent.size)?.get(0)
    }

    /// Whether a request for `name` means this object: it was asked for so before, or it is its `DT_SONAME`.
    pub fn answers_to(&self, name: &[u8]) -> bool {
        let is_one = |known: &[u8]| are_equal(known, name);
        !self.is_removed && (self.soname().is_some_and(is_one) || self.names.iter().any(|known| is_one(known)))
    }

    /// Remembers a name by which the object was asked for.
    pub fn add_name(&mut self, name: &[u8]) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_vec());
        }
    }

    pub fn address(&self, vaddr: Vaddr) -> Addr {
        self.image.bias().apply(vaddr)
    }

    /// `l_map_start` and `l_map_end`: the addresses that the object spans.
    pub fn span(&self) -> (Addr, Addr) {
        (self.address(self.placement.start()), self.address(self.placement.end()))
    }

    /// Whether one of its segments holds `at`.
    pub fn holds(&self, at: Addr) -> bool {
        let vaddr = self.image.bias().remove(at);
        self.placement.segments.iter().any(|segment| segment.start <= vaddr && vaddr < segment.end)
    }

    /// Whether one of its executable segments holds `at`.
    pub fn holds_code(&self, at: Addr) -> bool {
        let vaddr = self.image.bias().remove(at);
        let code = self.placement.segments.iter().filter(|segment| segment.flags & PF_X != 0);
        code.into_iter().any(|segment| segment.start <= vaddr && vaddr < segment.end)
    }

    /// The name that messages use: the program's is in `program`.
    pub fn display_name<'a>(&'a self, program: &'a [u8]) -> &'a [u8] {
        if self.path.is_empty() { program } else { &self.path }
    }

    /// Whether its references are looked up in itself before its scopes (`DF_SYMBOLIC`).
    pub fn is_symbolic(&self) -> bool {
        self.dynamic.as_ref().is_some_and(|dynamic| dynamic.flags & DF_SYMBOLIC != 0)
    }

    pub fn flags_1(&self) -> u64 {
        self.dynamic.as_ref().map_or(0, |dynamic| dynamic.flags_1)
    }
}

/// What the notes of an object ask for.
fn properties(placement: &Placement, image: &Image) -> Properties {
    /// Size in bytes of all property notes together: an honest object has one, of some tens.
    const MOST: u64 = 1 << 16;
    let mut left = MOST;
    let is_within = |extent: &&Extent| {
        let rest = left.checked_sub(extent.size);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    // Tools that edit files move notes into writable segments, of which no references are handed out.
    let bytes = |extent: &Extent| Some(image.table::<u8>(extent.at, extent.size)?.iter().collect::<Vec<u8>>());
    let mut notes = placement.property_notes.iter().rev().take_while(is_within).filter_map(bytes);
    notes.find_map(|notes| note::properties(&notes)).unwrap_or_default()
}

/// The directory part of a path: all before its last slash (`/` alone for a file in the root).
pub fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/",
        Some(slash) => &path[..slash],
        None => b"",
    }
}

/// All loaded objects of a process.
#[derive(Debug, Default)]
pub struct Objects<'m> {
    /// Boxed, so that the table can grow without copying them.
    slots: Vec<Option<Box<Object<'m>>>>,
    /// The Bloom filter of each slot, side by side: most questions of a search end here, having touched little memory.
    filters: Vec<BloomFilter<'m>>,
}

impl<'m> Objects<'m> {
    pub const fn new() -> Objects<'m> {
        Objects { slots: Vec::new(), filters: Vec::new() }
    }

    /// Adds an object, in the first free place.
    pub fn insert(&mut self, object: Box<Object<'m>>) -> ObjectId {
        let free = self.slots.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.filters.push(BloomFilter::open());
            self.slots.len() - 1
        });
        let table = object.symbols.as_ref().and_then(|symbols| symbols.gnu_hash);
        self.filters[index] = match table {
            Some(table) => table.filter(),
            None => BloomFilter::open(),
        };
        self.slots[index] = Some(object);
        ObjectId(index as u32)
    }

    pub fn remove(&mut self, id: ObjectId) -> Option<Box<Object<'m>>> {
        let object = self.slots.get_mut(id.0 as usize)?.take();
        // The filter lies in the object's memory.
        self.filters[id.0 as usize] = BloomFilter::open();
        object
    }

    pub fn get(&self, id: ObjectId) -> Option<&Object<'m>> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    /// Whether `id` may define a name with this hash.
    #[inline(always)]
    pub fn may_define(&self, id: ObjectId, gnu_hash: u32) -> bool {
        self.filters.get(id.0 as usize).is_some_and(|filter| filter.passes(gnu_hash))
    }

    /// The first of `ids` that may define a name with this hash, and those behind it. Most of what a search takes is here.
    #[inline(always)]
    pub fn first_to_ask<'i>(&self, ids: &'i [ObjectId], gnu_hash: u32) -> Option<(ObjectId, &'i [ObjectId])> {
        let mut ids = ids.iter();
        let first = ids.find(|&&id| self.may_define(id, gnu_hash))?;
        Some((*first, ids.as_slice()))
    }

    /// The first of `ids` that may define a name with this hash, whose lowest bit is not known.
    #[inline(always)]
    pub fn first_of_either(&self, ids: &[ObjectId], gnu_hash: u32) -> Option<ObjectId> {
        let may_define =
            |id: &ObjectId| self.filters.get(id.0 as usize).is_some_and(|filter| filter.passes_either(gnu_hash));
        ids.iter().copied().find(may_define)
    }

    pub fn get_mut(&mut self, id: ObjectId) -> Option<&mut Object<'m>> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    fn loaded(&self, id: ObjectId) -> &Object<'m> {
        self.get(id).expect("object is loaded")
    }

    fn loaded_mut(&mut self, id: ObjectId) -> &mut Object<'m> {
        self.get_mut(id).expect("object is loaded")
    }

    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, &Object<'m>)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((ObjectId(index as u32), slot.as_deref()?)))
    }
}

/// A number that is not in the table is a fault of Folio's own: numbers are made by `insert` only. Where it happens is not said:
/// each place that could be named would be a word that every process relocates.
impl<'m> core::ops::Index<ObjectId> for Objects<'m> {
    type Output = Object<'m>;

    #[inline]
    fn index(&self, id: ObjectId) -> &Object<'m> {
        self.loaded(id)
    }
}

impl<'m> core::ops::IndexMut<ObjectId> for Objects<'m> {
    #[inline]
    fn index_mut(&mut self, id: ObjectId) -> &mut Object<'m> {
        self.loaded_mut(id)
    }
}
