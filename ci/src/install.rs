//! `cargo xtask install`: the built files where programs and people look for them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, place};

/// Build, then install /lib64/ld-folio.so.1 and PREFIX/bin/folio (needs root)
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
        let bin = self.prefix.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
        for (from, to) in
            [(built.interpreter, Path::new(folio::loader::INSTALLED).to_owned()), (built.command, bin.join("folio"))]
        {
            place(&from, &to)?;
            println!("{}", to.display());
        }
        Ok(())
    }
}
