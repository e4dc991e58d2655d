//! The command `folio`, as a library: each module is one subcommand or one source of its facts.
#![deny(unsafe_code)]

pub mod cache;
pub mod compare;
pub mod doctor;
pub mod draw;
pub mod explain;
pub mod interface;
pub mod lint;
pub mod loader;
pub mod object;
pub mod output;
pub mod patch;
pub mod plan;
pub mod process;
pub mod processor;
pub mod profile;
pub mod run;
pub mod share;
pub mod table;
