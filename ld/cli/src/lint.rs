//! `folio lint`: what keeps the pages of libraries from being shared, with cause, cost and remedy.

mod check;
mod fix;
mod library;
mod names;
mod pack;
mod report;
mod rule;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use folio_elf::FileHeader;
use serde::Serialize;

pub use self::check::{Finding, Where};
pub use self::fix::{Fixed, fix};
pub use self::library::{Library, Weight};
pub use self::report::{Catalogue, catalogue, catalogue_text};
pub use self::rule::{Level, Rule};

/// What is said of all libraries.
#[derive(Debug, Serialize)]
pub struct Report {
    pub libraries: Vec<Examined>,
    /// Files that were named, or that look like libraries, and cannot be read as one.
    pub unreadable: Vec<Unreadable>,
    /// Names of rules that `--deny` names and that are broken.
    pub denied: BTreeSet<&'static str>,
    /// How many of the worst to show in a table; none for a report of each.
    #[serde(skip)]
    worst: Option<usize>,
}

#[derive(Debug, Serialize)]
pub struct Examined {
    pub path: PathBuf,
    pub weight: Weight,
    /// KiB that each process has for itself as soon as the library is loaded.
    pub private_kib: u64,
    pub shared_kib: u64,
    pub relocations: u64,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub struct Unreadable {
    pub path: PathBuf,
    pub error: String,
    /// It was found in a folder, where files of all kinds may lie.
    #[serde(skip)]
    is_incidental: bool,
}

/// Examines files, and the shared libraries in folders.
pub fn lint(paths: &[PathBuf], worst: Option<usize>, deny: &[String]) -> Result<Report> {
    let mut files = Vec::new();
    let mut has_folder = false;
    for path in paths {
        let status = fs::metadata(path).with_context(|| path.display().to_string())?;
        if status.is_dir() {
            has_folder = true;
            let mut seen = HashSet::new();
            walk(path, &mut seen, &mut files);
        } else {
            ensure!(status.is_file(), "{}: neither a file nor a folder", path.display());
            files.push((path.clone(), false));
        }
    }
    let worst = worst.or(has_folder.then_some(10));
    let mut report = Report { libraries: Vec::new(), unreadable: Vec::new(), denied: BTreeSet::new(), worst };
    let mut progress = Progress::new(files.len());
    for (path, is_incidental) in files {
        progress.step();
        match examine(&path, is_incidental) {
            Ok(Some(examined)) => report.libraries.push(examined),
            Ok(None) => {}
            Err(error) => {
                report.unreadable.push(Unreadable { path, error: format!("{error:#}"), is_incidental });
            }
        }
    }
    progress.clear();
    report.deny(deny);
    Ok(report)
}

impl Report {
    fn deny(&mut self, names: &[String]) {
        let broken = self.libraries.iter().flat_map(|library| &library.findings).map(|finding| finding.rule.name());
        let is_denied = |rule: &&str| names.iter().any(|name| name == rule || name == "all");
        self.denied = broken.filter(is_denied).collect();
    }

    /// 0, 1 where a denied rule is broken, 2 where a file that was named cannot be read.
    pub fn status(&self) -> u8 {
        if self.unreadable.iter().any(|file| !file.is_incidental) { 2 } else { u8::from(!self.denied.is_empty()) }
    }
}

/// The files in a folder that begin as ELF objects that can be libraries, each once, whatever links lead to it.
fn walk(folder: &Path, seen: &mut HashSet<(u64, u64)>, files: &mut Vec<(PathBuf, bool)>) {
    // A folder that cannot be read, or is gone meanwhile, has nothing to show.
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let Ok(status) = fs::symlink_metadata(&path) else { continue };
        if status.is_dir() {
            walk(&path, seen, files);
        } else if status.is_file() && seen.insert((status.dev(), status.ino())) && begins_as_library(&path) {
            files.push((path, true));
        }
    }
}

fn begins_as_library(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FileHeader::SIZE as u64).read_to_end(&mut start));
    read.is_ok() && FileHeader::decode(&start).is_ok_and(|header| header.position_independent)
}

/// Examines one file; nothing for a program or a debug file that lay in a folder.
fn examine(path: &Path, is_incidental: bool) -> Result<Option<Examined>> {
    let file = fs::read(path)?;
    let mut storage = library::storage(&file);
    let library = match Library::decode(path, &file, &mut storage) {
        // Separate debug information keeps its program headers, and none of the bytes.
        Err(_) if is_incidental && is_debug_file(&file) => return Ok(None),
        library => library?,
    };
    if is_incidental && library.is_program() {
        return Ok(None);
    }
    Ok(Some(examined(&library)))
}

fn examined(library: &Library) -> Examined {
    /// KiB of a page.
    const PAGE_KIB: u64 = 4;
    Examined {
        path: library.path.clone(),
        weight: library.weight,
        private_kib: library.weight.private() * PAGE_KIB,
        shared_kib: library.weight.shared * PAGE_KIB,
        relocations: library.places.len() as u64,
        findings: check::findings(library),
    }
}

fn is_debug_file(file: &[u8]) -> bool {
    use object::{Object, ObjectSection, SectionKind};
    object::File::parse(file).is_ok_and(|file| {
        file.sections().any(|section| section.name() == Ok(".text") && section.kind() == SectionKind::UninitializedData)
            || file.dynamic_symbol_table().is_none() && file.has_debug_symbols()
            || file.sections().next().is_none()
    })
}

/// How far the work has come, for whoever waits at a terminal.
struct Progress {
    total: usize,
    done: usize,
    is_shown: bool,
}

impl Progress {
    /// Files of which nobody notices how long they take.
    const FEW: usize = 50;

    fn new(total: usize) -> Progress {
        Progress { total, done: 0, is_shown: total > Self::FEW && std::io::stderr().is_terminal() }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.is_shown && self.done.is_multiple_of(10) {
            // Nothing depends on whether it is seen.
            drop(write!(std::io::stderr(), "\r{} of {} files", self.done, self.total));
        }
    }

    fn clear(&self) {
        if self.is_shown {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
