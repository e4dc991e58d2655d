//! `cargo xtask install`: the built files where programs and people look for them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::build::{self, place};

/// Build, then install /lib64/ld-folio.so.1, PREFIX/bin/folio, manual pages and shell completions (needs root)
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask install\n  cargo xtask install --prefix /opt/folio")]
pub struct Install {
    /// Where the command goes; the interpreter's place is fixed, since programs name it by its full path
    #[arg(long, value_name = "FOLDER", default_value = "/usr/local")]
    prefix: PathBuf,
}

impl Install {
    pub fn run(&self) -> Result<()> {
        let built = build::build()?;
        let mut files = vec![
            (built.interpreter, PathBuf::from(folio::loader::INSTALLED)),
            (built.command, self.prefix.join("bin/folio")),
        ];
        files.extend(built.documents.into_iter().map(|document| (document.file, self.prefix.join(document.place))));
        for (from, to) in files {
            let folder = to.parent().context("a file lies in a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            place(&from, &to)?;
            println!("{}", to.display());
        }
        Ok(())
    }
}
