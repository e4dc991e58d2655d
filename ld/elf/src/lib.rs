//! Decode ELF: views over the bytes of an object, bounds-checked and total.
//!
//! A view is made from an [`Image`], the one door to an object's memory. It copies records out and answers `None` where
//! the file promised bytes that are not there; nothing here panics, allocates or loops longer than the input is large.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod address;
pub mod dynamic;
pub mod hash;
pub mod header;
pub mod image;
pub mod lossy;
pub mod note;
pub mod relocation;
pub mod set_bits;
pub mod symbol;
pub mod version;

#[cfg(test)]
mod real_files;
#[cfg(test)]
mod totality_tests;

pub use address::{Addr, Bias, Vaddr};
pub use dynamic::Dynamic;
pub use header::{FileHeader, HeaderError, ProgramHeader};
pub use image::{Image, Segment, Strings, Table};
pub use lossy::Lossy;
pub use set_bits::SetBits;
pub use symbol::{Symbol, Symbols};
