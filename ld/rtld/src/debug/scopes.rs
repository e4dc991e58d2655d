//! `LD_DEBUG=scopes`: where the references of each object are looked up.
//!
//! # Safety
//! Guarded fields are read under the load lock, or before there is a second thread.
#![allow(unsafe_code)]

use core::fmt::Write;

use folio_elf::Lossy;
use folio_link::object::{Kind, ObjectId};

use super::{Categories as C, Lines, is_on, name, namespace, say};
use crate::process::{Process, ScopeName};

/// Shows the scopes of all objects of the start. There is one thread.
pub fn initial_scopes(process: &Process) {
    say(C::SCOPES, format_args!("\nInitial object scopes\n"));
    if is_on(C::SCOPES) {
        // SAFETY: one thread.
        for &id in unsafe { process.base.members.get() } {
            show_scope(process, id, 0);
        }
    }
}

/// Shows the scopes of an object, from the one numbered `from` on. The load lock is held.
pub fn show_scope(process: &Process, id: ObjectId, from: usize) {
    if is_on(C::SCOPES) {
        show(process, id, from);
    }
}

#[cold]
#[inline(never)]
fn show(process: &Process, id: ObjectId, from: usize) {
    // SAFETY: the load lock is held, or there is one thread.
    let (objects, state, global) =
        unsafe { (process.objects.get(), process.state(id), process.namespace_of(id).global.get()) };
    say(C::SCOPES, format_args!("object={} [{}]\n", name(process, id), namespace(process, id)));
    // Folio relocates itself, and refers to nobody.
    if objects[id].kind == Kind::Interpreter {
        say(C::SCOPES, format_args!(" no scope\n"));
    } else {
        for (number, scope) in state.scopes.iter().enumerate().skip(from) {
            let itself = [id];
            let members = match *scope {
                ScopeName::Global => &global.objects,
                // SAFETY: as above.
                ScopeName::ClosureOf(root) => unsafe { &process.state(root).closure.objects },
                ScopeName::Itself => &itself[..],
            };
            let mut line = Lines::new();
            let _ = write!(line, " scope {number}:");
            for &member in members {
                line.push(b" ");
                let _ = write!(line, "{}", name(process, member));
            }
            line.push(b"\n");
        }
    }
    say(C::SCOPES, format_args!("\n"));
}

/// An object is added to the main search list. The load lock is held.
pub fn joins_global_scope(process: &Process, id: ObjectId) {
    if is_on(C::SCOPES) {
        // SAFETY: the load lock is held.
        let path = unsafe { &process.objects.get()[id].path };
        say(C::SCOPES, format_args!("\nadd {} [{}] to global scope\n", Lossy(path), namespace(process, id)));
    }
}
