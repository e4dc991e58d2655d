//! What cargo knows of a workspace's packages (`cargo metadata`), as its lock file has them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::cargo::cargo;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// None for Folio's own.
    pub source: Option<String>,
    pub manifest_path: PathBuf,
}

/// The packages that some build or test of a workspace uses; a lock file that does not fit is an error.
pub fn packages(workspace: &Path) -> Result<Vec<Package>> {
    let output = cargo(["metadata", "--locked", "--format-version", "1"]).current_dir(workspace).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
    Ok(metadata.packages)
}
