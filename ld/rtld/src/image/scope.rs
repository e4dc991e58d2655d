//! The scopes of loaded objects: which lists are searched for an object's references, in which order.
//!
//! An object of the start searches the main list; one that was opened later searches the main list and the closure it was
//! opened with, the other way round for `RTLD_DEEPBIND` (gABI, *Shared Object Dependencies*; dlopen(3)).

use alloc::vec::Vec;

use folio_link::object::ObjectId;
use folio_link::resolve::Scope;

use crate::process::{Process, ScopeName};

/// Runs `search` with the scopes of `id`.
///
/// # Safety
/// The load lock is held, and `search` changes no scope.
#[allow(unsafe_code)]
pub unsafe fn with_scopes<R>(process: &Process, id: ObjectId, search: impl FnOnce(&[&Scope]) -> R) -> R {
    let itself = Scope { objects: alloc::vec![id] };
    // SAFETY: the caller's promise.
    let (state, global) = unsafe { (process.state(id), process.namespace_of(id).global.get()) };
    let scopes: Vec<&Scope> = state
        .scopes
        .iter()
        .map(|name| match *name {
            ScopeName::Global => global,
            // SAFETY: as above.
            ScopeName::ClosureOf(root) => unsafe { &process.state(root).closure },
            ScopeName::Itself => &itself,
        })
        .collect();
    search(&scopes)
}
