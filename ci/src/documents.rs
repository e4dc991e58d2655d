//! Manual pages and shell completions of the command, generated from its own description of its command line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap_complete::Shell;

/// A file that was generated, and where below a prefix it is installed.
pub struct Document {
    pub file: PathBuf,
    pub place: PathBuf,
}

/// The shells, with the name that each wants for its file and the folder where it looks (bash-completion; zshcompsys;
/// fish, *Where to put completions*).
const SHELLS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "folio", "share/bash-completion/completions"),
    (Shell::Zsh, "_folio", "share/zsh/site-functions"),
    (Shell::Fish, "folio.fish", "share/fish/vendor_completions.d"),
];

/// Generates all of them into `man` and `completions` below a folder.
pub fn generate(output: &Path) -> Result<Vec<Document>> {
    let (man, completions) = (output.join("man"), output.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    clap_mangen::generate_to(folio::interface::command(), &man).context("cannot write the manual pages")?;
    let mut documents = Vec::new();
    for page in fs::read_dir(&man)? {
        let file = page?.path();
        let name = file.file_name().context("a page has a name")?.to_owned();
        documents.push(Document { place: Path::new("share/man/man1").join(name), file });
    }
    documents.sort_by(|a, b| a.place.cmp(&b.place));
    for (shell, name, place) in SHELLS {
        let made = clap_complete::generate_to(shell, &mut folio::interface::command(), "folio", &completions);
        let made = made.with_context(|| format!("cannot write the completions for {shell}"))?;
        // All shells but bash get the name that they look for.
        let file = made.with_file_name(name);
        fs::rename(&made, &file)?;
        documents.push(Document { place: Path::new(place).join(name), file });
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_is_completed() {
        let folder = std::env::temp_dir().join(format!("folio-documents-{}", std::process::id()));
        let documents = generate(&folder).unwrap();
        let text = |end: &str| {
            let found = documents.iter().find(|document| document.place.ends_with(end));
            fs::read_to_string(&found.unwrap_or_else(|| panic!("{end} is generated")).file).unwrap()
        };
        for command in folio::interface::command().get_subcommands() {
            let page = text(&format!("man1/folio-{}.1", command.get_name()));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
            for completions in ["completions/folio", "_folio", "folio.fish"] {
                assert!(text(completions).contains(command.get_name()), "{completions}: {}", command.get_name());
            }
        }
        assert!(text("man1/folio.1").contains("folio"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
