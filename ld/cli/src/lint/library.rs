//! What one library is made of, as far as sharing goes: its pages by what becomes of them, and where it is relocated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use folio_elf::dynamic::DF_1_PIE;
use folio_elf::header::program_headers;
use folio_elf::relocation::{R_X86_64_NONE, R_X86_64_RELATIVE, R_X86_64_RELATIVE64, Relocation, relr};
use folio_elf::{FileHeader, Image, Segment, Vaddr};
use folio_link::object::{Kind, Object};
use folio_link::placement::{LoadSegment, PAGE, PF_W, Placement};
use folio_link::relocate;
use serde::Serialize;

use super::names::Names;
use crate::object::length;

/// A library's file, decoded.
pub struct Library<'f> {
    pub path: PathBuf,
    pub object: Box<Object<'f>>,
    pub names: Names,
    /// In no order.
    pub places: Vec<Place>,
    pub weight: Weight,
}

/// Where the loader stores something.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub at: u64,
    pub length: u64,
    pub kind: u32,
    /// Index of the symbol; 0 for none.
    pub symbol: u32,
    /// It stands in `DT_RELR`.
    pub is_packed: bool,
    /// It stands in `DT_JMPREL`.
    pub is_call: bool,
}

/// Pages by what becomes of them in each process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Code and constants that stay the file's: in memory once.
    pub shared: u64,
    /// Code and constants that relocations change.
    pub changed_text: u64,
    /// Data that relocations change, or whose end is zeroed: private from the start.
    pub relocated_data: u64,
    /// Of these, pages that are read-only once they are relocated.
    pub sealed: u64,
    /// Other data of the file: shared until it is written.
    pub other_data: u64,
    /// Zeros: no memory until they are written.
    pub zeros: u64,
}

impl Weight {
    /// What each process has for itself as soon as the library is loaded.
    pub fn private(&self) -> u64 {
        self.changed_text + self.relocated_data
    }
}

impl Place {
    pub fn is_relative(&self) -> bool {
        self.is_packed || matches!(self.kind, R_X86_64_RELATIVE | R_X86_64_RELATIVE64)
    }

    pub fn pages(&self) -> impl Iterator<Item = u64> {
        self.at / PAGE..=self.at.saturating_add(self.length.max(1) - 1) / PAGE
    }
}

/// Room for the segments of an image.
pub fn storage(file: &[u8]) -> Vec<Segment> {
    let count = FileHeader::decode(file).map_or(0, |header| header.phnum);
    vec![Segment { start: Vaddr(0), size: 0, memory: 0, writable: false }; count.into()]
}

impl<'f> Library<'f> {
    /// Decodes a file; `storage` comes from [`storage`].
    pub fn decode(path: &Path, file: &'f [u8], storage: &'f mut [Segment]) -> Result<Library<'f>> {
        let header = FileHeader::decode(file).map_err(|error| anyhow!("{error}"))?;
        let table =
            usize::try_from(header.phoff).ok().and_then(|start| file.get(start..start.checked_add(header.phsize())?));
        let headers = program_headers(table.ok_or_else(|| anyhow!("cut off in its program headers"))?);
        let placement =
            Placement::plan(&header, headers.clone(), file.len() as u64).map_err(|error| anyhow!("{error}"))?;
        let image = Image::of_file(file, headers.filter(|header| header.p_memsz != 0), storage);
        let name = path.as_os_str().as_encoded_bytes();
        let object = Object::decode(Kind::Library, name, placement, image).map_err(|problem| anyhow!("{problem}"))?;
        if object.dynamic.is_none() {
            return Err(anyhow!("statically linked: no dynamic section"));
        }
        let places = places(&object).ok_or_else(|| anyhow!("its relocations lie outside the file"))?;
        let mut library =
            Library { path: path.to_owned(), object, names: Names::read(file), places, weight: Weight::default() };
        library.weight = library.weigh();
        Ok(library)
    }

    /// A program rather than a library.
    pub fn is_program(&self) -> bool {
        let named = self.object.placement.interpreter.is_some() && self.object.soname().is_none();
        let is_started = self.object.dynamic.as_ref().is_some_and(|dynamic| dynamic.debug.is_some());
        !self.object.placement.position_independent || self.object.flags_1() & DF_1_PIE != 0 || (named && is_started)
    }

    pub fn segments(&self) -> &[LoadSegment] {
        &self.object.placement.segments
    }

    pub fn segment_at(&self, at: u64) -> Option<&LoadSegment> {
        self.segments().iter().find(|segment| segment.start.0 <= at && at < segment.end.0)
    }

    /// Whether a place is in memory that a loader may not write.
    pub fn is_constant(&self, at: u64) -> bool {
        self.segment_at(at).is_some_and(|segment| segment.flags & PF_W == 0)
    }

    /// Whether a page is protected after relocation.
    pub fn is_sealed(&self, page: u64) -> bool {
        self.object.placement.relro_pages().is_some_and(|(start, end)| (start.0 / PAGE..end.0 / PAGE).contains(&page))
    }

    /// How many of the places that count lie on each page.
    pub fn by_page(&self, counts: impl Fn(&Place) -> bool) -> BTreeMap<u64, u64> {
        let mut pages = BTreeMap::new();
        for place in self.places.iter().filter(|place| counts(place)) {
            for page in place.pages() {
                *pages.entry(page).or_default() += 1;
            }
        }
        pages
    }

    fn weigh(&self) -> Weight {
        let touched = self.by_page(|_| true);
        let mut weight = Weight::default();
        for segment in self.segments() {
            let first = segment.start.0 / PAGE;
            let in_file = if segment.has_file_part() { first..segment.file_pages_end().0 / PAGE } else { first..first };
            let changed = touched.range(in_file.clone()).count() as u64;
            let pages = in_file.end - in_file.start;
            if segment.flags & PF_W == 0 {
                weight.changed_text += changed;
                weight.shared += pages - changed;
                continue;
            }
            let last = segment.data_end.0 / PAGE;
            let is_zeroed = segment.end > segment.data_end && !segment.data_end.0.is_multiple_of(PAGE);
            let zeroed = u64::from(is_zeroed && in_file.contains(&last) && !touched.contains_key(&last));
            weight.relocated_data += changed + zeroed;
            weight.sealed += touched.range(in_file.clone()).filter(|(page, _)| self.is_sealed(**page)).count() as u64;
            weight.other_data += pages - changed - zeroed;
            weight.zeros += segment.pages_end().0 / PAGE - in_file.end.max(first);
        }
        weight
    }

    /// Whether some segment has all of `flags`.
    pub fn has_segment(&self, flags: u32) -> bool {
        self.segments().iter().any(|segment| segment.flags & flags == flags)
    }
}

/// Every place of every relocation; `None` if a table lies outside the file.
fn places(object: &Object) -> Option<Vec<Place>> {
    let dynamic = object.dynamic.as_ref()?;
    let [rela, jmprel] = relocate::tables(object)?;
    let packed = object.image.table(dynamic.relr.at, dynamic.relr.size / 8)?;
    let mut places = Vec::with_capacity(rela.len() + jmprel.len());
    for (is_call, table) in [(false, rela), (true, jmprel)] {
        for record in table.iter() {
            let relocation = Relocation::from(record);
            let (kind, symbol) = (relocation.kind, relocation.symbol);
            if kind == R_X86_64_NONE {
                continue;
            }
            let length = length(&relocation, object.symbols.as_ref());
            places.push(Place { at: relocation.offset.0, length, kind, symbol, is_packed: false, is_call });
        }
    }
    let whole = |at: &Vaddr| object.image.read::<u64>(*at).is_some();
    places.extend(relr(packed).filter(whole).map(|at| Place {
        at: at.0,
        length: 8,
        kind: R_X86_64_RELATIVE,
        symbol: 0,
        is_packed: true,
        is_call: false,
    }));
    Some(places)
}
