//! `folio patch`: make a program name another interpreter, or refuse to.
//!
//! Where the new path fits into the place of the old one, those bytes of the file are all that changes. Else patchelf(1)
//! makes room, in a copy. What would no longer start, or would lose rights or a signature, is refused before anything is
//! written.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueHint};
use folio_elf::header::{PT_INTERP, ProgramHeader, program_headers};
use folio_elf::{FileHeader, HeaderError};

use crate::loader;
use crate::plan::has_capabilities;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The program's file
    #[arg(value_hint = ValueHint::FilePath)]
    program: PathBuf,
    /// Leave the program as it is and patch a copy
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Make it name glibc's dynamic linker again
    #[arg(long)]
    undo: bool,
    /// The interpreter to name
    #[arg(long, value_name = "PATH", default_value = loader::INSTALLED, value_hint = ValueHint::FilePath)]
    interpreter: PathBuf,
}

/// Patches, and says what was done.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { program, output, undo, interpreter } = arguments;
    let interpreter = if *undo { Path::new(loader::GLIBC) } else { interpreter };
    println!("{}", patch(program, output.as_deref(), interpreter, *undo)?);
    Ok(())
}

/// Where a file keeps the path of its interpreter.
struct Place {
    offset: u64,
    /// Bytes, with the NUL that ends the path.
    room: usize,
    path: PathBuf,
}

/// The interpreter that a program names.
pub fn named_interpreter(program: &Path) -> Result<PathBuf> {
    Ok(place(program)?.path)
}

fn place(program: &Path) -> Result<Place> {
    let shown = program.display();
    let file = File::open(program).with_context(|| format!("cannot open {shown}"))?;
    ensure!(file.metadata()?.is_file(), "{shown}: not a file");
    let mut start = Vec::new();
    (&file).take(FileHeader::SIZE as u64).read_to_end(&mut start).with_context(|| format!("cannot read {shown}"))?;
    let header = FileHeader::decode(&start).map_err(|error| match error {
        HeaderError::OtherMachine => anyhow::anyhow!("{shown}: for another machine"),
        error => anyhow::anyhow!("{shown}: {error}"),
    })?;
    let mut table = vec![0; header.phsize()];
    file.read_exact_at(&mut table, header.phoff).with_context(|| format!("{shown}: cut off in its program headers"))?;
    let is_interpreter = |header: &ProgramHeader| header.p_type == PT_INTERP;
    let Some(segment) = program_headers(&table).find(is_interpreter) else {
        bail!("{shown}: names no interpreter: a statically linked program or a library, which needs none");
    };
    let room = usize::try_from(segment.p_filesz).ok().filter(|room| (2..=4096).contains(room));
    let room = room.with_context(|| format!("{shown}: the name of its interpreter is damaged"))?;
    let mut name = vec![0; room];
    file.read_exact_at(&mut name, segment.p_offset).with_context(|| format!("{shown}: cut off in its interpreter"))?;
    let name = CStr::from_bytes_until_nul(&name).with_context(|| format!("{shown}: its interpreter has no end"))?;
    Ok(Place { offset: segment.p_offset, room, path: PathBuf::from(OsStr::from_bytes(name.to_bytes())) })
}

/// Makes `program`, or a copy of it at `output`, name `interpreter`; gives the sentence that says what was done.
fn patch(program: &Path, output: Option<&Path>, interpreter: &Path, undo: bool) -> Result<String> {
    let old = place(program)?;
    let shown = output.unwrap_or(program).display();
    if old.path == interpreter && output.is_none() {
        return Ok(format!("{shown} names {} already", interpreter.display()));
    }
    check_interpreter(&old.path, interpreter, undo).with_context(|| format!("{} stays as it is", program.display()))?;
    check_rights(program, output, interpreter)?;
    let fits = interpreter.as_os_str().len() < old.room;
    if let Some(output) = output {
        let same = fs::metadata(output).is_ok_and(|there| {
            fs::metadata(program).is_ok_and(|here| there.ino() == here.ino() && there.dev() == here.dev())
        });
        ensure!(!same, "{}: is the program itself; leave -o out to change it", output.display());
        fs::copy(program, output).with_context(|| format!("cannot copy to {}", output.display()))?;
    } else {
        ensure!(
            fits,
            "{}: has room for {} bytes where its interpreter stands, and {} does not fit; patch a copy with -o",
            program.display(),
            old.room - 1,
            interpreter.display()
        );
        let is_standard = undo || old.path == Path::new(loader::GLIBC);
        ensure!(
            is_standard,
            "{}: names {}, which --undo could not bring back; patch a copy with -o",
            program.display(),
            old.path.display()
        );
        refuse_signed(program)?;
    }
    let target = output.unwrap_or(program);
    if fits {
        write_name(target, &old, interpreter)?;
        return Ok(format!("{shown} names {} now: {} bytes changed in place", interpreter.display(), old.room));
    }
    let patchelf = Command::new("patchelf").arg("--set-interpreter").arg(interpreter).arg(target).output();
    let outcome =
        patchelf.context("cannot start patchelf, which makes room for a longer path (Debian package patchelf)")?;
    ensure!(outcome.status.success(), "patchelf: {}", String::from_utf8_lossy(&outcome.stderr).trim_end());
    Ok(format!("{shown} names {} now: patchelf made room for it", interpreter.display()))
}

/// Writes another interpreter into a file of one's own, in the place of the old one and nowhere else; an error where it does not
/// fit. Whether the program then starts is the caller's business.
pub fn set_interpreter(program: &Path, interpreter: &Path) -> Result<()> {
    let place = place(program)?;
    let length = interpreter.as_os_str().len();
    ensure!(
        length < place.room,
        "{}: has room for {} bytes where its interpreter stands, and {} does not fit",
        program.display(),
        place.room - 1,
        interpreter.display()
    );
    write_name(program, &place, interpreter)
}

/// Whether a program with this interpreter would start under the other one.
fn check_interpreter(old: &Path, new: &Path, undo: bool) -> Result<()> {
    let is_known =
        [loader::GLIBC, loader::INSTALLED].iter().any(|known| Path::new(known).file_name() == old.file_name());
    ensure!(
        is_known || undo,
        "its interpreter is {}, not glibc's: Folio starts programs for glibc only",
        old.display()
    );
    if undo {
        ensure!(old.file_name() != Path::new(loader::GLIBC).file_name(), "it names {}: nothing to undo", old.display());
    }
    ensure!(new.is_absolute(), "{}: the kernel wants an absolute path", new.display());
    let what = || format!("{}, without which it would not start", new.display());
    let status = fs::metadata(new).with_context(what)?;
    ensure!(status.is_file() && status.permissions().mode() & 0o111 != 0, "{} cannot be executed", new.display());
    let mut start = Vec::new();
    File::open(new).with_context(what)?.take(FileHeader::SIZE as u64).read_to_end(&mut start)?;
    FileHeader::decode(&start).map_err(|error| anyhow::anyhow!("{}: {error}", new.display()))?;
    Ok(())
}

/// A program that runs with the rights of others trusts its interpreter: nobody but root may be able to replace it.
fn check_rights(program: &Path, output: Option<&Path>, interpreter: &Path) -> Result<()> {
    let status = fs::metadata(program)?;
    let gains = status.mode() & (S_ISUID | S_ISGID) != 0 || has_capabilities(program);
    // A copy has no more rights than its maker.
    if !gains || output.is_some() {
        return Ok(());
    }
    let real = fs::canonicalize(interpreter)?;
    for part in real.ancestors() {
        let status = fs::metadata(part)?;
        let is_roots = status.uid() == 0 && status.mode() & 0o022 == 0;
        ensure!(
            is_roots,
            "{}: runs with the rights of others, and others than root can replace {} ({})",
            program.display(),
            interpreter.display(),
            part.display(),
        );
    }
    Ok(())
}

/// Files that the kernel measures or verifies no longer open, or no longer count as genuine, once a byte changes.
fn refuse_signed(program: &Path) -> Result<()> {
    for attribute in ["security.ima", "security.evm"] {
        let is_there = rustix::fs::getxattr(program.as_os_str().as_bytes(), attribute, &mut [0u8; 4096]).is_ok();
        ensure!(
            !is_there,
            "{}: is signed ({attribute}), and would not count as genuine; patch a copy with -o",
            program.display()
        );
    }
    Ok(())
}

/// Writes the path, and NULs to the end of the place: `--undo` then finds the same bytes there as a link editor writes.
fn write_name(target: &Path, place: &Place, interpreter: &Path) -> Result<()> {
    let mut name = interpreter.as_os_str().as_bytes().to_vec();
    name.resize(place.room, 0);
    let mode = fs::metadata(target)?.permissions();
    let file = OpenOptions::new().write(true).open(target).map_err(|error| match error.kind() {
        std::io::ErrorKind::ExecutableFileBusy => {
            anyhow::anyhow!("{}: is running; patch a copy with -o", target.display())
        }
        _ => anyhow::Error::new(error).context(format!("cannot write {}", target.display())),
    })?;
    file.write_all_at(&name, place.offset).with_context(|| format!("cannot write {}", target.display()))?;
    // A write takes the set-user-ID bit away from all but root (inode(7)).
    if file.metadata()?.permissions() != mode {
        file.set_permissions(mode).with_context(|| format!("cannot give {} its mode back", target.display()))?;
    }
    Ok(())
}
