//! Discover and plan: which files make up a process, where they go, and what each reference is bound to.
//!
//! Everything here is a function over bytes; nothing names a system call. The passes, in their order: [`search`] finds a
//! file for a name, [`placement`] says where its segments go, [`graph`] loads what it needs, [`version`] checks the
//! versions, [`tls`] lays out thread-local storage, [`order`] says who is initialised first, [`resolve`] finds a
//! definition for a name, [`bind`] one for each symbol that an object refers to, and [`relocate`] stores it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bind;
pub mod errno;
pub mod error;
pub mod graph;
pub mod index;
pub mod object;
pub mod order;
pub mod placement;
pub mod relocate;
pub mod resolve;
mod scout;
pub mod search;
pub mod tls;
pub mod version;

pub use errno::Errno;
pub use error::{Error, Problem};
pub use object::{Identity, Kind, Object, ObjectId, Objects};
