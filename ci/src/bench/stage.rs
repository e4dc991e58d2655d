//! A temporary folder with all that is started: fresh copies of each dynamic linker and of each program, on both sides, so
//! that neither side has older files. A copy differs from its original in the path of its interpreter; and, where only linking
//! is looked at, in the first bytes at its entry point, which exit.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use folio_elf::FileHeader;
use folio_elf::header::{PT_LOAD, program_headers};

/// What starts a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interpreter {
    Glibc,
    Folio,
    Musl,
    /// Exits at its first instruction.
    Exits,
}

/// What a copy does once it is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Own,
    /// Its first instruction and the two after it exit.
    Exits,
}

/// `exit_group(0)`, at the entry point of what only exits (psABI, A.2.1: the number in rax, the argument in rdi).
const EXIT: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];

const EXITS: &str = "\t.globl _start\n_start:\n\tmovl $231,%eax\n\txorl %edi,%edi\n\tsyscall\n\
                     \t.section .note.GNU-stack,\"\",@progbits\n";

/// The folder; gone when this is dropped.
pub struct Stage {
    folder: PathBuf,
    interpreters: BTreeMap<Interpreter, PathBuf>,
}

impl Stage {
    /// Copies the linkers. The folder's name has the same length each time, since paths are part of what a linker works on,
    /// and is short, since a linker's path has to fit into the place of the one that programs name.
    pub fn set(folio: &Path) -> Result<Self> {
        let folder = PathBuf::from(format!("/tmp/folio-{:07}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut stage = Self { folder, interpreters: BTreeMap::new() };
        fs::create_dir(stage.home())?;
        stage.adopt(Interpreter::Folio, folio)?;
        fs::write(stage.folder.join("exits.s"), EXITS)?;
        stage.run("as", &["-o", "exits.o", "exits.s"])?;
        stage.run("ld", &["-static", "-o", "empty", "exits.o"])?;
        stage.run("ld", &["-static", "-pie", "--no-dynamic-linker", "-z", "text", "-o", "exits", "exits.o"])?;
        stage.interpreters.insert(Interpreter::Exits, stage.folder.join("exits"));
        Ok(stage)
    }

    /// Copies a linker into the folder.
    pub fn adopt(&mut self, interpreter: Interpreter, file: &Path) -> Result<()> {
        let name = match interpreter {
            Interpreter::Glibc => "glibc",
            Interpreter::Folio => "folio",
            Interpreter::Musl => "musl",
            Interpreter::Exits => "exits",
        };
        let copy = self.folder.join(name);
        duplicate(file, &copy)?;
        self.interpreters.insert(interpreter, copy);
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        succeed(Command::new(program).args(arguments).current_dir(&self.folder))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn interpreter(&self, interpreter: Interpreter) -> Result<&Path> {
        self.interpreters.get(&interpreter).map(PathBuf::as_path).context("the linker was copied")
    }

    /// Where programs may leave files.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// A static program that only exits: the least that a start can cost.
    pub fn empty(&self) -> PathBuf {
        self.folder.join("empty")
    }

    /// A fresh copy of a program, in a folder of this name, which is a place like its original's.
    pub fn copy(&self, place: &str, program: &Path, interpreter: Option<Interpreter>, entry: Entry) -> Result<PathBuf> {
        let name = program.file_name().context("a program has a name")?;
        let house = program.parent().context("a program lies in a folder")?;
        let (place, folder) = (self.folder.join(place), house.file_name().unwrap_or_default());
        fs::create_dir_all(place.join(folder))?;
        // Programs look for what is theirs from where they are: beside themselves, unless that is where all programs lie, and
        // in `../lib` and its like.
        if folder != "bin" {
            surround(&place.join(folder), house, name)?;
        }
        surround(&place, house.parent().unwrap_or(house), folder)?;
        let copy = place.join(folder).join(name);
        duplicate(program, &copy)?;
        if let Some(interpreter) = interpreter {
            folio::patch::set_interpreter(&copy, self.interpreter(interpreter)?)?;
        }
        if entry == Entry::Exits {
            exit_at_entry(&copy)?;
        }
        // A page that the disk does not have yet would count as dirty.
        File::open(&copy)?.sync_all()?;
        Ok(copy)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Best effort: a folder that stays behind in the temporary folder harms nobody.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Links to everything in a folder but one name.
fn surround(place: &Path, original: &Path, without: &std::ffi::OsStr) -> Result<()> {
    for entry in fs::read_dir(original).with_context(|| format!("cannot list {}", original.display()))? {
        let entry = entry?;
        if entry.file_name() != without {
            symlink(entry.path(), place.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn duplicate(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(to, Permissions::from_mode(0o755))?;
    Ok(File::open(to)?.sync_all()?)
}

/// Writes an exit over the code at a program's entry point.
fn exit_at_entry(program: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(program)?;
    let mut start = [0; FileHeader::SIZE];
    file.read_exact_at(&mut start, 0)?;
    let header = FileHeader::decode(&start).map_err(|error| anyhow::anyhow!("{}: {error}", program.display()))?;
    let mut table = vec![0; header.phsize()];
    file.read_exact_at(&mut table, header.phoff)?;
    let entry = header.entry.0;
    let segment = program_headers(&table).find(|segment| {
        segment.p_type == PT_LOAD && entry.checked_sub(segment.p_vaddr).is_some_and(|offset| offset < segment.p_filesz)
    });
    let segment = segment.with_context(|| format!("{}: no segment holds its entry point", program.display()))?;
    let offset = entry - segment.p_vaddr;
    ensure!(segment.p_filesz - offset >= EXIT.len() as u64, "{}: its entry point has no room", program.display());
    Ok(file.write_all_at(&EXIT, segment.p_offset + offset)?)
}

/// Runs a command to its end; what it says is part of the error.
pub fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}
