//! The libc of the process: which one it is, and its functions that the loader calls.

use core::ffi::CStr;

use folio_elf::symbol::SHN_UNDEF;
use folio_elf::{Addr, note};
use folio_glibc::layout::Layout;
use folio_glibc::select::{self, Mismatch};
use folio_glibc::tables;
use folio_link::object::{Object, ObjectId, Objects};
use folio_link::resolve::{Class, Reference, find_in};

use crate::process::LibcFunctions;
use crate::processor::LEAF_READER;

/// `DT_SONAME` of glibc's C library.
const SONAME: &[u8] = b"libc.so.6";

/// The C library among `members`.
pub fn find(objects: &Objects, members: &[ObjectId]) -> Option<ObjectId> {
    members.iter().copied().find(|&id| objects[id].soname() == Some(SONAME))
}

/// The table that fits `libc`.
#[expect(clippy::result_large_err, reason = "made once, just before the process is handed over")]
pub fn layout(libc: &Object<'static>) -> Result<&'static Layout, Mismatch> {
    select::select(&Measured(libc))
}

/// The table for a process without a libc: nobody will read what is written by it.
pub fn any_layout() -> &'static Layout {
    tables::ALL.iter().rev().find(|layout| layout.proven).unwrap_or(&tables::ALL[0])
}

/// A mapped libc, as the measurements of the selection see it.
struct Measured<'o>(&'o Object<'static>);

impl Measured<'_> {
    fn definition(&self, symbol: &str) -> Option<folio_elf::Symbol> {
        let reference = Reference::new(symbol.as_bytes(), None, Class::Call);
        find_in(self.0, &reference).map(|(_, symbol)| symbol)
    }
}

impl select::Libc for Measured<'_> {
    fn build_id(&self) -> Option<&[u8]> {
        let notes = self.0.placement.notes.iter();
        notes.filter_map(|extent| self.0.image.constant_bytes(extent.at, extent.size)).find_map(note::build_id)
    }

    fn bytes_at(&self, symbol: &str, max: usize) -> Option<&[u8]> {
        let at = self.definition(symbol)?.value();
        let left = self.0.placement.segments.iter().find(|segment| segment.start <= at && at < segment.end)?;
        self.0.image.constant_bytes(at, (left.end.0 - at.0).min(max as u64))
    }

    fn exports(&self, symbol: &str) -> bool {
        self.definition(symbol).is_some()
    }

    fn imports(&self, symbol: &str) -> bool {
        let Some(symbols) = &self.0.symbols else { return false };
        (0..symbols.count().max(64))
            .map_while(|index| symbols.get(index))
            .any(|entry| entry.0.st_shndx == SHN_UNDEF && symbols.name(&entry) == Some(symbol.as_bytes()))
    }
}

/// Looks libc's functions up.
pub fn functions(objects: &Objects, libc: ObjectId, layout: &Layout) -> LibcFunctions {
    let object = &objects[libc];
    let function = |name: &CStr| -> Option<Addr> {
        let reference = Reference::new(name.to_bytes(), None, Class::Call);
        find_in(object, &reference).map(|(_, symbol)| object.address(symbol.value()))
    };
    let owns_exceptions = layout.behaviour.libc_owns_exceptions;
    LibcFunctions {
        mutex_lock: function(c"pthread_mutex_lock"),
        mutex_unlock: function(c"pthread_mutex_unlock"),
        signal_exception: function(c"_dl_signal_exception").filter(|_| owns_exceptions),
        catch_error: function(c"_dl_catch_error").filter(|_| owns_exceptions),
        errno_location: function(c"__errno_location"),
        early_init: function(c"__libc_early_init"),
        register_atfork: function(c"__register_atfork"),
        leaf_reader: find_in(object, &Reference::new(LEAF_READER, None, Class::Call)).map(|(index, _)| index),
    }
}
