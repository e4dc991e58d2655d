//! Where the two dynamic linkers are: Folio's, beside this command or installed, and glibc's.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The file name of Folio's interpreter.
pub const NAME: &str = "ld-folio.so.1";
/// Where an installed interpreter lives.
pub const INSTALLED: &str = "/lib64/ld-folio.so.1";
/// The interpreter that every distribution program asks for (psABI x86-64, section 5.2.1, Program Interpreter).
pub const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";

/// The interpreter that lies beside this command, else the installed one.
pub fn find() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this command lies")?;
    let beside = own.with_file_name(NAME);
    [beside.clone(), PathBuf::from(INSTALLED)].into_iter().find(|path| path.is_file()).with_context(|| {
        format!("no {NAME}: neither {} nor {INSTALLED} is a file (cargo xtask build makes it)", beside.display())
    })
}

/// The file that a shell would start for this name: a path as it stands, else the first match in PATH.
pub fn program(name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|folder| folder.join(name)).find(|file| executable(file)) {
        Some(file) => Ok(file),
        None => bail!("{name}: not found in PATH"),
    }
}

/// Like [`program`], and checked: an ELF file, which a dynamic linker can be given as its argument.
pub fn elf_program(name: &str) -> Result<PathBuf> {
    let file = program(name)?;
    let mut start = [0; 4];
    let length = File::open(&file)
        .and_then(|mut opened| opened.read(&mut start))
        .with_context(|| format!("cannot read {}", file.display()))?;
    match &start[..length] {
        b"\x7fELF" => Ok(file),
        [b'#', b'!', ..] => {
            bail!("{} is a script: name the program that reads it, and the script as its argument", file.display())
        }
        _ => bail!("{} is not an ELF file, so no dynamic linker can start it", file.display()),
    }
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
