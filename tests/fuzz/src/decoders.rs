//! Targets for the decoders of `folio-elf`, and for placement: one a table of a file, and one for a file with all its tables.

use folio_elf::hash::{self, GnuHash, SysvHash};
use folio_elf::relocation::{Rela, Relocation, relr};
use folio_elf::{Dynamic, FileHeader, Image, ProgramHeader, Strings, Symbols, Vaddr, header as headers, note, version};
use folio_link::placement::{PAGE, Placement};
use folio_link::{Kind, Object};

use crate::memory::Memory;

/// Names that a table may hold, and one that it does not.
const NAMES: [&[u8]; 4] = [b"", b"exported", b"counter", b"absent"];

pub fn header(bytes: &[u8]) {
    if let Ok(file) = FileHeader::decode(bytes) {
        assert!(bytes.len() >= FileHeader::SIZE && file.phsize() == usize::from(file.phnum) * 56);
    }
    assert_eq!(headers::program_headers(bytes).count(), bytes.len() / 56);
    // Nobody promises that they are where numbers may be.
    let moved = [&[0], &bytes[..bytes.len().min(FileHeader::SIZE)]].concat();
    assert_eq!(FileHeader::decode(&moved[1..]).err(), FileHeader::decode(bytes).err());
}

/// The program headers of a file, as far as it holds them.
fn program_headers<'b>(file: &FileHeader, bytes: &'b [u8]) -> impl Iterator<Item = ProgramHeader> + Clone + use<'b> {
    let table = usize::try_from(file.phoff).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    headers::program_headers(&table[..table.len().min(file.phsize())])
}

/// Plans the segments of a file; what follows from a plan must lie where the plan says.
pub fn plan(bytes: &[u8]) -> Option<Placement> {
    let file = FileHeader::decode(bytes).ok()?;
    let placement = Placement::plan(&file, program_headers(&file, bytes), bytes.len() as u64).ok()?;
    let mut end = 0;
    for segment in &placement.segments {
        assert!(segment.start.0.is_multiple_of(PAGE) && segment.offset.is_multiple_of(PAGE));
        assert!(end <= segment.start.0 && segment.start <= segment.data_end && segment.data_end <= segment.end);
        assert!(segment.file_pages_end() <= segment.pages_end());
        assert!(
            segment.offset + (segment.data_end.0 - segment.start.0) <= bytes.len() as u64 || !segment.has_file_part()
        );
        end = segment.pages_end().0;
    }
    assert!(end <= 1 << 47 && placement.span() == end - placement.start().0 && placement.align.is_power_of_two());
    if let Some((start, end)) = placement.relro_pages() {
        assert!(start < end && start.0.is_multiple_of(PAGE) && end.0.is_multiple_of(PAGE));
        assert!(placement.segments.iter().any(|segment| segment.start <= start && end <= segment.pages_end()));
    }
    let _ = placement.is_contiguous();
    Some(placement)
}

pub fn placement(bytes: &[u8]) {
    plan(bytes);
}

/// The dynamic section is the first half, and its strings are anywhere.
pub fn dynamic(bytes: &[u8]) {
    let memory = Memory::default();
    let image = memory.constant(bytes);
    if let Some(dynamic) = Dynamic::decode(&image, Vaddr(0), bytes.len() as u64) {
        check_dynamic(&dynamic, bytes.len());
    }
}

fn check_dynamic(dynamic: &Dynamic, size: usize) {
    let most = size / 16;
    assert!(dynamic.entries().len() <= most && dynamic.needed().count() <= dynamic.dependencies().count());
    assert!(dynamic.dependencies().count() <= most);
    assert!(dynamic.rpath.is_none() || dynamic.runpath.is_none());
    for name in dynamic.needed().chain([dynamic.soname, dynamic.rpath, dynamic.runpath]).flatten() {
        assert!(!name.contains(&0) && name.len() < size);
    }
    let _ = (dynamic.binds_now(), dynamic.strings_of([14]), dynamic.arrays());
}

/// Looks names up in both kinds of table and gives how many symbols were looked at.
fn check_gnu_hash(table: &GnuHash, size: usize) {
    let count = table.symbol_count();
    assert!(
        count as usize <= (table.symbol_base as usize).max(table.buckets.iter().max().unwrap_or(0) as usize) + size
    );
    for name in NAMES {
        let hash = hash::gnu(name);
        let (mut seen, mut last) = (0, None);
        table.find(hash, None, |index| -> Option<()> {
            assert!(index >= table.symbol_base && last < Some(index), "a chain goes forward");
            (seen, last) = (seen + 1, Some(index));
            None
        });
        assert!(seen <= size / 4);
        assert!(seen == 0 || table.filter().passes(hash));
    }
}

fn check_sysv_hash(table: &SysvHash, size: usize) {
    for name in NAMES {
        let mut seen = 0;
        table.find(hash::sysv(name), None, |index| -> Option<()> {
            assert_ne!(index, 0);
            seen += 1;
            None
        });
        assert!(seen <= size / 4);
    }
}

pub fn gnu_hash(bytes: &[u8]) {
    let memory = Memory::default();
    if let Some(table) = GnuHash::decode(&memory.constant(bytes), Vaddr(0)) {
        check_gnu_hash(&table, bytes.len());
    }
}

pub fn sysv_hash(bytes: &[u8]) {
    let memory = Memory::default();
    if let Some(table) = SysvHash::decode(&memory.constant(bytes), Vaddr(0)) {
        check_sysv_hash(&table, bytes.len());
    }
}

fn check_versions(image: &Image, strings: Strings, at: Vaddr, size: usize) {
    assert!(version::definitions(image, strings, at).count() <= size / 16);
    assert!(version::needs(image, strings, at).count() <= size / 16);
    for name in version::definitions(image, strings, at).map(|definition| definition.name) {
        assert!(!name.contains(&0));
    }
}

/// The bytes are a chain of records and the strings that these name.
pub fn versions(bytes: &[u8]) {
    let memory = Memory::default();
    let image = memory.constant(bytes);
    check_versions(&image, Strings::new(bytes), Vaddr(0), bytes.len());
}

/// The bytes are a table of either kind.
pub fn relocations(bytes: &[u8]) {
    let memory = Memory::default();
    let image = memory.constant(bytes);
    let size = bytes.len() as u64;
    if let Some(table) = image.table(Vaddr(0), size / 8) {
        let places = relr(table).count();
        assert!(places <= 63 * table.len());
    }
    if let Some(table) = image.table::<Rela>(Vaddr(0), size / 24) {
        assert_eq!(table.iter().map(Relocation::from).count(), bytes.len() / 24);
        assert_eq!(table.skip(1).truncated(2).len(), table.len().saturating_sub(1).min(2));
    }
}

pub fn notes(bytes: &[u8]) {
    if let Some(id) = note::build_id(bytes) {
        assert!(bytes.as_ptr_range().start <= id.as_ptr() && id.len() <= bytes.len());
    }
    let _ = note::properties(bytes);
}

/// A file: header, placement, and every table that its dynamic section names.
pub fn object(bytes: &[u8]) {
    let memory = Memory::default();
    let Some(placement) = plan(bytes) else { return };
    let notes = placement.notes.clone();
    let Some(image) = memory.map(&placement, bytes) else { return };
    for extent in notes {
        if let Some(notes) = image.constant_bytes(extent.at, extent.size) {
            self::notes(notes);
        }
    }
    let Ok(object) = Object::decode(Kind::Library, b"/lib/liba.so", placement, image) else { return };
    let _ = (object.properties, object.span(), object.soname(), object.needs_any(), object.holds(object.span().0));
    let size = object.image.segments().iter().map(|segment| segment.size as usize).sum();
    if let Some(dynamic) = &object.dynamic {
        check_dynamic(dynamic, size);
        for at in [dynamic.verdef, dynamic.verneed].into_iter().flatten() {
            check_versions(&object.image, dynamic.strings, at, size);
        }
    }
    if let Some(symbols) = &object.symbols {
        check_symbols(symbols, size);
    }
    if let Some([rela, jmprel]) = folio_link::relocate::tables(&object) {
        assert!(24 * rela.len() <= size && 24 * jmprel.len() <= size);
    }
}

fn check_symbols(symbols: &Symbols, size: usize) {
    if let Some(table) = &symbols.gnu_hash {
        check_gnu_hash(table, size);
    }
    if let Some(table) = &symbols.sysv_hash {
        check_sysv_hash(table, size);
    }
    for index in (0..symbols.count()).take(64) {
        let Some(symbol) = symbols.get(index) else { break };
        let _ =
            (symbol.kind(), symbol.binding(), symbol.visibility(), symbol.is_defined(), symbols.version_index(index));
        let hashed = hash::hashed_name(&symbols.strings, symbol.0.st_name, None);
        assert_eq!(hashed.map(|(name, _)| name), symbols.name(&symbol));
        assert!(
            hashed.is_none_or(|(name, hash)| hash == hash::gnu(name) && symbols.strings.equals(symbol.0.st_name, name))
        );
    }
}
