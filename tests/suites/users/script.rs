//! The scripts of this folder, and the lines at their top that say how they are run.
//!
//! | line | meaning |
//! | --- | --- |
//! | `#: needs: NAMES` | programs on the path, or files, without which the script cannot run |
//! | `#: expect: TEXT` | text that its standard output must contain under glibc, so that it cannot fail on both sides alike |
//! | `#: heavy` | run only when all suites are asked for: its packages are in `tests/packages-all.txt` |

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// One script.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub path: PathBuf,
    pub needs: Vec<String>,
    pub expect: Vec<String>,
    pub heavy: bool,
}

impl Script {
    /// All scripts of a folder, by name.
    pub fn all(folder: &Path) -> Result<Vec<Script>> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut scripts = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sh") {
                scripts.push(Script::read(&path)?);
            }
        }
        ensure!(!scripts.is_empty(), "no scripts in {}", folder.display());
        scripts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scripts)
    }

    fn read(path: &Path) -> Result<Script> {
        let text = fs::read_to_string(path)?;
        let name = path.file_stem().context("a script has a name")?.to_string_lossy().into_owned();
        let mut script = Script { name, path: path.to_owned(), needs: Vec::new(), expect: Vec::new(), heavy: false };
        for line in text.lines().filter_map(|line| line.strip_prefix("#: ")) {
            match line.split_once(": ") {
                Some(("needs", names)) => script.needs.extend(names.split_whitespace().map(str::to_owned)),
                Some(("expect", text)) => script.expect.push(text.to_owned()),
                None if line == "heavy" => script.heavy = true,
                _ => anyhow::bail!("{}: cannot understand `#: {line}`", path.display()),
            }
        }
        ensure!(!script.expect.is_empty(), "{}: nothing is expected of it", path.display());
        Ok(script)
    }
}
