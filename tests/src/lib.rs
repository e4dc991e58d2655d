//! Whole-program tests: everything that Folio promises, shown by comparing programs run under it with the same
//! programs run under glibc's own loader.
//!
//! The package sees built files only. The interpreter under test is `target/folio/ld-folio.so.1` of the workspace, or
//! the file that `FOLIO_INTERPRETER` names; naming glibc's loader there proves the tests themselves, since every
//! comparison must then come out equal.
//!
//! Environment variables:
//! - `FOLIO_INTERPRETER`: the interpreter under test.
//! - `FOLIO_ALL=1`: run the slow suites too.
//! - `FOLIO_DAMAGED_STARTS`, `FOLIO_DAMAGE_SEED`: how many damaged programs are started, and from which number on.
//! - `CI=true`: a test that cannot run here (no root, no package mirror) fails instead of being skipped.

pub mod compare;
pub mod damage;
pub mod diagnosis;
pub mod directives;
pub mod guest;
pub mod interpreter;
pub mod maps;
pub mod namespace;
pub mod roots;
pub mod run;
pub mod suite;
pub mod trace;
pub mod workspace;
