//! What others wrote and Folio is built from: known licences, one version each, known sources, as locked.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::cargo::run;
use crate::metadata::{self, Package};
use crate::repository;

/// The workspaces, each with a lock file of its own.
const WORKSPACES: [&str; 3] = [".", "tests/fuzz", "tests/models"];

/// What `deny.toml` permits; the rest of it says how cargo-deny is to look.
#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licences {
    /// SPDX identifiers.
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    /// Addresses of registries' indices.
    allow_registry: Vec<String>,
}

impl Rules {
    fn read() -> Result<Rules> {
        let text = fs::read_to_string(repository::root().join("deny.toml")).context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml")
    }
}

/// Checks every package that some build or test of Folio uses; a lock file that does not fit is an error, too. Takes nothing
/// but the lock files and what they name.
pub fn check() -> Result<()> {
    let rules = Rules::read()?;
    for workspace in WORKSPACES {
        let findings = findings(&rules, &metadata::packages(&repository::root().join(workspace))?);
        ensure!(findings.is_empty(), "dependencies of {workspace}:\n{}", findings.join("\n"));
    }
    Ok(())
}

/// Has cargo-deny look for advisories about locked versions. It downloads their database, so this is nothing for a machine
/// without a network; gives whether there is a cargo-deny at all.
pub fn check_advisories() -> Result<bool> {
    let is_there = Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success());
    if is_there {
        let configuration = repository::root().join("deny.toml");
        for workspace in WORKSPACES {
            let manifest = repository::root().join(workspace).join("Cargo.toml");
            let mut deny = Command::new("cargo-deny");
            deny.arg("--locked").arg("--manifest-path").arg(manifest).arg("check").arg("--config").arg(&configuration);
            run(deny.arg("advisories"))?;
        }
    }
    Ok(is_there)
}

fn findings(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Package { name, version, license, source, .. } in packages {
        versions.entry(name).or_default().push(version);
        let is_permitted_source = |source: &str| {
            let registry = source.strip_prefix("registry+");
            registry.is_some_and(|registry| rules.sources.allow_registry.iter().any(|allowed| allowed == registry))
        };
        if let Some(source) = source.as_deref().filter(|source| !is_permitted_source(source)) {
            findings.push(format!("{name} {version} is from {source}"));
        }
        match license {
            Some(license) if is_permitted(&rules.licenses.allow, license) => {}
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
fn is_permitted(licences: &[String], expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let leaves_choice =
        |part: &str| part.split(" OR ").any(|licence| licences.iter().any(|allowed| allowed == licence.trim()));
    expression.split(" AND ").all(leaves_choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn package(version: &str, license: Option<&str>, source: &str) -> Package {
        Package {
            name: "some".to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            source: Some(source.to_owned()),
            manifest_path: "some/Cargo.toml".into(),
        }
    }

    #[test]
    fn expressions_leave_a_choice_or_not() {
        let licences = Rules::read().unwrap().licenses.allow;
        for good in ["MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND NCSA", "LGPL-2.1-or-later OR MIT"] {
            assert!(is_permitted(&licences, good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0"] {
            assert!(!is_permitted(&licences, bad), "{bad}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        let rules = Rules::read().unwrap();
        let count = |packages: &[Package]| findings(&rules, packages).len();
        let sound = || package("1.0.0", Some("MIT"), CRATES_IO);
        assert_eq!(count(&[sound()]), 0);
        assert_eq!(count(&[package("1.0.0", None, CRATES_IO)]), 1);
        for other in ["git+https://example.org/some", "registry+https://example.org/index"] {
            assert_eq!(count(&[package("1.0.0", Some("MIT"), other)]), 1, "{other}");
        }
        assert_eq!(count(&[sound(), package("2.0.0", Some("MIT"), CRATES_IO)]), 1);
    }

    #[test]
    fn what_is_locked_is_sound() {
        check().unwrap();
    }
}
