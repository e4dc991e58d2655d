//! The loader's own files.

#[path = "../../../ld/rtld/src/dl/fork/changes.rs"]
pub mod changes;
#[path = "../../../ld/rtld/src/dl/lock_word.rs"]
pub mod lock_word;
#[path = "../../../ld/rtld/src/dl/tls/modules.rs"]
pub mod modules;
#[path = "../../../ld/rtld/src/dl/find_object/ranges.rs"]
pub mod ranges;
