//! Where things are in this repository.

use std::path::{Path, PathBuf};

/// The folder that holds the workspace.
pub fn root() -> PathBuf {
    let ci = Path::new(env!("CARGO_MANIFEST_DIR"));
    ci.parent().map_or_else(|| ci.to_owned(), Path::to_owned)
}

/// Where the finished files lie, whatever folder cargo builds in.
pub fn output() -> PathBuf {
    root().join("target/folio")
}
