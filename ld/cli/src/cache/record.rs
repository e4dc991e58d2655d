//! The file with the record of CPU facts: where it is, writing it, and what a start makes of it.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use folio_glibc::cpu::Processor;
use folio_glibc::cpu::record::{self, File, Header, Record, Refusal};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::getuid;

use crate::processor::{self, Survey};

/// The variable that names a record.
pub const VARIABLE: &str = "LD_FOLIO_CPU";
/// Root's record.
pub const FOR_ALL: &str = "/run/folio/cpu";

/// The record that a start from here looks for; none where the variable is empty.
pub fn looked_for() -> Option<PathBuf> {
    match env::var_os(VARIABLE) {
        Some(path) => Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()),
        None => Some(PathBuf::from(FOR_ALL)),
    }
}

/// The record that this user writes.
pub fn own() -> Result<PathBuf> {
    if env::var_os(VARIABLE).is_some() {
        return looked_for().with_context(|| format!("{VARIABLE} is empty, and so switches records off"));
    }
    if getuid().is_root() {
        return Ok(PathBuf::from(FOR_ALL));
    }
    let folder = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    let folder =
        folder.with_context(|| format!("XDG_RUNTIME_DIR is not set: let {VARIABLE} name a file on a tmpfs"))?;
    Ok(Path::new(&folder).join("folio/cpu"))
}

/// A record's file, and what a start makes of it.
pub struct Finding {
    bytes: Vec<u8>,
    /// Why a start passes it over.
    pub refusal: Option<Refusal>,
}

impl Finding {
    /// What is in it, where it is a record.
    pub fn record(&self) -> Option<Record<'_>> {
        Record::decode(&self.bytes).ok()
    }
}

/// Looks at a record as a start does; `None` if there is no file.
pub fn find(path: &Path) -> Result<Option<Finding>> {
    // As a start opens it: what else may lie there must not keep it waiting.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Ok(Some(Finding { bytes: Vec::new(), refusal: Some(Refusal::NotAFile) }));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    let meta = opened.metadata()?;
    let file = File {
        mode: meta.mode(),
        owner: meta.uid(),
        size: meta.size(),
        changed: meta.ctime(),
        in_memory: fcntl(&opened, FcntlArg::F_GET_SEALS).is_ok(),
    };
    let mut bytes = Vec::new();
    let refusal = match file.accept(Some(getuid().as_raw())) {
        Err(refusal) => Some(refusal),
        Ok(size) => {
            opened.take(size as u64).read_to_end(&mut bytes)?;
            let auxiliary = processor::auxiliary()?;
            let xgetbv = || processor::Cpuid.xgetbv();
            Record::decode(&bytes).and_then(|record| record.holds(&file, &auxiliary, xgetbv)).err()
        }
    };
    Ok(Some(Finding { bytes, refusal }))
}

/// The number of this boot (proc(5), `/proc/sys/kernel/random/boot_id`), as the kernel spells it without its hyphens.
pub fn boot() -> Option<u128> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

/// Writes a record in one step: whoever opens the name finds the old one or the new one, whole. It is an error if a start would
/// pass it over, and then it is not there.
pub fn write(path: &Path, (answers, xcr0): &Survey) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    prepare(folder)?;
    let half_way = folder.join(format!(".cpu.{}", std::process::id()));
    let written = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = Header { written, boot: boot().unwrap_or(0), auxiliary: processor::auxiliary()?, xcr0: *xcr0 };
    let place = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half_way)?;
        file.write_all(&record::encode(&header, answers))?;
        // Whatever umask(2) says: it is for all to read.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        fs::rename(&half_way, path)
    };
    if let Err(error) = place() {
        // Best effort: the error that counts is the other one.
        drop(fs::remove_file(&half_way));
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    let refusal = find(path)?.map_or(Some(Refusal::NotAFile), |finding| finding.refusal);
    let Some(refusal) = refusal else { return Ok(()) };
    drop(fs::remove_file(path));
    if refusal == Refusal::NotInMemory {
        let folder = folder.display();
        bail!("{folder} is not on a tmpfs, and a record there might outlive the boot (mount -t tmpfs tmpfs {folder})");
    }
    if header.auxiliary.minsigstksz == 0 {
        bail!("the kernel says too little of the processor in the auxiliary vector: Linux 5.14 does (AT_MINSIGSTKSZ)");
    }
    bail!("a start would pass {} over: {refusal}", path.display())
}

/// Makes the folder if it is not there. Nobody else may be able to put a file into it.
fn prepare(folder: &Path) -> Result<()> {
    let user = getuid().as_raw();
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        _ => {}
    }
    let meta = fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    let is_own = meta.uid() == user || meta.uid() == 0;
    ensure!(meta.is_dir() && is_own, "{} belongs to somebody else", folder.display());
    ensure!(meta.mode() & 0o022 == 0, "others may write to {} (mode {:o})", folder.display(), meta.mode() & 0o7777);
    Ok(())
}

/// Removes it; says whether there was one.
pub fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}
