//! What libc, debuggers and unwinders see of the loader: glibc's structures, by the layout table, and the exported ABI.

pub mod debugger;
pub mod exports;
pub mod globals;
pub mod libc;
pub mod link_map;
pub mod printf;
pub mod probes;
pub mod publish;
pub mod record;
