//! The two interpreters of every comparison, and how a program is handed to one of them.
//!
//! A program that is to run under Folio is copied byte for byte, and only the path in its `PT_INTERP` segment is
//! changed, in place. That needs a path no longer than the one it replaces, so the interpreter under test is also
//! reachable through a short symbolic link. patchelf, which moves segments about, is a second way, not the only one.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use object::Endianness;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::run::{output, writing};
use crate::workspace;

/// glibc's loader for x86-64, by the path that the psABI supplement of Linux fixes.
pub const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";

/// The interpreter under test.
#[derive(Clone, Debug)]
pub struct Interpreter {
    path: PathBuf,
    short: PathBuf,
    stand_in: bool,
}

impl Interpreter {
    /// Finds the interpreter under test and makes its short name.
    pub fn under_test() -> Result<Self> {
        let path = workspace::built("ld-folio.so.1", "FOLIO_INTERPRETER")?;
        let stand_in = fs::canonicalize(GLIBC).is_ok_and(|glibc| glibc == path);
        let short = short_name(&path)?;
        Ok(Self { path, short, stand_in })
    }

    /// The same interpreter as a file that every user can reach, which is not so for every working copy.
    pub fn reachable(&self) -> Result<Self> {
        let path = self.short.with_file_name("copy");
        let data = fs::read(&self.path)?;
        if !fs::read(&path).is_ok_and(|copy| copy == data) {
            let fresh = self.short.with_file_name(format!("copy.{:?}", std::thread::current().id()));
            writing(|| fs::write(&fresh, data))?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
            fs::rename(&fresh, &path)?;
        }
        Ok(Self { short: path.clone(), path, stand_in: self.stand_in })
    }

    /// The interpreter's own file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path to it that fits where glibc's stood.
    pub fn short(&self) -> &Path {
        &self.short
    }

    /// Whether this is glibc's own loader, standing in to prove the tests.
    pub fn is_stand_in(&self) -> bool {
        self.stand_in
    }

    /// Copies `program` to `copy` and makes this its interpreter, changing nothing but the path in `PT_INTERP`.
    pub fn adopt(&self, program: &Path, copy: &Path) -> Result<()> {
        let mut data = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let header = FileHeader64::<Endianness>::parse(&*data)?;
        let endian = header.endian()?;
        let segment = header
            .program_headers(endian, &*data)?
            .iter()
            .find(|segment| segment.p_type(endian) == PT_INTERP)
            .with_context(|| format!("{} has no PT_INTERP", program.display()))?;
        let (start, size) = (segment.p_offset(endian) as usize, segment.p_filesz(endian) as usize);
        let new = self.short.as_os_str().as_bytes();
        ensure!(new.len() < size, "{} is too long for the PT_INTERP of {}", self.short.display(), program.display());
        // p_filesz keeps its value: the kernel reads the path up to the first zero byte.
        data[start..start + size].fill(0);
        data[start..start + new.len()].copy_from_slice(new);
        let mode = fs::metadata(program)?.permissions().mode() & 0o777;
        let fresh = beside(copy);
        writing(|| fs::write(&fresh, data)).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(mode | 0o500))?;
        Ok(fs::rename(&fresh, copy)?)
    }

    /// Copies `program` to `copy` and makes this its interpreter with patchelf, which lays the file out anew.
    pub fn adopt_with_patchelf(&self, program: &Path, copy: &Path) -> Result<()> {
        let fresh = beside(copy);
        writing(|| fs::copy(program, &fresh))?;
        let output = output(Command::new("patchelf").arg("--set-interpreter").arg(&self.path).arg(&fresh))?;
        if !output.status.success() {
            bail!("patchelf: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(fs::rename(&fresh, copy)?)
    }
}

/// A name beside `copy` that no other test writes to: tests of several roots make the same copies at the same time, and
/// each moves its own into place when it is whole.
fn beside(copy: &Path) -> PathBuf {
    let mut name = copy.as_os_str().to_owned();
    name.push(format!(".{}.{:?}", std::process::id(), std::thread::current().id()));
    PathBuf::from(name)
}

/// A symbolic link to `path` with a name that fits in place of glibc's: `/tmp/folio-0123abcd/ld`.
fn short_name(path: &Path) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let folder = PathBuf::from(format!("/tmp/folio-{:08x}", hasher.finish() as u32));
    fs::create_dir_all(&folder)?;
    let owner = fs::symlink_metadata(&folder)?;
    ensure!(owner.is_dir() && owner.uid() == nix::unistd::geteuid().as_raw(), "{} is not ours", folder.display());
    let link = folder.join("ld");
    if fs::read_link(&link).is_ok_and(|target| target == path) {
        return Ok(link);
    }
    // Several suites may start at once: make the link beside its place, then move it there.
    let fresh = folder.join(format!("ld.{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    symlink(path, &fresh)?;
    fs::rename(&fresh, &link)?;
    Ok(link)
}

/// Whether the ELF file has a `PT_INTERP` at all: only such a program can be handed to another interpreter.
pub fn is_dynamic_program(path: &Path) -> bool {
    let Ok(data) = fs::read(path) else { return false };
    let Ok(header) = FileHeader64::<Endianness>::parse(&*data) else { return false };
    let Ok(endian) = header.endian() else { return false };
    header
        .program_headers(endian, &*data)
        .is_ok_and(|segments| segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP))
}
