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
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueHint};
use folio_elf::FileHeader;
use serde::Serialize;

pub use self::check::{Finding, Where};
use self::library::Library;
pub use self::library::Weight;
pub use self::rule::{Level, Rule};
use crate::output::{Output, Progress};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Shared libraries, programs, or folders of libraries
    #[arg(required_unless_present = "list_rules", value_hint = ValueHint::AnyPath)]
    libraries: Vec<PathBuf>,
    /// Fail if a library breaks this rule; repeat it, or list several with commas; `all` for every rule
    #[arg(long, value_name = "RULE", value_delimiter = ',', value_parser = rule_names())]
    deny: Vec<String>,
    /// Show the table of the N worst libraries; the default for folders is 10
    #[arg(long, value_name = "N")]
    worst: Option<usize>,
    /// Apply the remedy of a rule to a copy of one library, and say what it changed
    #[arg(long, value_name = "RULE", value_delimiter = ',', requires = "output_file", value_parser = fixable_names())]
    fix: Vec<String>,
    /// Where the copy goes
    #[arg(short = 'o', long = "output", value_name = "OUT", requires = "fix", id = "output_file", value_hint = ValueHint::FilePath)]
    copy: Option<PathBuf>,
    /// Say what the rules are
    #[arg(long)]
    list_rules: bool,
    #[command(flatten)]
    output: Output,
}

fn rule_names() -> clap::builder::PossibleValuesParser {
    Rule::ALL.iter().map(|rule| rule.name()).chain(["all"]).collect::<Vec<_>>().into()
}

fn fixable_names() -> clap::builder::PossibleValuesParser {
    Rule::ALL.iter().filter(|rule| rule.is_fixable()).map(|rule| rule.name()).collect::<Vec<_>>().into()
}

/// Does what is asked for; the status says what was found.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let output = &arguments.output;
    if arguments.list_rules {
        let catalogue = report::catalogue();
        output.print(&catalogue, || report::catalogue_text(&catalogue))?;
    } else if let Some(copy) = &arguments.copy {
        let fixed = fix::fix(&arguments.libraries, &arguments.fix, copy)?;
        output.print(&fixed, || fixed.text())?;
    } else {
        let report = lint(&arguments.libraries, arguments.worst, &arguments.deny)?;
        output.print(&report, || report.text())?;
        return Ok(ExitCode::from(report.status()));
    }
    Ok(ExitCode::SUCCESS)
}

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
fn lint(paths: &[PathBuf], worst: Option<usize>, deny: &[String]) -> Result<Report> {
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
    let progress = Progress::new();
    let total = files.len();
    for (number, (path, is_incidental)) in files.into_iter().enumerate() {
        if number.is_multiple_of(16) && total > 16 {
            progress.say(&format!("{number} of {total} files"));
        }
        match examine(&path, is_incidental) {
            Ok(Some(examined)) => report.libraries.push(examined),
            Ok(None) => {}
            Err(error) => {
                report.unreadable.push(Unreadable { path, error: format!("{error:#}"), is_incidental });
            }
        }
    }
    drop(progress);
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
