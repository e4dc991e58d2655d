//! The command `folio`, as a library: each module is one subcommand or one source of its facts.
#![forbid(unsafe_code)]

pub mod compare;
pub mod loader;
pub mod proc;
pub mod role;
pub mod run;
pub mod share;
pub mod strace;
pub mod table;
