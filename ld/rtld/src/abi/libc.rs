//! The libc of the process: which one it is, and its functions that the loader calls.

use core::ffi::CStr;

use folio_elf::Addr;
use folio_glibc::layout::Layout;
use folio_glibc::select::{self, Decoded, Mismatch};
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
    let (image, symbols, notes) = (libc.image, libc.symbols.as_ref(), &libc.placement.notes[..]);
    let definition = |name: &[u8]| find_in(libc, &Reference::new(name, None, Class::Call)).map(|(_, symbol)| symbol);
    select::select(&Decoded { image, symbols, notes, definition })
}

/// The table for a process without a libc: nobody will read what is written by it.
pub fn any_layout() -> &'static Layout {
    tables::ALL.iter().rev().find(|layout| layout.proven).unwrap_or(&tables::ALL[0])
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
