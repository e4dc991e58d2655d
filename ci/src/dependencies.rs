//! What others wrote and Folio is built from: known licences, one version each, from crates.io, as locked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::cargo::cargo;
use crate::repository;

/// Licences (SPDX) under which code may go into something that is MIT or Apache-2.0.
const LICENCES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The workspaces, each with a lock file of its own.
const WORKSPACES: [&str; 2] = [".", "tests/fuzz"];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for Folio's own.
    source: Option<String>,
}

/// Checks every package that some build or test of Folio uses; a lock file that does not fit is an error, too.
pub fn check() -> Result<()> {
    for workspace in WORKSPACES {
        let findings = findings(&packages(&repository::root().join(workspace))?);
        ensure!(findings.is_empty(), "dependencies of {workspace}:\n{}", findings.join("\n"));
    }
    Ok(())
}

fn packages(workspace: &Path) -> Result<Vec<Package>> {
    let output = cargo(["metadata", "--locked", "--format-version", "1"]).current_dir(workspace).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
    Ok(metadata.packages)
}

fn findings(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Package { name, version, license, source } in packages {
        versions.entry(name).or_default().push(version);
        if source.as_deref().is_some_and(|source| source != CRATES_IO) {
            findings.push(format!("{name} {version} is not from crates.io"));
        }
        match license {
            Some(license) if is_permitted(license) => {}
            Some(license) => findings.push(format!("{name} {version} has the licence {license}")),
            None => findings.push(format!("{name} {version} names no licence")),
        }
    }
    for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        findings.push(format!("{name} is there in several versions: {}", versions.join(", ")));
    }
    findings
}

/// Whether an SPDX expression leaves a choice that is permitted; a slash is how `OR` was written once. Each part between `AND`s
/// has to leave one, as if parentheses stood around all alternatives: that refuses some that are permitted, and permits none
/// that are not.
fn is_permitted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let leaves_choice = |part: &str| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()));
    expression.split(" AND ").all(leaves_choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(version: &str, license: Option<&str>, source: &str) -> Package {
        let source = Some(source.to_owned());
        Package { name: "some".to_owned(), version: version.to_owned(), license: license.map(str::to_owned), source }
    }

    #[test]
    fn expressions_leave_a_choice_or_not() {
        for good in ["MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND NCSA", "LGPL-2.1-or-later OR MIT"] {
            assert!(is_permitted(good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0"] {
            assert!(!is_permitted(bad), "{bad}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        let count = |packages: &[Package]| findings(packages).len();
        assert_eq!(count(&[package("1.0.0", Some("MIT"), CRATES_IO)]), 0);
        assert_eq!(count(&[package("1.0.0", None, CRATES_IO)]), 1);
        assert_eq!(count(&[package("1.0.0", Some("MIT"), "git+https://example.org/some")]), 1);
        assert_eq!(count(&[package("1.0.0", Some("MIT"), CRATES_IO), package("2.0.0", Some("MIT"), CRATES_IO)]), 1);
    }

    #[test]
    fn what_is_locked_is_sound() {
        check().unwrap();
    }
}
