//! `cargo xtask build`: the interpreter and the command with its manual pages and completions, finished, in `target/folio`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::documents::{self, Document};
use crate::{cargo, repository};

/// Build ld-folio.so.1 and the command folio, its manual pages and shell completions, into target/folio
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask build && target/folio/folio run ls -l /usr")]
pub struct Build {}

/// The finished files.
pub struct Built {
    pub interpreter: PathBuf,
    pub command: PathBuf,
    pub documents: Vec<Document>,
}

impl Build {
    pub fn run(&self) -> Result<()> {
        let built = build()?;
        println!("{}\n{}", built.interpreter.display(), built.command.display());
        for document in &built.documents {
            println!("{}", document.file.display());
        }
        Ok(())
    }
}

/// Builds both and puts them side by side.
pub fn build() -> Result<Built> {
    let output = repository::output();
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let (interpreter, command) = (output.join(folio::loader::NAME), output.join("folio"));
    // Two calls of cargo: built together, the command's features would reach into the freestanding interpreter.
    place(&cargo::build("folio-rtld", "ld-folio")?, &interpreter)?;
    place(&cargo::build("folio", "folio")?, &command)?;
    Ok(Built { interpreter, command, documents: documents::generate(&output)? })
}

/// Puts a file in place in one step: whoever opens the name gets the old file or the new one, whole. Processes that
/// run from the old file keep it.
pub fn place(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    let name = to.file_name().context("a file has a name")?.to_string_lossy();
    let half_way = folder.join(format!(".{name}.{}", std::process::id()));
    let result = fs::copy(from, &half_way).and_then(|_| fs::rename(&half_way, to));
    if result.is_err() {
        // Best effort: the error that counts is the one above.
        drop(fs::remove_file(&half_way));
    }
    result.with_context(|| format!("cannot put {} in place", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("folio-place-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (old, new) = (folder.join("old"), folder.join("new"));
        fs::write(&old, "old").unwrap();
        fs::write(&new, "new").unwrap();
        assert!(place(&folder.join("missing"), &old).is_err());
        assert_eq!(fs::read(&old).unwrap(), b"old");
        place(&new, &old).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left half-way");
        fs::remove_dir_all(&folder).unwrap();
    }
}
