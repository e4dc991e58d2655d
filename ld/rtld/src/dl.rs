//! The loader as a library: what a running program asks of it, from every thread.

pub mod dlfcn;
pub mod exception;
pub mod find_object;
pub mod fork;
pub mod lock_word;
pub mod open;
pub mod program_memory;
pub mod search_path;
pub mod threads;
pub mod tls;
pub mod unload;
