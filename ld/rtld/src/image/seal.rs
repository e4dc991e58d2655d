//! Seal: forbid every later change of what nobody may write in an object whose maker asks for that
//! (`GNU_PROPERTY_MEMORY_SEAL`, link editors' `-z memory-seal`; mseal(2), Linux 6.10).
//!
//! Objects that do not ask are left alone, as glibc leaves all: tools that put code into running programs change the
//! permissions of text, programs that take over whole address spaces (CRIU, rr) unmap what is there, and each seal is a call.
//! Nor is an object sealed that dlclose(3) may unload. With the program, Folio's own code and constants are sealed.
//!
//! # Safety
//! What is sealed is never unmapped, and its permissions are final: objects of the start, after their relocation.
#![allow(unsafe_code)]

use folio_elf::Vaddr;
use folio_link::object::Object;
use folio_link::placement::PF_W;
use folio_runtime::syscall::mseal;

use crate::process::Process;

/// Seals those objects of the start that ask for it. Kernels that cannot, and filters that refuse, lose no more than that.
pub fn start(process: &Process) {
    // SAFETY: one thread.
    let (objects, members) = unsafe { (process.objects.get(), process.base.members.get()) };
    let program = &objects[process.executable];
    for object in members.iter().map(|&id| &objects[id]).filter(|object| object.properties.memory_seal) {
        seal(object, object.placement.relro_pages());
    }
    if program.properties.memory_seal {
        // Its relocated data is opened again, if seldom.
        seal(&objects[process.interpreter], None);
    }
}

/// Seals the segments that cannot be written, and `relro`; neighbours with one call.
fn seal(object: &Object, relro: Option<(Vaddr, Vaddr)>) {
    let constant = object.placement.segments.iter().filter(|segment| segment.flags & PF_W == 0);
    let mut ranges = constant.map(|segment| (segment.start, segment.pages_end())).chain(relro).peekable();
    while let Some((start, mut end)) = ranges.next() {
        while let Some((_, further)) = ranges.next_if(|&(next, _)| next == end) {
            end = further;
        }
        // SAFETY: whole mappings of an object that stays, whose permissions nobody changes again.
        let _ = unsafe { mseal(object.address(start).0 as usize, (end.0 - start.0) as usize) };
    }
}
