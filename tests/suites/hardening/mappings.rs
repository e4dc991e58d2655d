//! The mappings of real programs at their exit: nothing can be written and executed, what is relocated once is read-only, and
//! nothing of the loader's is left that glibc's would not leave.

use std::path::Path;

use anyhow::{Context, Result};
use folio_tests::interpreter::{GLIBC, Interpreter};
use folio_tests::maps;
use folio_tests::run::{Run, find};
use folio_tests::suite::Verdict;
use folio_tests::workspace;
use object::Endianness;
use object::elf::{PT_GNU_RELRO, PT_LOAD};
use object::read::elf::{ElfFile64, ProgramHeader};

/// Programs, with what they are asked to do, and whether they open libraries: those are told of in memory of the linker's
/// own, which glibc's takes from malloc then.
const PROGRAMS: [(&str, &[&str], bool); 3] = [
    ("bash", &["-c", "echo $BASH_VERSION"], false),
    ("python3", &["-c", "import json, ssl, sqlite3"], true),
    ("git", &["--version"], false),
];

const PAGE: u64 = 4096;

/// A line of proc_pid_maps(5).
struct Mapping<'m> {
    start: u64,
    end: u64,
    permissions: &'m str,
    path: &'m str,
}

impl Mapping<'_> {
    fn parse(line: &str) -> Option<Mapping<'_>> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let permissions = words.next()?;
        Some(Mapping {
            start: number(start)?,
            end: number(end)?,
            permissions,
            path: words.nth(3).unwrap_or("").trim_start(),
        })
    }
}

pub fn test(interpreter: &Interpreter) -> Result<Verdict> {
    let folder = workspace::fresh("hardening/mappings")?;
    let mut findings = Vec::new();
    let mut seen = 0;
    for (name, arguments, opens) in PROGRAMS {
        let Some(program) = find(name) else { continue };
        let copy = folder.join(name);
        interpreter.adopt(&program, &copy)?;
        let run = |file: &Path| Run::new(file).named(name).args(arguments.iter().copied());
        let (folio, glibc) = (maps::at_exit(&run(&copy))?, maps::at_exit(&run(&program))?);
        let found = inspect(&folio, interpreter.path())?;
        findings.extend(found.into_iter().map(|finding| format!("{name}: {finding}")));
        let (own, others) = (nameless(&folio), nameless(&glibc));
        if own > others && !opens {
            findings.push(format!("{name}: {own} mappings without a name, {others} under {GLIBC}:\n{folio}"));
        }
        seen += 1;
    }
    Ok(if seen == 0 { Verdict::Skip("no program is installed".to_owned()) } else { Verdict::from_findings(findings) })
}

/// Memory that is no file's: the loader's scratch memory would be among it.
fn nameless(maps: &str) -> usize {
    maps.lines().filter_map(Mapping::parse).filter(|mapping| mapping.path.is_empty()).count()
}

fn inspect(maps: &str, interpreter: &Path) -> Result<Vec<String>> {
    let mappings: Vec<Mapping> = maps.lines().filter_map(Mapping::parse).collect();
    let mut findings = Vec::new();
    for mapping in &mappings {
        if mapping.permissions.contains('w') && mapping.permissions.contains('x') {
            findings.push(format!("writable and executable: {:x} {}", mapping.start, mapping.path));
        }
        if mapping.path.is_empty() && mapping.permissions.contains('x') {
            findings.push(format!("code of no file: {:x}", mapping.start));
        }
    }
    findings
        .extend(maps.lines().filter(|line| line.contains("ld.so.cache")).map(|line| format!("still mapped: {line}")));
    let mut protected = 0;
    let mut files: Vec<&str> = mappings.iter().map(|mapping| mapping.path).collect();
    files.sort_unstable();
    files.dedup();
    for file in files.into_iter().filter(|file| file.starts_with('/')) {
        let data = std::fs::read(file).with_context(|| file.to_owned())?;
        // Locales and caches are mapped, too.
        let Ok(elf) = ElfFile64::<Endianness>::parse(&*data) else { continue };
        let start = mappings.iter().find(|mapping| mapping.path == file).map_or(0, |mapping| mapping.start);
        let Some((from, to)) = relro(&elf, start) else { continue };
        let inside = mappings.iter().filter(|mapping| mapping.start < to && from < mapping.end);
        let writable = inside.filter(|mapping| mapping.permissions.contains('w')).count();
        if writable > 0 {
            findings.push(format!("{file}: PT_GNU_RELRO {from:x}-{to:x} can be written"));
        }
        protected += 1;
    }
    let is_own = |mapping: &&Mapping| Path::new(mapping.path).file_name() == interpreter.file_name();
    let end = mappings.iter().filter(is_own).map(|mapping| mapping.end).max();
    // The variables are on pages of no file, behind the file's.
    let variables = mappings.iter().filter(|mapping| Some(mapping.start) == end && mapping.path.is_empty());
    let own: Vec<&str> = mappings.iter().filter(is_own).chain(variables).map(|mapping| mapping.permissions).collect();
    // Constants, code, relocated data, variables.
    if own != ["r--p", "r-xp", "r--p", "rw-p"] {
        findings.push(format!("the interpreter's mappings are {own:?}"));
    }
    if protected < 3 {
        findings.push(format!("only {protected} objects with PT_GNU_RELRO were seen:\n{maps}"));
    }
    Ok(findings)
}

/// The whole pages of `PT_GNU_RELRO`, for a file whose first segment is mapped at `start`.
fn relro(elf: &ElfFile64<Endianness>, start: u64) -> Option<(u64, u64)> {
    let endian = elf.endian();
    let headers = elf.elf_program_headers();
    let first = headers.iter().find(|header| header.p_type(endian) == PT_LOAD)?.p_vaddr(endian) / PAGE * PAGE;
    let relro = headers.iter().find(|header| header.p_type(endian) == PT_GNU_RELRO)?;
    let at = start - first + relro.p_vaddr(endian);
    let (from, to) = (at / PAGE * PAGE, (at + relro.p_memsz(endian)) / PAGE * PAGE);
    (from < to).then_some((from, to))
}
