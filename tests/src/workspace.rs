//! Where the workspace keeps what the tests read and what they may write.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the repository.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// A folder under the repository's `target`, created on first use. Everything that tests leave behind is in there, so
/// `cargo clean` removes it.
pub fn target(folder: &str) -> Result<PathBuf> {
    let path = root().join("target").join(folder);
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// A file that is under test: the one that the variable names, or what was built of that name.
pub fn built(name: &str, variable: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => root().join("target/folio").join(name),
    };
    fs::canonicalize(&path).with_context(|| format!("{}: build it first: cargo xtask build", path.display()))
}

/// The command `folio` under test.
pub fn command() -> Result<PathBuf> {
    built("folio", "FOLIO_COMMAND")
}

/// A folder under `target` that is empty now: whatever an earlier run left there is gone.
pub fn fresh(folder: &str) -> Result<PathBuf> {
    let path = root().join("target").join(folder);
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    target(folder)
}

/// Waits until no other test process holds the lock of this name, and holds it while the file is open.
pub fn lock(name: &str) -> Result<File> {
    let path = target("locks")?.join(name);
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another test run ({})", path.display());
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Whether this run may not skip: continuous integration has root and a mirror, so a skip there is a failure.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Whether the slow suites were asked for.
pub fn all_suites() -> bool {
    std::env::var("FOLIO_ALL").is_ok_and(|value| value == "1")
}

/// Whether the tests run as root, which bind mounts, chroot and changing the user need.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
